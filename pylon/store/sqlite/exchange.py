"""Puts a copy in the place of a database file that nobody serves.

    lock out everybody -> copy beside -> prove the copy -> (the caller's work) -> exchange

Until the last step nothing that exists is touched; what was there is kept beside it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import apsw

from pylon.store.database import BackupError, DatabaseFailed
from pylon.store.durable import kept_name, sync_file, sync_folder
from pylon.store.sqlite.evolution.follow import restart_cursors
from pylon.store.sqlite.file_copy import check_database, is_in_use
from pylon.store.sqlite.lock import DatabaseHeld, DatabaseLock
from pylon.store.sqlite.open_failures import reason_of
from pylon.store.sqlite.system_tables import check_versions
from pylon.store.system import SystemTables

SEQ_GAP: Final = 1_000_000
"""Positions of the change log that are passed over, for those given out after the backup was made:
readers who know them must not take later changes for what they have."""


@contextmanager
def replacing(path: Path, source: Path, tables: SystemTables) -> Iterator[SqliteReplacement]:
    """`Database.restore` of the file at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.restoring")
    try:
        with _alone(path):
            try:
                shutil.copyfile(source, staged)
                _prove(staged, path, tables, str(source))
                yield SqliteReplacement(path, staged)
            finally:
                staged.unlink(missing_ok=True)
    except apsw.Error as error:
        raise DatabaseFailed(reason_of(error, path)) from error


class SqliteReplacement:
    """A proved copy beside the database that it is to replace."""

    def __init__(self, path: Path, staged: Path) -> None:
        self._path = path
        self._staged = staged

    def exchange(self, stamp: str) -> Path | None:
        _fold_log(self._path)
        kept = None
        if self._path.exists():
            kept = kept_name(self._path, stamp)
            os.link(self._path, kept)
        self._staged.replace(self._path)
        sync_folder(self._path.absolute().parent)
        return kept


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody serves the database, and nobody begins to."""
    try:
        lock = DatabaseLock(path)
    except DatabaseHeld as held:
        raise _in_use(path, held.pid) from None
    try:
        if is_in_use(path):
            raise _in_use(path, None)
        yield
    finally:
        lock.release()


def _in_use(path: Path, pid: int | None) -> BackupError:
    who = "" if pid is None else f" (pid {pid})"
    return BackupError(
        "RESTORE_IN_USE", f"{path} is in use by a server or another process{who}", "Stop it first."
    )


def _prove(staged: Path, replaced: Path, tables: SystemTables, name: str) -> None:
    """Open the copy, check it, and make every reader's cursor start anew."""
    problems = check_database(staged)
    if problems:
        raise BackupError("RESTORE_DAMAGED", f"the database is damaged: {problems[0]}")
    seq = _seq(staged)
    if seq is None:
        raise BackupError("RESTORE_NO_DATABASE", "the bundle's database is not one of Pylon")
    with closing(apsw.Connection(str(staged), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        check_versions(connection, tables, name)
        with connection:
            above = max(seq + SEQ_GAP, (_seq(replaced) or 0) + 1)
            connection.execute("UPDATE _pylon_meta SET value = ? WHERE key = 'seq'", (above,))
            restart_cursors(connection, "of a restore")
    sync_file(staged)


def _seq(path: Path) -> int | None:
    """The newest position of a database's change log; None where it is none of ours."""
    if not path.is_file():
        return None
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            found = connection.execute("SELECT value FROM _pylon_meta WHERE key = 'seq'").fetchall()
    except apsw.Error:
        return None  # The one that is replaced may be damaged; that is why it is replaced.
    value = found[0][0] if found else None
    return value if isinstance(value, int) else None


def _fold_log(path: Path) -> None:
    """Bring the old database's log into its file, or it would be taken for the new one's."""
    if not path.exists():
        return
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    except (apsw.NotADBError, apsw.CorruptError, apsw.IOError):
        pass
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
