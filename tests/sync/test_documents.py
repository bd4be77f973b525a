"""Interests in documents, and pushes that wait for others, without sockets."""

from __future__ import annotations

import asyncio

import pytest

from pylon import limits
from pylon.changes.feed import Feed, Gap
from pylon.errors import PylonError
from pylon.identity import ADMIN
from pylon.live.outlet import LINES
from pylon.live.sockets import QueueOutlet
from pylon.sync.dependencies import Merger
from pylon.sync.documents import DocumentHub
from pylon.wire.crdt_frames import SNAPSHOT, UPDATE, read_document_frame
from tests.crdt.people import ANN, BOB, Desk, desk


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
        async with asyncio.timeout(20):
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
        async with asyncio.timeout(20):
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
    monkeypatch.setattr("pylon.sync.dependencies.REST_RATIO", 1e6)
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
        monkeypatch.setattr("pylon.sync.dependencies.REST_RATIO", 1.0)
        await merger.merge(ADMIN, "Page", page, update)
        assert (await merger.merge(ADMIN, "Page", page, update))["body"] == "1"
