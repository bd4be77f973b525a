"""Interests in documents, and pushes that wait for others, without sockets."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest
from loro import LoroDoc

from pylon import limits
from pylon.changes.feed import Feed, Gap
from pylon.codec import decode
from pylon.crdt.shares import SHARES
from pylon.errors import PylonError
from pylon.identity import ADMIN
from pylon.live.outlet import LINES
from pylon.live.sockets import QueueOutlet
from pylon.policy.lookup import gather
from pylon.sync.dependencies import Merger
from pylon.sync.documents import DocumentHub
from pylon.wire.crdt_frames import SNAPSHOT, UPDATE, read_document_frame
from tests.crdt.people import ANN, BOB, PAGES, Desk, desk, field


async def kinds(outlet: QueueOutlet) -> list[int]:
    """Types of the frames that wait in an outlet."""
    if not outlet.backlog():
        return []
    frames = [read_document_frame(chunk) for chunk in await outlet.take()]
    return [frame.type for frame in frames if frame is not None]


def send(hub: DocumentHub, d: Desk, since: int) -> None:
    """Draw what the hub would write for the changes since then."""
    for outlet, data, _ in hub.writes(d.changes[since:]):
        outlet.write(data)


def shown(copy: LoroDoc) -> dict[str, object]:
    """The row as a reader's copy has it."""
    value = copy.get_deep_value()
    assert isinstance(value, dict)
    row: Any = value["row"]
    assert isinstance(row, dict)
    return row


async def test_interests_live_and_end() -> None:
    async with desk() as d:
        hub, outlet = DocumentHub(d.rows), QueueOutlet(LINES)
        page = await d.page(body="a")
        await hub.subscribe(ANN, outlet, "Page", page)
        assert await kinds(outlet) == [SNAPSHOT]
        since = len(d.changes)
        await d.rows.update(ADMIN, "Page", page, {"body": "b"})
        send(hub, d, since)
        assert await kinds(outlet) == [UPDATE]
        hub.unsubscribe(outlet, "Page", page)
        send(hub, d, since)
        assert await kinds(outlet) == []
        await hub.subscribe(ANN, outlet, "Page", page)
        await hub.subscribe(ANN, outlet, "Page", "to come")
        assert len(hub) == 2
        hub.leave(outlet)
        assert len(hub) == 0
        await hub.close()


async def test_who_follows_what_cannot_be_opened_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that is too large has no frames; the follower would wait for them for ever."""
    async with desk() as d:
        hub, outlet, stranger = DocumentHub(d.rows), QueueOutlet(LINES), QueueOutlet(LINES)
        page = await d.page(body="a" * 400, ownerId="ann")
        monkeypatch.setattr(limits, "DOCUMENT_BYTES_MAX", 100)
        await hub.subscribe(ANN, outlet, "Page", page)
        (told,) = [decode(chunk) for chunk in await outlet.take()]
        message = told.pop("message")
        assert told == {
            "type": "crdt-error",
            "entity": "Page",
            "rowId": page,
            "code": "CRDT_DOCUMENT_TOO_LARGE",
        }
        assert "100 bytes" in message
        await hub.subscribe(BOB, stranger, "Page", page)
        assert not stranger.backlog(), "nobody is told of a row that they may not see"
        await hub.close()


async def test_what_goes_by_while_a_snapshot_is_on_its_way_follows_it() -> None:
    async with desk() as d:
        hub, outlet = DocumentHub(d.rows), QueueOutlet(LINES)
        page = await d.page(body="a", n=0)

        def at_once(changes: Sequence[object]) -> None:
            for to, data, _ in hub.writes(changes):
                to.write(data)

        d.store.on_commit(at_once)  # before whoever awaits the snapshot's unit goes on
        before = [d.rows.update(ADMIN, "Page", page, {"n": n}) for n in (1, 2)]
        after = [d.rows.update(ADMIN, "Page", page, {"n": n}) for n in (3, 4, 5)]
        await asyncio.gather(*before, hub.subscribe(ANN, outlet, "Page", page), *after)
        frames = [read_document_frame(chunk) for chunk in await outlet.take()]
        assert [each.type for each in frames if each] == [SNAPSHOT, UPDATE, UPDATE, UPDATE]
        copy = LoroDoc()  # type: ignore[no-untyped-call]
        for each in frames:
            assert each is not None
            copy.import_(each.payload)
            copy.commit()
        assert shown(copy)["n"] == 5
        await d.rows.update(ADMIN, "Page", page, {"n": 6})
        assert await kinds(outlet) == [UPDATE]


async def test_a_row_that_is_hidden_while_its_snapshot_is_on_its_way_is_not_followed() -> None:
    async with desk() as d:
        hub, outlet = DocumentHub(d.rows), QueueOutlet(LINES)
        page = await d.page(body="a", ownerId="ann")

        def at_once(changes: Sequence[object]) -> None:
            for to, data, _ in hub.writes(changes):
                to.write(data)

        d.store.on_commit(at_once)
        gives_away = d.rows.update(ADMIN, "Page", page, {"ownerId": "bob"})
        await asyncio.gather(hub.subscribe(ANN, outlet, "Page", page), gives_away)
        await d.rows.update(ADMIN, "Page", page, {"body": "of bob"})
        assert await kinds(outlet) == []
        await d.rows.update(ADMIN, "Page", page, {"ownerId": "ann"})
        assert await outlet_has(outlet) == [SNAPSHOT]
        await hub.close()


async def outlet_has(outlet: QueueOutlet) -> list[int]:
    """The same, waited for."""
    while not outlet.backlog():  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    return await kinds(outlet)


async def test_a_reader_that_too_much_went_by_gets_another_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_PASSED_MAX", 2)
    async with desk() as d:
        hub, outlet = DocumentHub(d.rows), QueueOutlet(LINES)
        page = await d.page(n=0)
        d.store.on_commit(lambda changes: deque(hub.writes(changes)).clear())
        edits = [d.rows.update(ADMIN, "Page", page, {"n": n}) for n in (1, 2, 3, 4)]
        await asyncio.gather(hub.subscribe(ANN, outlet, "Page", page), *edits)
        (frame,) = [read_document_frame(chunk) for chunk in await outlet.take()]
        assert frame is not None
        assert frame.type == SNAPSHOT
        copy = LoroDoc()  # type: ignore[no-untyped-call]
        copy.import_(frame.payload)
        assert shown(copy)["n"] == 4


TEAMS = {
    **PAGES,
    "entities": [
        *PAGES["entities"],
        {
            "name": "Member",
            "fields": [field("teamId", "string"), field("userId", "string")],
            "indexes": [],
        },
    ],
    "policies": [
        {
            "name": "pages",
            "entity": "Page",
            "allow": "exists(Member, teamId == data.ownerId && userId == auth.userId)",
        }
    ],
}


async def test_what_followers_belong_to_is_gathered_before_a_turn() -> None:
    async with desk(TEAMS) as d:
        hub, outlet, late = DocumentHub(d.rows), QueueOutlet(LINES), QueueOutlet(LINES)
        for who in (ANN, BOB):
            await d.rows.insert(ADMIN, "Member", {"teamId": "red", "userId": who.user_id})
        page = await d.page(body="a", ownerId="red")
        await hub.subscribe(ANN, outlet, "Page", page)
        assert await kinds(outlet) == [SNAPSHOT]

        async def turn(asked: int, **patch: str) -> list[int]:
            since = len(d.changes)
            await d.rows.update(ADMIN, "Page", page, patch)
            asks = hub.asks(d.changes[since:])
            assert len(asks) == asked
            # Who comes now is shown this change by its snapshot.
            await hub.subscribe(BOB, late, "Page", page)
            await gather(asks)
            send(hub, d, since)
            hub.leave(late)
            await asyncio.sleep(0.01)
            return await kinds(outlet)

        assert await turn(0, body="b") == [UPDATE]
        assert await turn(1, ownerId="blue") == []
        assert await turn(1, body="c") == []
        assert await turn(1, ownerId="red") == [SNAPSHOT]
        assert await turn(0, body="d") == [UPDATE]
        await hub.close()


async def test_after_a_gap_each_follower_gets_the_document_again() -> None:
    """And who may not see the row any more gets nothing, nor what comes after."""
    async with desk() as d:
        hub = DocumentHub(d.rows)
        page, kept = await d.page(body="a"), await d.page(body="k")
        outlets = [QueueOutlet(LINES) for _ in range(3)]
        for outlet, row in zip(outlets, (page, page, kept), strict=True):
            await hub.subscribe(ANN, outlet, "Page", row)
            assert await kinds(outlet) == [SNAPSHOT]
        await d.rows.update(ADMIN, "Page", page, {"body": "b"})  # of which the hub does not hear
        await d.rows.delete(ADMIN, "Page", kept)
        hub.ask_anew()
        async with asyncio.timeout(60):
            while not all(outlet.backlog() for outlet in outlets[:2]):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert [await kinds(outlet) for outlet in outlets] == [[SNAPSHOT], [SNAPSHOT], []]
        since = len(d.changes)
        await d.rows.update(ADMIN, "Page", page, {"body": "c"})
        send(hub, d, since)
        assert [await kinds(outlet) for outlet in outlets] == [[UPDATE], [UPDATE], []]
        await hub.close()


async def test_a_push_that_waits_is_tried_again_after_a_gap() -> None:
    async with desk() as d:
        merger, feed = Merger(d.rows), Feed(d.store)
        page = await d.page(body="")
        replica = await d.replica(page)
        replica.text().insert(0, "first")
        first = replica.take_update()
        replica.text().insert(0, "second")
        second = replica.take_update()
        feed.subscribe("merger", merger.hear, (Gap,))  # hears of no change
        waiting = asyncio.create_task(merger.merge(ADMIN, "Page", page, second))
        async with asyncio.timeout(60):
            while not merger.waiting:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await Merger(d.rows).merge(ADMIN, "Page", page, first)
        assert merger.waiting == 1
        feed.gap(d.store.seq)
        assert (await waiting)["body"] == "secondfirst"


async def test_interests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SUBSCRIPTIONS_PER_SOCKET_MAX", 3)
    async with desk() as d:
        hub, outlet = DocumentHub(d.rows), QueueOutlet(LINES)
        for i in range(10):
            await hub.subscribe(ANN, outlet, "Page", str(i))
        await hub.subscribe(ANN, QueueOutlet(LINES), "Nope", "1")
        await hub.subscribe(ANN, QueueOutlet(LINES), "Plain", "1")
        for length in (limits.ROW_ID_CHARACTERS_MAX + 1, 60_000, 70_000):
            await hub.subscribe(ANN, QueueOutlet(LINES), "Page", "x" * length)
        assert len(hub) == 3


async def test_what_never_comes_is_waited_for_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_PENDING_SECONDS", 0.05)
    monkeypatch.setattr(limits, "DOCUMENT_PENDING_MAX", 2)
    async with desk() as d:
        merger = Merger(d.rows)
        Feed(d.store).subscribe("merger", merger.hear)
        page = await d.page(body="")
        replica = await d.replica(page)
        replica.text().insert(0, "lost")
        replica.take_update()
        replica.text().insert(0, "late")
        update = replica.take_update()
        refused = await asyncio.gather(
            *(merger.merge(ADMIN, "Page", page, update) for _ in range(5)), return_exceptions=True
        )
        assert {error.code for error in refused if isinstance(error, PylonError)} == {
            "CRDT_DEPENDENCIES_MISSING"
        }
        assert len(refused) == 5
        assert merger.waiting == 0
        assert (await d.row(page))["body"] == ""


async def test_who_makes_the_server_busy_waits_and_others_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_MERGE_SECONDS_FREE", 0.0)
    monkeypatch.setattr(limits, "DOCUMENT_BURST_SECONDS", 0.0)
    monkeypatch.setattr("pylon.crdt.shares.SHARES", {"session": 1e-9, "address": 1e9, "row": 1e9})
    async with desk() as d:
        merger = Merger(d.rows)
        page = await d.page(body="")
        replica = await d.replica(page)
        replica.text().insert(0, "1")
        update = replica.take_update()
        at_once = await asyncio.gather(
            *(merger.merge(ANN, "Page", page, update) for _ in range(3)), return_exceptions=True
        )
        refused = [error for error in at_once if isinstance(error, PylonError)]
        assert [(error.status, error.code) for error in refused] == [(429, "RATE_LIMITED")] * 2
        assert (await merger.merge(BOB, "Page", page, update))["body"] == "1"
        monkeypatch.setattr("pylon.crdt.shares.SHARES", dict.fromkeys(SHARES, 1.0))
        await merger.merge(ADMIN, "Page", page, update)
        assert (await merger.merge(ADMIN, "Page", page, update))["body"] == "1"
