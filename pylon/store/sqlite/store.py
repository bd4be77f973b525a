"""The embedded store: SQLite through apsw, in WAL mode with full durability.

One writer connection (`writer.py`), reads on the loop and on threads (`readers.py`). The tables of
the server's own parts are handed in as numbered steps (`system_tables.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import apsw

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import CommitListener, Row, StoreFigures, Tx, Unit, Value
from pylon.store.health import CHECKPOINT_FAILED
from pylon.store.meta import NEWEST_SEQ
from pylon.store.sqlite.dialect import SQLITE, SqliteDialect
from pylon.store.sqlite.evolution.history import FINGERPRINT
from pylon.store.sqlite.evolution.watch import SchemaWatch
from pylon.store.sqlite.failures import gone
from pylon.store.sqlite.files import Files
from pylon.store.sqlite.functions import add_functions
from pylon.store.sqlite.lock import DatabaseLock
from pylon.store.sqlite.open_failures import (
    refuse_second_name,
    translate_close,
    translate_open,
)
from pylon.store.sqlite.readers import Readers
from pylon.store.sqlite.snapshot import SqliteSnapshot
from pylon.store.sqlite.system_tables import fit_system_tables
from pylon.store.sqlite.turns import ORDINARY, Wish
from pylon.store.sqlite.version import refuse_old_version
from pylon.store.sqlite.volatile import make_volatile_path, remove_volatile
from pylon.store.sqlite.writer import Writer
from pylon.store.system import NO_TABLES, SystemTables
from pylon.store.watchdog import Watchdog

log = logging.getLogger("pylon.store")

T = TypeVar("T")

_INCREMENTAL: Final = 2
"""The mode of a file that gives free pages back when it is told to."""


class SqliteStore:
    """A `Store` on one SQLite file. Make it with `open_store`, inside a running loop or before."""

    def __init__(
        self, path: Path, connection: apsw.Connection, volatile: bool, lock: DatabaseLock
    ) -> None:
        self.path = path
        self._lock = lock
        self._volatile = volatile
        self._connection = connection
        stored = connection.execute(NEWEST_SEQ).fetchall()
        # After that read: the files beside the database are made with the first one.
        self._files = None if volatile else Files(path)
        self._readers = Readers(self._connect_reader, commits=lambda: self.writer.batches)
        self._read_at_once = self._readers.at_once
        self._snapshots: set[SqliteSnapshot] = set()
        self._log_stays = False
        """Whether the log is long and cannot be brought into the database."""
        self.schema: SchemaWatch | None = None
        """Knows whether the tables are still those that this server was made for."""
        self.watchdog = Watchdog()
        """Ends code of others that computes for too long, in units and elsewhere."""
        self.writer = Writer(
            connection, seq=int(stored[0][0] or 0), watchdog=self.watchdog, files=self._files
        )

    def _connect_reader(self) -> apsw.Connection:
        connection = apsw.Connection(
            str(self.path), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_NOMUTEX
        )
        _set_up(connection)
        # Opens the files beside it, which SQLite would do at the first read, when they may be gone.
        connection.execute("PRAGMA schema_version").fetchall()
        if self._are_gone():
            connection.close()
            raise gone()  # not the rows of whatever stands there now
        return connection

    def _are_gone(self) -> bool:
        return self._files is not None and not self._files.are_there()

    @property
    def dialect(self) -> SqliteDialect:
        return SQLITE

    @property
    def seq(self) -> int:
        return self.writer.seq

    @property
    def figures(self) -> StoreFigures:
        return StoreFigures(
            units=self.writer.units,
            batches=self.writer.batches,
            writes_waiting=self.writer.waiting,
            reads_waiting=self._readers.waiting,
        )

    async def read(
        self,
        sql: str,
        params: Sequence[Value] = (),
        *,
        heavy: bool = False,
        seconds: float | None = None,
        bytes_max: int | None = None,
    ) -> list[Row]:
        try:
            if not heavy:
                rows = self._read_at_once(sql, params)
                if rows is not None:
                    return rows
            return await self._readers.read_long(sql, params, seconds=seconds, bytes_max=bytes_max)
        except PylonError as error:
            if error.code == "STORAGE_DAMAGED" and self._are_gone():
                raise gone() from error
            if error.code != "QUERY_FAILED":
                raise
            # Statements are made from the manifest, so are these still its tables?
            left_behind = await self._left_behind()
            if left_behind is None:
                raise
            raise left_behind from None

    async def write(
        self, unit: Unit[T], *, alone: bool = False, compute_seconds: float | None = None
    ) -> T:
        wish = ORDINARY
        if alone or compute_seconds is not None:
            wish = Wish(alone=alone, compute_seconds=compute_seconds)
        result: T = await self.writer.submit(unit, wish)
        return result

    async def hold(self, unit: Unit[T], *, compute_seconds: float | None = None) -> T:
        result: T = await self.writer.hold(unit, compute_seconds)
        return result

    async def snapshot(self) -> SqliteSnapshot:
        if len(self._snapshots) >= limits.SNAPSHOTS_MAX:
            raise PylonError(
                503, "OVERLOADED", "Too many exports are running.", "Try again when one is done."
            )
        snapshot = SqliteSnapshot(self._snapshots.discard)
        self._snapshots.add(snapshot)
        try:
            await snapshot.start(self._connect_reader)
            # Later, half of an answer is on its way already.
            left_behind = await self._left_behind()
            if left_behind is not None:
                raise left_behind
        except BaseException:
            await snapshot.aclose()
            raise
        return snapshot

    async def _left_behind(self) -> PylonError | None:
        """The error where another process has migrated the database."""
        if self.schema is None:
            return None
        return self.schema.judge(await self._readers.read(FINGERPRINT, ()))

    @property
    def trouble(self) -> str | None:
        return self.writer.trouble or (CHECKPOINT_FAILED if self._log_stays else None)

    async def probe(self) -> None:
        # On a thread: a file system may be slow to answer.
        if await asyncio.get_running_loop().run_in_executor(None, self._look_at_files):
            self.writer.lose()
        await self.writer.probe()

    def _look_at_files(self) -> bool:
        """Whether they are gone. If not, try what SQLite does after commits and says nothing of:
        bring a log that has become long into the database."""
        if self._files is None:
            return False
        if self._are_gone():
            return True
        failure = _checkpoint_beside(self.path) if self._files.have_long_log() else None
        if self._log_stays is not (failure is not None):
            self._log_stays = failure is not None
            if failure is not None:
                log.error("the log of %s cannot be brought into it: %s", self.path, failure)
            else:
                log.warning("the log of %s can be brought into it again", self.path)
        return False

    @property
    def is_stuck(self) -> bool:
        return self.watchdog.is_stuck

    @property
    def schema_is_current(self) -> bool:
        return self.schema is None or self.schema.is_current

    async def look_at_schema(self) -> None:
        if self.schema is not None:
            await self.schema.look(self)

    async def give_back(self) -> int:
        if (await self.read("PRAGMA auto_vacuum"))[0][0] != _INCREMENTAL:
            return 0
        page_bytes = (await self.read("PRAGMA page_size"))[0][0]
        given = 0
        while True:
            free = (await self.read("PRAGMA freelist_count"))[0][0] - limits.FREE_PAGES_KEPT
            if free <= 0:
                return int(given * page_bytes)
            pages = min(free, limits.FREE_PAGES_UNIT)
            await self.write(partial(_vacuum, pages), alone=True)
            given += pages

    def on_commit(self, listener: CommitListener) -> None:
        self.writer.add_listener(listener)

    async def close(self) -> None:
        await self.writer.close()
        for snapshot in list(self._snapshots):
            await snapshot.aclose()
        await self._readers.close()
        try:
            # On a thread: it waits for the disk, and for other processes that read.
            await asyncio.get_running_loop().run_in_executor(None, self._checkpoint)
        except apsw.Error as error:
            raise translate_close(error, self.path) from error
        finally:
            self._connection.close()
            self.watchdog.close()
            self._lock.release()
            if self._volatile:
                remove_volatile(self.path)

    def _checkpoint(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._connection.set_busy_timeout(limits.SQLITE_BUSY_MILLISECONDS)
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _checkpoint_beside(path: Path) -> apsw.Error | None:
    """Bring what the log has into the database, on a connection of its own, as far as no reader
    needs the database as it is; the failure, unless others just do the same."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.execute("PRAGMA synchronous = FULL").fetchall()
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        finally:
            connection.close()
    except apsw.BusyError:
        return None
    except apsw.Error as error:
        return error
    return None


async def _vacuum(pages: int, tx: Tx) -> None:
    await tx.fetch(f"PRAGMA incremental_vacuum({pages})")


def open_store(
    path: Path | None,
    *,
    tables: SystemTables = NO_TABLES,
    ddl: Iterable[str] = (),
    prepare: Callable[[apsw.Connection], None] | None = None,
) -> SqliteStore:
    """Open (or create) the database at `path`, bring the system tables to what `tables` says, and
    run `ddl`, the caller's own statements.

    `path` None means a volatile database: a file in a private temporary folder, without syncs,
    removed at close. `prepare` gets the write connection last, before anybody reads; what it
    raises goes to the caller, but for failures of the database. Those are `ConfigError`, one line
    for the operator: `STORE_OPEN_FAILED`, `SQLITE_TOO_OLD`, `DATABASE_NEWER` or
    `DATABASE_INCOMPLETE`.
    """
    refuse_old_version()
    volatile = path is None
    if path is None:
        path = make_volatile_path()
    lock = _take(path)
    connection: apsw.Connection | None = None
    try:
        refuse_second_name(path)
        connection = _connect_writer(path, volatile)
        fit_system_tables(connection, tables, str(path))
        with connection:
            for statement in ddl:
                connection.execute(statement)
        if prepare is not None:
            prepare(connection)
    except BaseException as error:
        if connection is not None:
            connection.close()
        lock.release()
        if volatile:
            remove_volatile(path)
        if isinstance(error, apsw.Error | OSError):
            raise translate_open(error, str(path)) from error
        raise
    return SqliteStore(path, connection, volatile, lock)


def _take(path: Path) -> DatabaseLock:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return DatabaseLock(path, creates=True)
    except OSError as error:
        raise translate_open(error, str(path)) from error


def connect_for_commands(path: Path, *, tables: SystemTables) -> apsw.Connection:
    """A plain connection to the database at `path`, made where it is missing, with its system
    tables; for commands that may run beside a server. Failures as in `open_store`."""
    refuse_old_version()
    connection: apsw.Connection | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        refuse_second_name(path)
        connection = _connect_writer(path, volatile=False)
        fit_system_tables(connection, tables, str(path))
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, apsw.Error | OSError):
            raise translate_open(error, str(path)) from error
        raise
    return connection


def _set_up(connection: apsw.Connection) -> None:
    """What every connection has, whether it reads or writes."""
    connection.set_busy_timeout(limits.SQLITE_BUSY_MILLISECONDS)
    add_functions(connection)
    # A plan is kept whatever is bound to it. Otherwise SQLite, with its statistics of values
    # compiled in, makes the plan of a range anew at each execution, which costs more than the read.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA mmap_size = {limits.SQLITE_MMAP_BYTES}")
    connection.execute(f"PRAGMA cache_size = -{limits.SQLITE_READER_CACHE_KIBIBYTES}")


def _connect_writer(path: Path, volatile: bool) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    try:
        _set_up(connection)
        for pragma in (
            # Of a new file only; one that has tables keeps the mode that it was made with.
            "auto_vacuum = INCREMENTAL",
            "journal_mode = WAL",
            f"synchronous = {'OFF' if volatile else 'FULL'}",
            "foreign_keys = ON",
            f"cache_size = -{limits.SQLITE_CACHE_KIBIBYTES}",
            f"wal_autocheckpoint = {limits.WAL_CHECKPOINT_PAGES}",
            f"journal_size_limit = {limits.WAL_BYTES_KEPT}",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection
