"""Room that has become free goes back to the system, in parts between which others write."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import apsw
import pytest

from pylon import limits
from pylon.store.base import Tx
from pylon.store.sqlite.store import SqliteStore, open_store

TABLE = "CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, text TEXT)"


async def fill(tx: Tx) -> None:
    await tx.execute(
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1500)"
        " INSERT INTO t (text) SELECT hex(randomblob(1500)) FROM c"
    )


async def emptied(path: Path) -> SqliteStore:
    """A store whose rows have come and gone."""
    store = open_store(path, ddl=[TABLE])
    await store.write(fill)

    async def empty(tx: Tx) -> None:
        await tx.execute("DELETE FROM t WHERE n > 10")

    await store.write(empty)
    return store


async def test_a_file_that_was_emptied_shrinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FREE_PAGES_KEPT", 50)
    path = tmp_path / "app.db"
    store = await emptied(path)
    free = (await store.read("PRAGMA freelist_count"))[0][0]
    assert free > 1_000
    between = 0

    async def write(tx: Tx) -> None:
        await tx.execute("UPDATE t SET text = 'seen' WHERE n = 1")

    batches, giving = store.writer.batches, asyncio.create_task(store.give_back())
    while not giving.done():
        await store.write(write)
        between += 1
    assert await giving == (free - 50) * 4_096
    parts = -(-(free - 50) // limits.FREE_PAGES_UNIT)
    assert store.writer.batches - batches == between + parts
    assert between >= parts - 1, "others went between"
    assert (await store.read("PRAGMA freelist_count")) == [(50,)]
    assert (await store.read("SELECT count(*) FROM t")) == [(10,)]
    assert await store.give_back() == 0
    await store.close()
    assert path.stat().st_size < 100 * 4_096


async def test_a_file_from_before_is_left_until_it_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/operating-sync.md tells how."""
    monkeypatch.setattr(limits, "FREE_PAGES_KEPT", 50)
    path = tmp_path / "app.db"
    old = apsw.Connection(str(path))
    old.execute("PRAGMA journal_mode = WAL").fetchall()
    old.execute(TABLE)
    old.close()
    store = await emptied(path)
    assert await store.give_back() == 0
    await store.close()

    statements = "PRAGMA auto_vacuum = INCREMENTAL; VACUUM; PRAGMA wal_checkpoint(TRUNCATE);"
    shell = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "apsw", str(path), statements
    )
    assert await shell.wait() == 0
    assert path.stat().st_size < 100 * 4_096
    store = open_store(path, ddl=[TABLE])
    await store.write(fill)

    async def empty(tx: Tx) -> None:
        await tx.execute("DELETE FROM t WHERE n > 10")

    await store.write(empty)
    assert await store.give_back() > 0
    await store.close()


async def test_a_log_that_a_long_read_let_grow_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WAL_BYTES_KEPT", 1_000_000)
    monkeypatch.setattr(limits, "WAL_CHECKPOINT_PAGES", 100)
    path = tmp_path / "app.db"
    store = open_store(path, ddl=[TABLE])
    wal = path.with_name("app.db-wal")
    snapshot = await store.snapshot()
    for _ in range(4):
        await store.write(fill)
    grown = wal.stat().st_size
    assert grown > 10_000_000, "nothing is reclaimed while it is read"
    await snapshot.aclose()

    async def write(tx: Tx) -> None:
        await tx.execute("UPDATE t SET text = hex(randomblob(9)) WHERE n = 1")

    for _ in range(5):
        await store.write(write)
    assert wal.stat().st_size <= 1_000_000
    await store.close()
