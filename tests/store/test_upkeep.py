"""Work by the clock: done soon after a start if it is due, and not again because of one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pylon import limits
from pylon.clock import ManualClock
from pylon.store.base import Tx
from pylon.store.sqlite.store import SqliteStore, open_store
from pylon.store.upkeep import Upkeep, delete_in_slices

HOUR = 3_600.0


async def start(path: Path, clock: ManualClock, work: Callable[[], Awaitable[object]]) -> None:
    """A server that is up for a moment."""
    store = open_store(path)
    upkeep = Upkeep(store, clock, "purge", HOUR, work)
    for _ in range(3):
        await upkeep.look()
    await store.close()


async def test_restarts_neither_skip_nor_repeat_it(tmp_path: Path) -> None:
    clock, done = ManualClock(), 0

    async def work() -> None:
        nonlocal done
        done += 1

    path = tmp_path / "app.db"
    for expected, hours_later in (
        (1, 0.4),
        (1, 0.4),
        (1, 0.4),
        (2, 0.9),
        (2, 0.2),
        (3, 99),
        (4, 0),
    ):
        await start(path, clock, work)
        assert done == expected
        clock.advance(hours_later * HOUR)


async def test_a_clock_that_was_ahead_keeps_nothing_from_being_done(tmp_path: Path) -> None:
    clock, done = ManualClock(), 0

    async def work() -> None:
        nonlocal done
        done += 1

    clock.jump(365 * 86_400)
    await start(tmp_path / "app.db", clock, work)
    clock.jump(-365 * 86_400)
    await start(tmp_path / "app.db", clock, work)
    assert done == 2


async def test_a_server_that_stays_up_does_it_each_time(tmp_path: Path) -> None:
    clock, done = ManualClock(), list[float]()

    async def work() -> None:
        done.append(clock.now())

    store = open_store(tmp_path / "app.db")
    upkeep = Upkeep(store, clock, "purge", HOUR, work)
    for _ in range(30):
        await upkeep.look()
        clock.advance(HOUR / 10)
    assert [round(later - done[0]) for later in done] == [0, HOUR, 2 * HOUR]
    await store.close()


async def test_what_failed_is_tried_again_a_while_later(tmp_path: Path) -> None:
    clock, tried = ManualClock(), 0

    async def work() -> None:
        nonlocal tried
        tried += 1
        if tried == 1:
            raise OSError("the disk")

    store = open_store(tmp_path / "app.db")
    upkeep = Upkeep(store, clock, "purge", HOUR, work)
    with pytest.raises(OSError, match="the disk"):
        await upkeep.look()
    await upkeep.look()
    assert tried == 1
    clock.advance(limits.UPKEEP_RETRY_SECONDS + 1)
    await upkeep.look()
    assert tried == 2
    await store.close()


# --- slices ----------------------------------------------------------------------------------

SOME = "DELETE FROM t WHERE n IN (SELECT n FROM t WHERE n < ? ORDER BY n LIMIT ?)"


async def filled(tmp_path: Path, count: int) -> SqliteStore:
    store = open_store(tmp_path / "app.db", ddl=["CREATE TABLE t (n INTEGER PRIMARY KEY)"])

    async def fill(tx: Tx) -> None:
        for n in range(count):
            await tx.execute("INSERT INTO t (n) VALUES (?)", (n,))

    await store.write(fill)
    return store


async def test_others_write_between_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PURGE_UNIT_ROWS", 10)
    store = await filled(tmp_path, 1_000)
    left: list[int] = []

    async def look(tx: Tx) -> None:
        left.append((await tx.fetch("SELECT count(*) FROM t"))[0][0])

    deleting = asyncio.create_task(delete_in_slices(store, SOME, (995,)))
    while not deleting.done():
        await store.write(look)
    assert await deleting == 995
    assert len([n for n in left if 5 < n < 1_000]) > 20, "they went between most slices"
    assert (await store.read("SELECT count(*) FROM t")) == [(5,)]
    await store.close()


@pytest.mark.parametrize("rows_max", [0, 3, 10, 25, 99])
async def test_no_more_are_deleted_than_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_max: int
) -> None:
    monkeypatch.setattr(limits, "PURGE_UNIT_ROWS", 10)
    store = await filled(tmp_path, 50)
    heard: list[object] = []
    store.on_commit(heard.extend)
    expected = min(rows_max, 50)
    assert await delete_in_slices(store, SOME, (99,), rows_max=rows_max, told="x") == expected
    assert (await store.read("SELECT count(*) FROM t")) == [(50 - expected,)]
    assert len(heard) == -(-expected // 10)
    await store.close()
