"""Consistent copies of a database file, made while others write to it.

For backups and for the copy before a destructive migration. Not here: what else belongs to a
backup (`store/bundle.py`).
"""

from __future__ import annotations

from pathlib import Path

import apsw

from pylon import limits
from pylon.store.durable import sync_file, sync_folder

STEP_PAGES = 4_096
"""Pages copied in one go (16 MiB); between two the source may be written."""


def copy_database(source: Path, target: Path) -> None:
    """Copy the last committed state of `source` to the new file `target`, durably and in one
    file. Raises `apsw.Error` or `OSError`; then `target` is gone."""
    if target.exists():
        raise FileExistsError(f"{target} exists")
    part = part_of(target)
    part.unlink(missing_ok=True)
    try:
        _copy(source, part)
        sync_file(part)
        part.rename(target)
        sync_folder(target.parent)
    finally:
        part.unlink(missing_ok=True)


def part_of(target: Path) -> Path:
    """What a copy is called while it is made. One that was killed leaves it behind."""
    return target.with_name(f".{target.name}.part")


def _copy(source: Path, target: Path) -> None:
    reader = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READWRITE)
    writer = apsw.Connection(str(target))
    try:
        reader.set_busy_timeout(limits.SQLITE_BUSY_MILLISECONDS)
        # One read transaction over all steps, or each write of others would begin the copy anew.
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        with writer.backup("main", reader, "main") as backup:
            while not backup.done:
                backup.step(STEP_PAGES)
        reader.execute("ROLLBACK")
        # The copy stands alone, without a log beside it.
        writer.execute("PRAGMA journal_mode = DELETE").fetchall()
    finally:
        writer.close()
        reader.close()


def check_database(path: Path) -> list[str]:
    """What SQLite finds wrong with a file that nobody has open; empty when it is sound."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            found = connection.execute("PRAGMA integrity_check(10)").fetchall()
        finally:
            connection.close()
    except apsw.Error as error:
        return [str(error)]
    return [str(text) for (text,) in found if text != "ok"]


def is_in_use(path: Path) -> bool:
    """Whether another process has the database open, be it only to read.

    A connection in WAL mode holds a shared lock for as long as it lives; the exclusive locking mode
    needs that lock for itself.
    """
    if not path.exists():
        return False
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except apsw.BusyError:
        return True
    except (apsw.NotADBError, apsw.CorruptError):
        return False  # Nobody can be using it.
    return False
