"""A database whose files are removed or replaced while it is open: noticed, and nothing is lied."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import pytest

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import Tx
from pylon.store.health import COMMIT_STUCK
from pylon.store.sqlite import files as files_module
from pylon.store.sqlite.files import Files
from pylon.store.sqlite.store import SqliteStore, open_store
from tests.store.sqlite.test_aside import COUNTED, World

TABLE = "CREATE TABLE IF NOT EXISTS t (id TEXT PRIMARY KEY NOT NULL)"


async def insert(tx: Tx, row_id: str) -> None:
    await tx.execute("INSERT INTO t VALUES (?)", (row_id,))
    tx.publish(row_id)


async def put(store: SqliteStore, row_id: str) -> None:
    await store.write(lambda tx: insert(tx, row_id))


def trouble(store: SqliteStore) -> str | None:
    """A function, since the type checker does not expect a property to change by itself."""
    return store.trouble


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = open_store(tmp_path / "app.db", ddl=[TABLE])
    await put(opened, "before")
    yield opened
    await opened.close()


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another whole database."""
    path = tmp_path / "other.db"
    connection = apsw.Connection(str(path))
    connection.execute(TABLE)
    connection.execute("INSERT INTO t VALUES ('of another')")
    connection.close()
    return path


# --- what counts as gone ---------------------------------------------------------------------


def remove(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("moved"))


def replace(path: Path) -> None:
    Path(shutil.copy(path, path.with_name("copy"))).rename(path)


def take_the_folder_away(path: Path) -> None:
    path.parent.rename(path.parent.with_name("away"))


WAYS = [
    *((way, suffix) for way in (remove, move, replace) for suffix in ("", "-wal", "-shm")),
    (take_the_folder_away, ""),
]


@pytest.mark.parametrize(("way", "suffix"), WAYS)
async def test_files_that_do_not_stand_there_any_more(
    tmp_path: Path, way: Callable[[Path], None], suffix: str
) -> None:
    path = tmp_path / "folder" / "app.db"
    store = open_store(path, ddl=[TABLE])
    try:
        files = Files(path)
        assert files.are_there()
        assert files.have_room()
        way(path.with_name(path.name + suffix))
        assert not files.are_there()
    finally:
        await store.close()


async def settle(files: Files) -> None:
    """Wait until the folder has not changed for a while."""
    for _ in range(1_000):
        if files.hold_commits() and files._seen is not None:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the folder goes on changing")


@pytest.mark.parametrize(("way", "suffix"), [each for each in WAYS if each[1] != "-shm"])
async def test_files_that_go_after_a_long_time(
    tmp_path: Path, way: Callable[[Path], None], suffix: str
) -> None:
    path = tmp_path / "folder" / "app.db"
    store = open_store(path, ddl=[TABLE])
    try:
        files = Files(path)
        await settle(files)
        way(path.with_name(path.name + suffix))
        assert not files.hold_commits()
        assert not files.hold_commits(), "it is asked again, and not remembered as well"
    finally:
        await store.close()


async def test_the_files_are_asked_when_their_folder_has_changed_only(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # To ask a file for its times makes the next write to it slower.
    files = store._files
    assert files is not None
    await settle(files)
    asked: list[str] = []
    ask = files_module._which

    def asking(name: str) -> tuple[int, int] | None:
        asked.append(name)
        return ask(name)

    monkeypatch.setattr(files_module, "_which", asking)
    for name in "abc":
        await put(store, name)
    assert asked == []
    store.path.with_name("neighbour").touch()
    await put(store, "d")
    assert asked == [str(store.path), f"{store.path}-wal"]


async def test_a_link_that_leads_elsewhere_by_now_is_noticed(tmp_path: Path) -> None:
    real, link = tmp_path / "real" / "app.db", tmp_path / "link.db"
    store = open_store(real, ddl=[TABLE])
    link.symlink_to(real)
    try:
        files = Files(link)
        await asyncio.sleep(0.2)
        assert files.hold_commits()
        real.rename(real.with_name("moved"))  # not in the folder of the link
        assert not files.hold_commits()
    finally:
        await store.close()


async def test_what_leaves_the_files_where_they_are(store: SqliteStore) -> None:
    files = Files(store.path)
    os.link(store.path, store.path.with_name("link"))
    store.path.touch()
    store.path.chmod(0o600)
    shell = apsw.Connection(str(store.path))
    shell.execute("VACUUM")
    shell.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    shell.close()
    assert files.are_there()
    store.path.rename(store.path.with_name("moved"))
    store.path.with_name("moved").rename(store.path)
    assert files.are_there()


# --- what the store makes of it --------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "-wal"])
async def test_a_write_to_files_that_are_gone_is_not_acknowledged(
    store: SqliteStore, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[object] = []
    store.on_commit(heard.extend)
    store.path.with_name(store.path.name + suffix).unlink()
    results = await asyncio.gather(*(put(store, name) for name in "ab"), return_exceptions=True)
    results += await asyncio.gather(put(store, "c"), return_exceptions=True)
    for refused in results:
        assert isinstance(refused, PylonError)
        assert (refused.status, refused.code) == (500, "STORAGE_GONE")
        assert str(store.path) not in refused.message
    assert heard == []
    assert store.seq == 1
    assert store.writer.batches == 1, "the one before"
    assert trouble(store) == "STORAGE_GONE"
    told = [record.message for record in caplog.records if record.levelname == "CRITICAL"]
    assert len(told) == 1
    assert str(store.path) in told[0]


async def test_a_missing_index_of_the_log_loses_nothing_and_ends_the_writes_all_the_same(
    tmp_path: Path,
) -> None:
    """Another process would make one of its own, and neither would see the other's locks."""
    store = open_store(tmp_path / "app.db", ddl=[TABLE])
    tmp_path.joinpath("app.db-shm").unlink()
    await put(store, "kept")
    await store.probe()
    assert trouble(store) == "STORAGE_GONE"
    with pytest.raises(PylonError, match="removed or replaced"):
        await put(store, "refused")
    await store.close()
    again = open_store(tmp_path / "app.db")
    assert await again.read("SELECT id FROM t") == [("kept",)]
    await again.close()


async def test_held_units_are_refused_too(store: SqliteStore) -> None:
    store.path.unlink()
    await store.probe()
    with pytest.raises(PylonError, match="removed or replaced"):
        await store.hold(lambda tx: insert(tx, "held"))


async def test_it_is_noticed_where_nobody_writes_and_stays_so(store: SqliteStore) -> None:
    away = store.path.with_name("away")
    store.path.rename(away)
    assert trouble(store) is None
    await store.probe()
    assert trouble(store) == "STORAGE_GONE"
    away.rename(store.path)
    await store.probe()
    assert trouble(store) == "STORAGE_GONE", "others may have used what stood there meanwhile"
    assert store.writer.batches == 1, "and nothing is tried"


async def test_reads_go_on_and_never_see_the_file_that_stands_there_now(
    store: SqliteStore, other: Path
) -> None:
    other.rename(store.path)
    assert await store.read("SELECT id FROM t") == [("before",)]
    for attempt in (store.read("SELECT id FROM t", heavy=True), store.snapshot()):
        with pytest.raises(PylonError) as refused:
            await attempt
        assert refused.value.code == "STORAGE_GONE"


async def test_a_stop_leaves_the_file_that_stands_there_now_alone(
    tmp_path: Path, other: Path
) -> None:
    """The log beside it is of the old file: what is in it must not reach the new one."""
    path = tmp_path / "app.db"
    store = open_store(path, ddl=[TABLE])
    for number in range(50):
        await put(store, f"row {number}")
    other.rename(path)
    with pytest.raises(PylonError):
        await put(store, "late")
    await store.close()
    again = open_store(path, ddl=[TABLE])
    assert await again.read("SELECT id FROM t") == [("of another",)]
    assert await again.read("PRAGMA integrity_check") == [("ok",)]
    await again.close()


async def test_a_stop_saves_what_was_acknowledged_when_only_the_log_went(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    store = open_store(path, ddl=[TABLE])
    await put(store, "acknowledged")
    path.with_name("app.db-wal").unlink()
    await store.probe()
    await store.close()
    again = open_store(path, ddl=[TABLE])
    assert await again.read("SELECT id FROM t") == [("acknowledged",)]
    assert again.trouble is None
    await put(again, "next")
    await again.close()


async def test_a_volatile_database_has_nothing_to_lose() -> None:
    store = open_store(None, ddl=[TABLE])
    store.path.unlink()
    await put(store, "a")
    await store.probe()
    assert trouble(store) is None
    await store.close()


# --- other troubles --------------------------------------------------------------------------


async def test_a_commit_that_fails_is_told_until_one_succeeds(tmp_path: Path) -> None:
    """Here a broken reference, which is found at the commit only."""
    reference = "CREATE TABLE r (id TEXT REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)"
    store = open_store(tmp_path / "app.db", ddl=[TABLE, reference])

    async def breaks(tx: Tx) -> None:
        await tx.execute("INSERT INTO r VALUES ('nobody')")

    for ends in (store.probe, lambda: put(store, "a")):
        with pytest.raises(PylonError) as refused:
            await store.write(breaks)
        assert refused.value.code == trouble(store) == "TX_COMMIT_FAILED"
        await ends()
        assert trouble(store) is None
    assert store.writer.batches == 2, "the probe's and the write's"
    await store.probe()
    assert store.writer.batches == 2, "nothing is tried while all is well"
    await store.close()


async def test_a_lock_that_is_kept_is_told_until_it_is_let_go(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SQLITE_BUSY_MILLISECONDS", 5)
    shell = apsw.Connection(str(store.path))
    shell.execute("BEGIN IMMEDIATE")
    with pytest.raises(PylonError):
        await put(store, "refused")
    assert trouble(store) == "LOCK_FAILED"
    await store.probe()
    assert trouble(store) == "LOCK_FAILED"
    shell.execute("ROLLBACK")
    await store.probe()
    assert trouble(store) is None
    shell.close()


async def test_a_full_disk_is_told_until_there_is_room(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that may not grow; the smallest write fits all the same."""
    pages = (await store.read("PRAGMA page_count"))[0][0]

    async def limit(tx: Tx, most: int) -> None:
        await tx.fetch(f"PRAGMA max_page_count = {most}")

    await store.write(lambda tx: limit(tx, pages + 2))
    with pytest.raises(PylonError) as refused:
        await put(store, "x" * 50_000)
    assert refused.value.code == trouble(store) == "STORAGE_FULL"
    monkeypatch.setattr(limits, "DISK_FREE_BYTES_MIN", 2**62)
    await put(store, "small")
    assert trouble(store) == "STORAGE_FULL"
    monkeypatch.setattr(limits, "DISK_FREE_BYTES_MIN", 1)
    await store.probe()
    assert trouble(store) is None


async def test_a_commit_thread_that_does_not_come_back_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COMMIT_SECONDS_MAX", 0.0)
    world = World(open_store(tmp_path / "app.db", ddl=[TABLE]))
    seen: set[str | None] = set()

    async def look() -> None:
        while True:
            seen.add(world.store.trouble)
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    await world.store.write(lambda tx: tx.fetch(COUNTED.format(bound="bound()")))
    looking.cancel()
    assert seen == {None, COMMIT_STUCK}
    assert world.store.trouble is None
    await world.close()


async def test_what_is_the_callers_fault_says_nothing_of_the_store(store: SqliteStore) -> None:
    async def fails(_: Tx) -> None:
        raise PylonError(403, "POLICY_DENIED", "No.")

    with pytest.raises(PylonError):
        await store.write(fails)
    with pytest.raises(Exception, match="UNIQUE"):
        await put(store, "before")
    assert trouble(store) is None
