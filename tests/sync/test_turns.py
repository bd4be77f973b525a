"""Turns of the hub that wait for a database behind a network: their order, and who comes and goes
meanwhile. That readers end with the truth is shown by `test_convergence` and `test_random_apps`."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest

from pylon.changes.model import Change
from pylon.errors import PylonError
from pylon.identity import ADMIN, ANONYMOUS, Identity
from tests.sync.replica import Replica
from tests.sync.test_hub import settle
from tests.sync.world import NOTES, World, field, world

ANN = Identity(user_id="ann", session_id=b"ann's session")
BOB = Identity(user_id="bob", session_id=b"bob's session")
LOOKS = "SELECT EXISTS"


@pytest.fixture
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every membership is too much to keep, so each turn with rooms waits."""
    monkeypatch.setattr("pylon.policy.membership.POLICY_MEMBERS_REMEMBERED_MAX", 0)


async def member(app: World, user: str, team: str = "red") -> str:
    row = await app.rows.insert(ADMIN, "Member", {"userId": user, "teamId": team, "n": 3})
    await settle(app)
    row_id: str = row["id"]
    return row_id


async def room(app: World, text: str, team: str = "red") -> None:
    await app.rows.insert(ADMIN, "Room", {"teamId": team, "text": text})


async def opened(app: World, n: int) -> None:
    await app.rows.insert(ADMIN, "Open", {"n": n, "shown": True})


async def join(app: World, who: Identity, since: int | None = None) -> Replica:
    replica = Replica(who)
    assert await app.hub.join(who, replica, since)
    return replica


def told(replica: Replica) -> list[object]:
    return [event["data"].get("text", event["data"].get("n")) for event in replica.events]


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.0005)


async def waiting_turn(app: World) -> asyncio.Event:
    """A turn with a room that waits for what its readers belong to."""
    release = app.network.hold_back(LOOKS)
    asked = len(app.network.asked)
    await room(app, "first")
    await until(lambda: any(sql.startswith(LOOKS) for sql in app.network.asked[asked:]))
    return release


@pytest.mark.usefixtures("nothing_is_kept")
async def test_later_commits_wait_for_a_turn_that_waits() -> None:
    async with world(slow=True) as app:
        await member(app, "ann")
        ann, bob, admin = [await join(app, who) for who in (ANN, BOB, ADMIN)]
        release = await waiting_turn(app)
        for n in range(3):
            await opened(app, n)
            await room(app, f"room {n}")
            await asyncio.sleep(0.002)
        assert [ann.events, bob.events, admin.events] == [[], [], []]
        release.set()
        await settle(app)
        everything = ["first", 0, "room 0", 1, "room 1", 2, "room 2"]
        assert (told(ann), told(bob), told(admin)) == (everything, [0, 1, 2], everything)


class Asleep:
    """Stands in for the hub's lane, and keeps it from beginning."""

    is_idle = False

    def __init__(self) -> None:
        self.woken = asyncio.Event()

    def wake(self) -> None:
        self.woken.set()


@pytest.mark.usefixtures("nothing_is_kept")
async def test_a_commit_after_the_answer_belongs_to_the_next_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was gathered for a turn says nothing of rows that come before it begins."""
    async with world(slow=True) as app:
        for team in ("red", "blue"):
            await member(app, "ann", team)
        ann = await join(app, ANN)
        release = await waiting_turn(app)
        lane, asleep = app.hub._lane, Asleep()
        with monkeypatch.context() as patch:
            patch.setattr(app.hub, "_lane", asleep)
            release.set()
            await asleep.woken.wait()
            await room(app, "second", "blue")
        lane.wake()
        await settle(app)
        assert told(ann) == ["first", "second"]
        assert app.hub.closes == {}


@pytest.mark.usefixtures("nothing_is_kept")
@pytest.mark.parametrize("replayed", [False, True])
async def test_who_joins_meanwhile_misses_nothing_and_hears_nothing_twice(replayed: bool) -> None:
    async with world(slow=True) as app:
        await member(app, "ann")
        early = await join(app, ANN)
        since = app.store.seq
        release = await waiting_turn(app)
        late, other = [
            await join(app, who, since if replayed else None)
            for who in (ANN, Identity(user_id="ann", tenant_id="acme"))
        ]
        await opened(app, 7)
        release.set()
        await settle(app)
        await room(app, "second")
        await settle(app)
        assert told(early) == ["first", 7, "second"]
        expected = ["first", 7, "second"] if replayed else [7, "second"]
        assert told(late) == told(other) == expected
        assert app.hub.joining == 0


@pytest.mark.usefixtures("nothing_is_kept")
async def test_who_leaves_meanwhile_is_told_nothing() -> None:
    async with world(slow=True) as app:
        await member(app, "ann")
        left, ended, stays = [await join(app, who) for who in (ANN, BOB, ADMIN)]
        release = await waiting_turn(app)
        app.hub.leave(left, "client")
        app.hub.close_session(BOB.session_id or b"")
        release.set()
        await settle(app)
        assert (left.events, ended.events, told(stays)) == ([], [], ["first"])
        assert (app.hub.readers, app.hub.groups) == (1, 1)


@pytest.mark.usefixtures("nothing_is_kept")
async def test_a_membership_that_ends_meanwhile_ends_the_stream_after_the_turn() -> None:
    async with world(slow=True) as app:
        row_id = await member(app, "ann")
        ann = await join(app, ANN)
        release = await waiting_turn(app)
        await app.rows.delete(ADMIN, "Member", row_id)
        await room(app, "secret")
        release.set()
        await settle(app)
        assert ann.closed == 1013
        assert "secret" not in told(ann)


@pytest.mark.usefixtures("nothing_is_kept")
async def test_without_an_answer_streams_end_and_the_hub_goes_on() -> None:
    async with world(slow=True) as app:
        await member(app, "ann")
        ann, public = await join(app, ANN), await join(app, ANONYMOUS)
        release = await waiting_turn(app)
        app.network.failure = PylonError(503, "QUERY_TIMEOUT", "The network is gone.")
        release.set()
        await settle(app)
        assert (ann.closed, public.closed) == (1011, 1011)
        app.network.failure = None
        again = await join(app, ANN)
        await room(app, "second")
        await settle(app)
        assert told(again) == ["second"]


@pytest.mark.usefixtures("nothing_is_kept")
async def test_a_hub_whose_turn_waits_says_for_how_long() -> None:
    async with world(slow=True) as app:
        await member(app, "ann")
        ann = await join(app, ANN)
        assert app.hub.behind_seconds == 0.0
        release = await waiting_turn(app)
        before = app.hub.behind_seconds
        await room(app, "second")
        assert 0.0 < before < app.hub.behind_seconds, "the oldest counts"
        release.set()
        await settle(app)
        assert told(ann) == ["first", "second"]
        assert app.hub.behind_seconds == 0.0


async def test_what_is_kept_is_fetched_at_the_join_and_no_turn_waits() -> None:
    async with world(slow=True) as app:
        await member(app, "ann")
        ann = await join(app, ANN)
        await room(app, "first")  # fetches what everybody belongs to, which is nothing
        await settle(app)
        asked = len(app.network.asked)
        also = await join(app, ANN, app.store.seq)
        await room(app, "second")
        await room(app, "other", "blue")
        await settle(app)
        assert (told(ann), told(also)) == (["first", "second"], ["second"])
        kinds = ("SELECT DISTINCT", LOOKS)
        assert not [sql for sql in app.network.asked[asked:] if sql.startswith(kinds)]
        assert app.hub.turns_waited == 1


@pytest.mark.parametrize("keeps", [True, False])
async def test_many_joiners_of_a_turn_are_one_statement(
    keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not keeps:
        monkeypatch.setattr("pylon.policy.membership.POLICY_MEMBERS_REMEMBERED_MAX", 0)
    async with world(slow=True) as app:
        people = [Identity(user_id=f"user {n}") for n in range(12)]
        for person in people:
            await member(app, str(person.user_id))
        streams = [await join(app, person) for person in people]
        asked = len(app.network.asked)
        await room(app, "first")
        await settle(app)
        assert all(told(stream) == ["first"] for stream in streams)
        looks = [sql for sql in app.network.asked[asked:] if sql.startswith(LOOKS)]
        assert len(looks) == (0 if keeps else 1)


async def test_a_turn_does_not_wait_for_what_joiners_are_still_fetching() -> None:
    """Of the many that come back after a restart each fetches for itself; a turn asks once."""
    async with world(slow=True) as app:
        people = [Identity(user_id=f"user {n}") for n in range(12)]
        for person in people:
            await member(app, str(person.user_id))
        release = app.network.hold_back("SELECT DISTINCT")
        streams = [Replica(person) for person in people]
        joins = [
            asyncio.ensure_future(app.hub.join(who, stream, None))
            for who, stream in zip(people, streams, strict=True)
        ]
        await asyncio.sleep(0)
        asked = len(app.network.asked)
        await room(app, "first")
        await until(lambda: all(told(stream) == ["first"] for stream in streams))
        looks = [sql for sql in app.network.asked[asked:] if sql.startswith(LOOKS)]
        assert len(looks) == 1
        release.set()
        assert all(await asyncio.gather(*joins))


async def test_each_reader_that_joins_asks_once_for_equal_rules() -> None:
    """Two rules of the world look through members, each for something else."""
    async with world(slow=True) as app:
        asked = len(app.network.asked)
        await join(app, ANN)
        found: list[str] = [sql for sql in app.network.asked[asked:] if '"Member" x' in sql]
        assert len(found) == len(set(found)) == 2


async def test_rows_without_exists_ask_nothing() -> None:
    async with world(slow=True) as app:
        await join(app, ANN)
        asked = len(app.network.asked)
        await opened(app, 1)
        await settle(app)
        assert app.network.asked[asked:] == []


async def test_what_holds_for_everybody_is_asked_anew_when_it_changes() -> None:
    flagged = {
        **NOTES,
        "entities": [
            {"name": "Doc", "fields": [field("text", "string")], "indexes": []},
            {"name": "Flag", "fields": [field("name", "string")], "indexes": []},
        ],
        "policies": [
            {"name": "docs", "entity": "Doc", "allowRead": "exists(Flag, name == data.text)"}
        ],
    }
    async with world(flagged, slow=True) as app:
        before = await join(app, ANONYMOUS)
        await app.rows.insert(ADMIN, "Doc", {"text": "x"})
        await settle(app)
        flag = await app.rows.insert(ADMIN, "Flag", {"name": "x"})
        await settle(app)
        assert (before.events, before.closed) == ([], 1013)
        shown = await join(app, ANONYMOUS)
        await app.rows.insert(ADMIN, "Doc", {"text": "x"})
        await settle(app)
        await app.rows.delete(ADMIN, "Flag", flag["id"])
        await settle(app)
        after = await join(app, ANONYMOUS)
        await app.rows.insert(ADMIN, "Doc", {"text": "x"})
        await settle(app)
        assert (told(shown), told(after)) == (["x"], [])


async def test_nothing_of_a_turn_is_kept_once_it_is_written() -> None:
    """The next may be hours away, and a large push holds tens of MB of rows."""
    async with world() as app:
        replica = await join(app, ANN)
        await opened(app, 987_654)
        await settle(app)
        assert told(replica) == [987_654]
        gc.collect()
        kept = [each for each in gc.get_objects() if type(each) is Change]
        assert not [each for each in kept if "987654" in repr(each)]
