"""The hub's promises to one stream, beyond convergence: bounds, isolation, one buffer for all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from pylon import limits
from pylon.changes.facts import OldestRaised
from pylon.data.write import Transaction
from pylon.identity import ADMIN, ANONYMOUS, Identity
from pylon.sync.pull import PullPage
from pylon.sync.streams import HubWrite
from tests.sync.replica import Replica
from tests.sync.world import World, world

ANN = Identity(user_id="ann", session_id=b"ann's session")
BOB = Identity(user_id="bob", session_id=b"bob's session")


class Stuck(Replica):
    """A reader that takes nothing."""

    def backlog(self) -> int:
        return limits.OUTBOX_BYTES_MAX + 1


class Broken(Replica):
    """A reader whose transport fails."""

    def write(self, data: bytes) -> None:
        raise OSError("gone")


class Buffers(Replica):
    """A reader that keeps the very buffers it was given."""

    def __init__(self, identity: Identity) -> None:
        super().__init__(identity)
        self.buffers: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.buffers.append(data)


class Behind(Replica):
    """A reader that always has so many bytes still to take."""

    def __init__(self, identity: Identity, size: int) -> None:
        super().__init__(identity)
        self.size = size

    def backlog(self) -> int:
        return self.size


class Busy(Behind):
    """A reader that always has something to take, and takes it."""

    taken = 0

    def written(self) -> int:
        self.taken += self.size
        return self.taken


class Filling(Buffers):
    """A reader that has had no time to take anything of this turn."""

    def backlog(self) -> int:
        return sum(map(len, self.buffers))


async def insert(app: World, **note: object) -> None:
    await app.rows.insert(ADMIN, "Note", note)


async def settle(app: World) -> None:
    await app.settle()


async def test_without_readers_no_turn_is_begun_and_who_comes_then_misses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as app:
        begun: list[int] = []
        begin = app.hub.begin

        def counted() -> Iterator[HubWrite]:
            begun.append(app.hub.readers)
            return begin()

        monkeypatch.setattr(app.hub, "begin", counted)
        await insert(app, ownerId="ann", text="before")
        await settle(app)
        assert begun == []
        reader = Replica(ANN)
        await app.hub.join(ANN, reader, None)
        await insert(app, ownerId="ann", text="after")
        await settle(app)
        assert begun == [1]
        assert len(reader.events) == 1
        later = Replica(ANN)
        await app.hub.join(ANN, later, 0)
        await settle(app)
        assert len(later.rows["Note"]) == 2


async def test_a_reader_that_takes_nothing_is_closed_and_others_are_served() -> None:
    async with world() as app:
        stuck, fine = Stuck(ANN), Replica(ANN)
        await app.hub.join(ANN, stuck, None)
        await app.hub.join(ANN, fine, None)
        await insert(app, ownerId="ann")
        await settle(app)
        assert stuck.closed == 1013
        assert len(fine.events) == 1
        assert app.hub.readers == 1
        assert app.hub.closes == {"slow": 1}


def one_of_many(number: int) -> Identity:
    return Identity(user_id=f"user_{number}", session_id=number.to_bytes(32, "big"))


async def test_of_readers_that_keep_too_much_together_the_furthest_behind_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_TOTAL_BYTES_MAX", 1_000)
    monkeypatch.setattr("pylon.live.slow.SWEEP_SECONDS", 0.01)
    async with world() as app:
        readers = [Behind(one_of_many(size), size) for size in (0, 300, 600, 200, 500)]
        for reader in readers:
            await app.hub.join(reader.identity, reader, None)
        async with asyncio.timeout(60):
            while app.hub.readers == len(readers):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert [reader.closed for reader in readers] == [None, None, 1013, None, None]
        assert app.hub.closes == {"slow": 1}
        assert app.hub.backlog_bytes == 1_000


async def test_bytes_that_wait_too_long_end_a_stream_but_one_that_is_always_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_SECONDS_MAX", 0.05)
    monkeypatch.setattr("pylon.live.slow.SWEEP_SECONDS", 0.01)
    async with world() as app:
        stuck, busy = Behind(ANN, 300), Busy(BOB, 300)
        for reader in (busy, stuck):
            await app.hub.join(reader.identity, reader, None)
        async with asyncio.timeout(60):
            while app.hub.readers == 2 or busy.taken < 20 * busy.size:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert (stuck.closed, busy.closed) == (1013, None)


async def test_what_readers_of_one_audience_keep_counts_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "OUTBOX_TOTAL_BYTES_MAX", 1_000)
    monkeypatch.setattr("pylon.live.slow.SWEEP_SECONDS", 0.01)
    async with world() as app:
        alike = [Behind(ANN, size) for size in (900, 800, 100, 700)]
        other = Behind(BOB, 250)
        for reader in (*alike, other):
            await app.hub.join(reader.identity, reader, None)
        async with asyncio.timeout(60):
            while app.hub.readers == 5:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        # 900 and 250 are too much, 700 and 250 are not.
        assert [reader.closed for reader in alike] == [1013, 1013, None, None]
        assert other.closed is None


async def test_a_stream_that_fails_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as app:
        broken, fine = Broken(ANN), Replica(ANN)
        await app.hub.join(ANN, broken, None)
        await app.hub.join(ANN, fine, None)
        with caplog.at_level(logging.CRITICAL, logger="pylon.sync"):
            for _ in range(3):
                await insert(app, ownerId="ann")
                await settle(app)
        assert broken.closed == 1011
        assert len(fine.events) == 3


async def test_readers_alike_share_one_buffer() -> None:
    async with world() as app:
        readers = [Buffers(ANN), Buffers(ANN), Buffers(BOB)]
        for reader in readers:
            await app.hub.join(reader.identity, reader, None)
        await insert(app, ownerId="ann")
        await settle(app)
        first, second, third = readers
        assert first.buffers[0] is second.buffers[0]
        assert third.buffers == []


async def test_changes_of_one_turn_leave_in_one_write() -> None:
    async with world() as app:
        reader = Buffers(ANN)
        await app.hub.join(ANN, reader, None)

        async def unit(tx: Transaction) -> None:
            for n in range(10):
                await tx.insert("Note", {"ownerId": "ann", "text": str(n)})

        await app.rows.write(ADMIN, unit)
        await settle(app)
        assert len(reader.buffers) == 1
        assert reader.buffers[0].count(b'"seq"') == 10


async def test_commits_that_wait_for_a_turn_leave_in_one_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as app:
        begun = 0
        begin = app.hub.begin

        def counted() -> Iterator[HubWrite]:
            nonlocal begun
            begun += 1
            return begin()

        monkeypatch.setattr(app.hub, "begin", counted)
        reader = Buffers(ANN)
        await app.hub.join(ANN, reader, None)
        await asyncio.gather(*(insert(app, ownerId="ann", text=str(n)) for n in range(10)))
        await settle(app)
        # A slow machine commits them in more than one batch, and so may need more turns than one.
        assert len(reader.buffers) <= begun <= 10
        assert b"".join(reader.buffers).count(b'"seq"') == 10


async def test_a_turn_of_many_bytes_leaves_in_several_writes() -> None:
    async with world() as app:
        reader, full = Buffers(ANN), Filling(ANN)
        for each in (reader, full):
            await app.hub.join(ANN, each, None)

        async def unit(tx: Transaction) -> None:
            for _ in range(480):
                await tx.insert("Note", {"ownerId": "ann", "text": "x" * 10_000})

        await app.rows.write(ADMIN, unit)
        await settle(app)
        assert len(reader.buffers) > 10
        assert max(map(len, reader.buffers)) < 2 * limits.FAN_OUT_BYTES
        assert b"".join(reader.buffers).count(b'"seq"') == 480
        assert full.closed is None, "what one turn writes is no sign of a slow reader"
        assert full.buffers == reader.buffers


async def test_the_end_of_a_session_ends_its_streams_only() -> None:
    async with world() as app:
        anns, bobs = [Replica(ANN), Replica(ANN)], Replica(BOB)
        for reader in (*anns, bobs):
            await app.hub.join(reader.identity, reader, 0)
        app.hub.close_session(b"ann's session")
        assert [reader.closed for reader in anns] == [1008, 1008]
        assert bobs.closed is None
        assert app.hub.readers == 1


async def test_private_fields_are_for_administrators() -> None:
    async with world() as app:
        ann, admin = Replica(ANN), Replica(ADMIN)
        for reader in (ann, admin):
            await app.hub.join(reader.identity, reader, None)
        await insert(app, ownerId="ann", secret="s")
        await settle(app)
        row_id = ann.events[0]["row_id"]
        await app.rows.update(ADMIN, "Note", row_id, {"secret": "t"})
        await settle(app)
        assert "secret" not in ann.events[0]["data"]
        assert len(ann.events) == 1, "a change of private fields alone is nobody else's business"
        assert [event["data"]["secret"] for event in admin.events] == ["s", "t"]


async def test_a_cursor_that_cannot_be_continued_closes_the_stream() -> None:
    async with world() as app:
        reader = Replica(ANN)
        await app.hub.join(ANN, reader, 10**9)
        assert reader.closed == 1013
        assert app.hub.readers == 0


async def test_a_reader_too_far_behind_is_sent_to_pull(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REPLAY_ROWS_MAX", 2)
    monkeypatch.setattr(limits, "PULL_ROWS_MAX", 2)
    monkeypatch.setattr("pylon.sync.pull.SCAN_ROWS_FIRST", 2)
    async with world() as app:
        for _ in range(8):
            await insert(app, ownerId="ann")
        reader = Replica(ANN)
        await app.hub.join(ANN, reader, 0)
        assert reader.closed == 1013


async def test_stopping_closes_every_stream_as_going_away() -> None:
    async with world() as app:
        readers = [Replica(ANN), Replica(BOB)]
        for reader in readers:
            await app.hub.join(reader.identity, reader, None)
        app.hub.close_all()
        assert [reader.closed for reader in readers] == [1001, 1001]


async def test_a_client_that_may_be_ahead_is_not_started_from_0_past_an_epoch() -> None:
    """A replay cannot tell it that a room went out of its sight with its membership."""
    async with world() as app:
        await app.rows.insert(ADMIN, "Room", {"teamId": "red"})
        knowing, fresh = Replica(ANN), Replica(ANN)
        assert await app.hub.join(ANN, knowing, 0, may_be_ahead=True)
        member = {"teamId": "red", "userId": "ann", "n": 3}
        await app.rows.insert(ADMIN, "Member", member)
        await settle(app)
        assert knowing.closed == 1013
        again = Replica(ANN)
        assert not await app.hub.join(ANN, again, 0, may_be_ahead=True)
        assert again.closed == 1013
        assert await app.hub.join(ANN, fresh, 0)
        assert len(fresh.rows["Room"]) == 1


async def test_a_page_of_somebody_unknown_is_not_replayed_past_anybodys_epoch() -> None:
    """The public sees the member and no room; the one who is on the page sees a room more."""
    async with world() as app:
        await app.rows.insert(ADMIN, "Open", {"shown": True})
        before = app.store.seq
        member = {"teamId": "red", "userId": "ann", "n": 3}
        await app.rows.insert(ADMIN, "Member", member)
        page, program = Replica(ANONYMOUS), Replica(ANONYMOUS)
        assert not await app.hub.join(ANONYMOUS, page, before, shows_all=False)
        assert page.closed == 1013
        assert not page.events
        assert await app.hub.join(ANONYMOUS, program, before)
        assert [event["entity"] for event in program.events] == ["Member"]


async def test_a_position_that_carries_no_row_is_passed_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reader whose replay has seen it goes live when the hub hears of it."""
    async with world() as app:
        head = app.store.seq + 1

        async def page(*_: object, **__: object) -> PullPage:
            return PullPage(events=[], last_seq=head, has_more=False)

        monkeypatch.setattr(app.puller, "page", page)
        assert await app.hub.join(ANN, Replica(ANN), 0)
        assert app.hub.joining == 1
        app.feed.deliver([OldestRaised(oldest_seq=head)], head)
        await app.settle()
        assert app.hub.joining == 0


async def test_a_fan_out_that_fails_closes_every_stream(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it fails as it is decided or as it is written; and the next one comes."""
    async with world() as app:
        for name in ("route", "_draw"):

            def fails(*_: object) -> None:
                raise ValueError("a fault of ours")

            readers = [Replica(ANN), Replica(BOB)]
            for reader in readers:
                await app.hub.join(reader.identity, reader, None)
            with monkeypatch.context() as patch:
                patch.setattr(f"pylon.sync.routing.Routing.{name}", fails)
                await insert(app, ownerId="ann")
                await settle(app)
            assert [reader.closed for reader in readers] == [1011, 1011]
        fine = Replica(ANN)
        await app.hub.join(ANN, fine, None)
        await insert(app, ownerId="ann")
        await settle(app)
        assert len(fine.events) == 1
        assert caplog.text.count("a fan-out of changes failed") == 2
