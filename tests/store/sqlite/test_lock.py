"""The lock that keeps a second server away from a database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pylon.errors import ConfigError
from pylon.store.sqlite.lock import DatabaseHeld, DatabaseLock
from pylon.store.sqlite.store import open_store

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="open file description locks")


def test_one_at_a_time_also_by_another_name(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    path.touch()
    (tmp_path / "link.db").symlink_to(path)
    first = DatabaseLock(path)
    for name in ("app.db", "link.db"):
        with pytest.raises(BlockingIOError):
            DatabaseLock(tmp_path / name)
    first.release()
    DatabaseLock(path).release()


@on_linux
def test_a_database_is_held_by_every_name(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    first = DatabaseLock(path, creates=True)
    (tmp_path / "app.db-lock").unlink()
    with pytest.raises(DatabaseHeld):
        DatabaseLock(path)
    os.link(path, tmp_path / "other.db")
    (tmp_path / "moved").mkdir()
    path.rename(tmp_path / "moved" / "new.db")
    for name in ("other.db", "moved/new.db"):
        with pytest.raises(DatabaseHeld):
            DatabaseLock(tmp_path / name)
    first.release()
    DatabaseLock(tmp_path / "other.db").release()


HOLD = """
import sys
from pathlib import Path
from pylon.store.sqlite.lock import DatabaseHeld, DatabaseLock
lock = DatabaseLock(Path(sys.argv[1]), creates=True)
print("held", flush=True)
sys.stdin.read()
"""


@on_linux
def test_the_holder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        try:
            for _ in range(2):
                with pytest.raises(DatabaseHeld) as caught:
                    DatabaseLock(path)
                assert caught.value.pid == other.pid
                (tmp_path / "app.db-lock").unlink()
        finally:
            other.kill()
    DatabaseLock(path).release()


@on_linux
async def test_asking_for_it_leaves_the_holder_its_other_locks(tmp_path: Path) -> None:
    """Closing any descriptor of a file ends the locks that SQLite has of it in this process."""
    path = tmp_path / "app.db"
    store = open_store(path)
    try:
        (tmp_path / "app.db-lock").unlink()
        for _ in range(2):
            with pytest.raises(ConfigError, match="in use by another process"):
                open_store(path)
        asking = "import sys, apsw; c = apsw.Connection(sys.argv[1]);"
        asking += (
            " c.execute('PRAGMA locking_mode = EXCLUSIVE').fetchall(); c.execute('BEGIN EXCLUSIVE')"
        )
        asked = subprocess.run(
            [sys.executable, "-c", asking, str(path)], capture_output=True, text=True, check=False
        )
        assert "BusyError" in asked.stderr
    finally:
        await store.close()


async def test_a_second_name_is_refused(tmp_path: Path) -> None:
    """What is in the log of one name is missing by the other."""
    path = tmp_path / "app.db"
    store = open_store(path)
    await store.close()
    os.link(path, tmp_path / "other.db")
    for name in ("app.db", "other.db"):
        with pytest.raises(ConfigError, match="another name"):
            open_store(tmp_path / name)
    (tmp_path / "other.db").unlink()
    again = open_store(path)
    await again.close()


async def test_a_store_holds_it_until_it_is_closed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "app.db")
    with pytest.raises(ConfigError, match="in use by another process"):
        open_store(tmp_path / "app.db")
    await store.close()
    again = open_store(tmp_path / "app.db")
    await again.close()


async def test_a_failed_opening_lets_go_of_it(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    path.write_bytes(b"not a database " * 1_000)
    with pytest.raises(ConfigError, match="damaged"):
        open_store(path)
    path.unlink()
    store = open_store(path)
    await store.close()
