"""What one process's clients see of another's: two services over one database and one bus."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from pylon import limits
from pylon.codec import decode, encode
from tests.assembly.two import One, hear, two, until
from tests.server import ADMIN_TOKEN


async def announce(socket: ClientConnection, data: int) -> None:
    await socket.send(encode({"type": "presence", "data": data}).decode())


def new(n: int) -> dict[str, object]:
    return {"n": n, "shown": True}


def lobby(one: One) -> int:
    """How many are present at one of the two."""
    assert one.house.presence is not None
    return one.house.presence.state.listed(("app", ""), None)[1]


async def test_what_is_written_in_one_is_heard_in_the_other_in_order() -> None:
    async with two() as (first, second, _):
        token = await second.token_of("ann")
        async with first.socket(token) as a, second.socket(token) as b:
            for each in (a, b):
                await each.send('{"type":"presence","event":"list"}')
                await hear(each, event="list")
            async with first.client() as one, second.client() as other:
                for number in range(20):
                    writer = (one, other)[number % 2]
                    answer = await writer.post("/api/entities/Open", json=new(number))
                    assert answer.status_code == 201, answer.text
            for each in (a, b):
                events = [await hear(each, entity="Open") for _ in range(20)]
                assert [event["data"]["n"] for event in events] == list(range(20))
                positions = [event["seq"] for event in events]
                assert positions == sorted(positions)


@pytest.mark.parametrize("apart", ["0", "1"])
@pytest.mark.parametrize("ends_at", [0, 1])
async def test_a_session_that_ends_in_one_closes_its_sockets_in_the_other(
    ends_at: int, apart: str
) -> None:
    async with two(PYLON_SESSION_IN_MEMORY=apart) as services:
        first, second, _ = services
        token = await first.token_of("ann")
        async with second.socket(token) as socket:
            await socket.send('{"type":"presence","event":"list"}')
            await hear(socket, event="list")
            async with (first, second)[ends_at].client(token) as ann:
                assert (await ann.delete("/api/auth/session")).status_code == 200
            async with asyncio.timeout(60):
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
        async with second.client(token) as ann:
            assert (await ann.get("/api/auth/me")).json()["user_id"] is None


# --- where clients are -----------------------------------------------------------------------


@pytest.mark.parametrize(("pulls_at", "connects_at"), [(0, 0), (0, 1), (1, 0), (1, 1)])
async def test_a_client_pulls_in_one_and_connects_to_the_other(
    pulls_at: int, connects_at: int
) -> None:
    """As official clients do, without a word of its cursor."""
    async with two() as services:
        pulls, connects = services[pulls_at], services[connects_at]
        assert isinstance(pulls, One)
        assert isinstance(connects, One)
        token = await pulls.token_of("ann")
        async with pulls.client(token) as ann, pulls.client() as admin:
            await admin.post("/api/entities/Open", json=new(0))
            page = (await ann.get("/api/sync/pull?since=0")).json()
            for number in (1, 2):
                await admin.post("/api/entities/Open", json=new(number))
            async with connects.socket(token) as socket:
                await admin.post("/api/entities/Open", json=new(3))
                events = [await hear(socket, entity="Open") for _ in range(3)]
        assert [event["data"]["n"] for event in events] == [1, 2, 3]
        assert events[0]["seq"] > page["cursor"]["last_seq"]


async def test_a_tab_whose_pull_nobody_knows_is_sent_to_pull() -> None:
    """Positions are kept in one process; when that one has forgotten them, all have."""
    async with two() as (first, second, _):
        token = await first.token_of("ann")
        async with second.client(token) as ann:
            await ann.get("/api/sync/pull?since=0")
        first.house.positions._positions._by_caller.clear()
        async with second.socket(token) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "resync required")


# --- presence --------------------------------------------------------------------------------


async def test_members_of_the_other_are_seen_heard_and_missed() -> None:
    async with two() as (first, second, _):
        ann, bob = await first.token_of("ann"), await first.token_of("bob")
        async with first.socket(ann) as a:
            await a.send('{"type":"topic-subscribe","topic":"t"}')
            await hear(a, event="list", topic="t")
            async with second.socket(bob) as b:
                await announce(b, 1)
                here = await hear(a, event="update")
                assert here == await hear(b, event="update")
                assert (here["from"], here["data"]) == ("bob", 1)
                await b.send('{"type":"topic","topic":"t","data":"hello"}')
                assert (await hear(a, type="topic"))["data"] == "hello"
                await announce(a, 2)
                there = await hear(b, **{"from": "ann", "data": 2})
                assert there["clientId"] != here["clientId"]
                async with first.client(bob) as asks, second.client(ann) as other:
                    answers = [
                        (await each.get("/api/sync/presence", params=query)).json()
                        for each in (asks, other)
                        for query in ({}, {"topic": "t"})
                    ]
                assert [answer["count"] for answer in answers] == [2, 0, 2, 0]
                ids = [sorted(c["clientId"] for c in answers[i]["clients"]) for i in (0, 2)]
                assert ids == [sorted((here["clientId"], there["clientId"]))] * 2
            gone = await hear(a, event="disconnect")
            assert gone["clientId"] == here["clientId"]


async def test_who_comes_to_one_is_told_who_is_at_the_other() -> None:
    async with two() as (first, second, _):
        ann = await first.token_of("ann")
        async with first.socket(ann) as a:
            await announce(a, 1)
            await hear(a, event="update")
            await until(lambda: lobby(second))
            async with second.socket(ann) as b:
                told = await hear(b, event="list")
                assert [client["data"] for client in told["clients"]] == [1]


async def test_a_process_that_dies_takes_its_members_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PRESENCE_BEAT_SECONDS", 0.05)
    monkeypatch.setattr(limits, "PRESENCE_GONE_SECONDS", 0.3)
    async with two() as (first, second, _):
        token = await first.token_of("ann")
        async with first.socket(token) as a, second.socket(token) as b:
            await announce(b, 1)
            here = await hear(a, event="update")
            second.bus.leave()
            gone = await hear(a, event="disconnect")
            assert gone["clientId"] == here["clientId"]


async def test_a_process_that_stops_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PRESENCE_GONE_SECONDS", 3_600.0)
    async with two() as (first, second, _):
        token = await first.token_of("ann")
        async with first.socket(token) as a, second.socket(token) as b:
            await announce(b, 1)
            await hear(a, event="update")
            await second.service.stop()
            await hear(a, event="disconnect")


# --- limits ----------------------------------------------------------------------------------


async def test_requests_to_one_count_in_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the allowance in each, and what was let through here is soon missing there."""
    most = 20
    environment = {"PYLON_RATE_LIMIT_MAX": str(most), "PYLON_RATE_LIMIT_WINDOW": "3600"}
    async with (
        two(**environment) as (first, second, _),
        first.client(None) as one,
        second.client(None) as other,
    ):
        limiter = second.house.shared_limiters["requests"]
        heard: list[int] = []

        def add_heard(counts: Mapping[str, int]) -> None:
            heard.extend(counts.values())
            add(counts)

        add = limiter.add_counts
        monkeypatch.setattr(limiter, "add_counts", add_heard)
        passed = 0
        for _ in range(most + 5):
            passed += (await one.get("/api/auth/me")).status_code == 200
        assert passed == most
        await until(lambda: sum(heard) == most)
        answer = await other.get("/api/auth/me")
        assert answer.status_code == 429, "though it has let nobody through"
        async with second.client(ADMIN_TOKEN) as admin:
            assert (await admin.get("/api/auth/me")).status_code == 200


async def test_a_limit_is_passed_by_no_more_than_one_allowance_a_process() -> None:
    most = 20
    environment = {"PYLON_RATE_LIMIT_MAX": str(most), "PYLON_RATE_LIMIT_WINDOW": "3600"}
    async with (
        two(**environment) as (first, second, _),
        first.client(None) as one,
        second.client(None) as other,
    ):
        answers = await asyncio.gather(
            *(each.get("/api/auth/me") for _ in range(2 * most) for each in (one, other))
        )
        passed = sum(answer.status_code == 200 for answer in answers)
        assert most <= passed <= 2 * most
        await asyncio.sleep(2 * limits.RATE_COUNTS_SECONDS)
        late = [await each.get("/api/auth/me") for each in (one, other)]
        assert [answer.status_code for answer in late] == [429, 429]
        assert decode(late[0].content)["error"]["code"] == "RATE_LIMITED"


# --- what the second does not do -------------------------------------------------------------


async def test_work_of_the_owner_is_done_by_the_owner() -> None:
    async with two() as (first, second, _):
        names = [
            {task.get_name() for task in each.house.tasks._running} for each in (first, second)
        ]
        assert "purge tombstones" in names[0] - names[1]
        for work in ("exchange counts", "tell who is there", "look at the schema"):
            assert work in names[0] & names[1]


@pytest.mark.parametrize("streams_in", [0, 1])
async def test_a_pull_by_name_in_one_ends_the_streams_of_its_address_in_the_other(
    streams_in: int,
) -> None:
    """They have gone on past what they may not show, and a cursor from them is not taken."""
    async with two() as services:
        first, second, _ = services
        stream, puller = (first, second)[:: 1 - 2 * streams_in]
        token = await first.token_of("ann")
        lines: list[str] = []
        async with (
            stream.client(None) as nobody,
            nobody.stream("GET", "/events?since=0") as events,
            first.client() as admin,
        ):
            given = events.aiter_lines()
            assert await anext(given) == ": connected"
            await until(lambda: len(stream.house.hub._streams))
            await admin.post("/api/entities/Note", json={"ownerId": "ann"})
            shown = (await admin.post("/api/entities/Open", json=new(1))).json()["id"]
            while not (line := await anext(given)).startswith("data: "):
                pass
            event = decode(line[6:])
            assert event["row_id"] == shown
            async with puller.client(token) as ann, second.client(token) as again:
                await ann.get("/api/sync/pull")
                async for line in given:
                    lines.append(line)
                answer = await again.get(f"/api/sync/pull?since={event['seq']}")
                assert answer.status_code == 410
                page = (await again.get("/api/sync/pull?since=0")).json()
                assert [each["entity"] for each in page["changes"]] == ["Note", "Open"]
                last = page["cursor"]["last_seq"]
                assert (await ann.get(f"/api/sync/pull?since={last}")).status_code == 200
        assert not any(line.startswith("data: ") for line in lines), "it has ended"
