"""Dropping old tombstones: in units of bounded size, and what it means for cursors is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from pylon import limits
from pylon.changes.facts import OldestRaised
from pylon.changes.feed import Feed
from pylon.changes.log import LOG_TABLES, ChangeLog
from pylon.clock import ManualClock
from pylon.identity import ANONYMOUS
from pylon.store.base import Tx
from pylon.store.sqlite.store import SqliteStore, open_store


async def change(store: SqliteStore, log: ChangeLog, row_id: str, *, delete: bool) -> None:
    row = {"id": row_id}

    async def unit(tx: Tx) -> None:
        await log.append(
            tx,
            entity="T",
            row_id=row_id,
            kind="delete" if delete else "insert",
            before=row if delete else None,
            after=None if delete else row,
        )

    await store.write(unit)


@pytest.mark.parametrize("bound", [1, 3, 7, 8, 100])
async def test_a_purge_in_units_drops_what_is_old_and_remembers_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    monkeypatch.setattr(limits, "PURGE_UNIT_ROWS", bound)
    clock = ManualClock()
    store = open_store(tmp_path / "app.db", tables={"changes": LOG_TABLES})
    log = ChangeLog(store, clock, {})
    Feed(store).subscribe("log", log.hear, (OldestRaised,))
    for number in range(14):
        await change(store, log, f"r{number}", delete=False)
    for number in range(0, 14, 2):
        await change(store, log, f"r{number}", delete=True)
    old = store.seq
    await change(store, log, "r0", delete=False)  # there again: no tombstone any more
    clock.at += 1_000
    await change(store, log, "r1", delete=True)
    batches = store.writer.batches

    assert await log.purge(retain_seconds=500) == 6
    assert store.writer.batches - batches == -(-6 // bound)
    assert log.oldest_seq == old
    assert await log.purge(retain_seconds=500) == 0
    kept = await store.read("SELECT row_id FROM _pylon_changes WHERE kind = 'delete'")
    assert kept == [("r1",)]
    await store.close()

    again = open_store(tmp_path / "app.db", tables={"changes": LOG_TABLES})
    log = ChangeLog(again, clock, {})
    await log.start("")
    assert log.oldest_seq == old
    await again.close()


async def test_the_oldest_beyond_a_number_go_however_young_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a cursor from before them is refused, after a restart too."""
    monkeypatch.setattr(limits, "PURGE_UNIT_ROWS", 3)
    monkeypatch.setattr(limits, "TOMBSTONES_MAX", 5)
    store = open_store(tmp_path / "app.db", tables={"changes": LOG_TABLES})
    clock = ManualClock()
    log = ChangeLog(store, clock, {})
    for number in range(12):
        await change(store, log, f"r{number}", delete=False)
        await change(store, log, f"r{number}", delete=True)
    assert await log.purge(retain_seconds=500) == 7
    assert await log.purge(retain_seconds=500) == 0
    kept = await store.read("SELECT row_id FROM _pylon_changes ORDER BY seq")
    assert kept == [(f"r{number}",) for number in range(7, 12)]
    assert await log.good_from(ANONYMOUS) == 14, "the delete of r6"
    await store.close()

    again = open_store(tmp_path / "app.db", tables={"changes": LOG_TABLES})
    log = ChangeLog(again, clock, {})
    await log.start("")
    assert await log.good_from(ANONYMOUS) == 14
    await again.close()
