"""A SQLite file as a whole: the `Database` of commands, and how a server opens it.

Only calls: the engine of schema evolution, copies, the store. What is proved and exchanged when a
backup is put back is in `exchange.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import apsw

from pylon.moments import with_keys
from pylon.schema.model import EntitySpec, Manifest
from pylon.store.base import Row, Value
from pylon.store.database import DatabaseFailed, Replacement
from pylon.store.evolution.ledger import HistoryEntry, RanMigration
from pylon.store.evolution.live import Live
from pylon.store.evolution.model import Outcome, Plan, Progress, no_progress
from pylon.store.evolution.wish import Wish
from pylon.store.naming import quote
from pylon.store.sqlite.evolution import engine
from pylon.store.sqlite.evolution.history import FINGERPRINT, applied_migrations, read_history
from pylon.store.sqlite.evolution.introspect import introspect
from pylon.store.sqlite.evolution.serving import FitSchema, log_progress
from pylon.store.sqlite.exchange import replacing
from pylon.store.sqlite.file_copy import check_database, copy_database, is_in_use
from pylon.store.sqlite.functions import add_functions
from pylon.store.sqlite.open_failures import reason_of, translate_open
from pylon.store.sqlite.search_indexes import SqliteSearchIndexes
from pylon.store.sqlite.store import SqliteStore, connect_for_commands, open_store
from pylon.store.sqlite.system_tables import check_versions, fit_system_tables
from pylon.store.sqlite.tables import create_table
from pylon.store.system import SystemTables
from pylon.store.tables import time_fields

IN_MEMORY = "in memory"


class SqliteDatabase:
    """The `Database` in the file at `path`; None is a volatile one, which can only be served."""

    adapter = "sqlite"

    def __init__(
        self, path: Path | None, *, tables: SystemTables, now: Callable[[], float]
    ) -> None:
        self._path = path
        self._tables = tables
        self._now = now
        self._search = SqliteSearchIndexes()

    @property
    def name(self) -> str:
        return IN_MEMORY if self._path is None else str(self._path)

    @property
    def _file(self) -> Path:
        assert self._path is not None, "a volatile database is there only while it is served"
        return self._path

    def exists(self) -> bool:
        return self._path is not None and self._path.is_file()

    def is_in_use(self) -> bool:
        return self._path is not None and is_in_use(self._path)

    def schema_mark(self) -> str | None:
        if not self.exists():
            return None
        try:
            with self.reading() as reader:
                found = reader.fetch(FINGERPRINT)
        except DatabaseFailed:
            return None
        return str(found[0][0]) if found else None

    # --- its schema --------------------------------------------------------------------------

    def preview(self, manifest: Manifest, wish: Wish, *, progress: Progress = no_progress) -> Plan:
        with self._changing() as connection:
            return engine.preview(
                connection,
                manifest,
                wish,
                now=self._now(),
                search=self._search,
                progress=progress,
            )

    def evolve(
        self, manifest: Manifest, wish: Wish, *, progress: Progress = no_progress
    ) -> Outcome:
        with self._changing() as connection:
            return engine.evolve(
                connection,
                manifest,
                wish,
                now=self._now(),
                search=self._search,
                progress=progress,
                backup_from=self._path,
            )

    def plan_from(self, before: Manifest | None, manifest: Manifest, wish: Wish) -> Plan:
        now = self._now()
        with closing(apsw.Connection(":memory:")) as connection:
            add_functions(connection)
            fit_system_tables(connection, self._tables, IN_MEMORY)
            if before is not None:
                engine.evolve(connection, before, Wish(), now=now, search=self._search)
            return engine.preview(connection, manifest, wish, now=now, search=self._search)

    def inspect(self) -> Live:
        with self._looking() as connection:
            return introspect(connection)

    def history(
        self, *, limit: int | None = None, entry_id: str | None = None
    ) -> Sequence[HistoryEntry]:
        with self._looking() as connection:
            return read_history(connection, limit=limit, entry_id=entry_id)

    def ran_migrations(self) -> Mapping[int, RanMigration]:
        if not self.exists():
            return {}
        with self._looking() as connection:
            return applied_migrations(connection)

    # --- its rows ----------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[SqliteReader]:
        try:
            connection = apsw.Connection(str(self._file), flags=apsw.SQLITE_OPEN_READONLY)
        except apsw.Error as error:
            raise DatabaseFailed(str(error)) from error
        with closing(connection):
            yield SqliteReader(connection)

    def serve(self, manifest: Manifest, *, baseline: str, confirm_renames: bool) -> SqliteStore:
        fit = FitSchema(
            manifest,
            path=self._path,
            now=self._now,
            baseline=baseline,
            confirm_renames=confirm_renames,
            search=self._search,
        )

        def prepare(connection: apsw.Connection) -> None:
            fit(connection)
            self._search.ensure(connection, manifest, log_progress)

        store = open_store(self._path, tables=self._tables, prepare=prepare)
        store.schema = fit.watch
        store.writer.guard = fit.watch.refuse
        store.writer.later.learn(self._search.later(manifest))
        return store

    # --- the whole ---------------------------------------------------------------------------

    def backup(self, target: Path) -> None:
        try:
            copy_database(self._file, target)
        except apsw.Error as error:
            raise DatabaseFailed(reason_of(error, self._file)) from error

    def restore(self, source: Path) -> AbstractContextManager[Replacement]:
        return replacing(self._file, source, self._tables)

    def integrity(self) -> Sequence[str]:
        return check_database(self._file)

    # --- connections -------------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[apsw.Connection]:
        """The database with the server's own tables, made where it is missing. A running server
        keeps it open too; it notices what happens here."""
        with closing(connect_for_commands(self._file, tables=self._tables)) as connection:
            try:
                yield connection
            except (apsw.Error, OSError) as error:
                raise translate_open(error, self.name, copies=True) from error

    @contextmanager
    def _looking(self) -> Iterator[apsw.Connection]:
        """The database as it is. Not read-only for SQLite, so that a log that nobody else uses is
        folded into the file again at the end."""
        try:
            with closing(
                apsw.Connection(self.name, flags=apsw.SQLITE_OPEN_READWRITE)
            ) as connection:
                check_versions(connection, self._tables, self.name)
                yield connection
        except apsw.Error as error:
            raise translate_open(error, self.name) from error


class SqliteReader:
    """A `Reader` on one connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def fetch(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        try:
            return self._connection.execute(sql, params).fetchall()
        except apsw.Error as error:
            raise DatabaseFailed(str(error)) from error


def rows_in_memory(
    entities: Iterable[EntitySpec], rows: Mapping[str, Sequence[Mapping[str, Value]]]
) -> SqliteReader:
    """A database in memory with the tables of these entities and these rows."""
    connection = apsw.Connection(":memory:")
    try:
        for entity in entities:
            connection.execute(create_table(entity))
            times = time_fields(entity)
            for given in rows.get(entity.name, ()):
                row = with_keys(given, times)
                columns, marks = ", ".join(map(quote, row)), ", ".join("?" * len(row))
                connection.execute(
                    f"INSERT INTO {quote(entity.name)} ({columns}) VALUES ({marks})",
                    tuple(row.values()),
                )
    except apsw.Error as error:
        raise DatabaseFailed(str(error)) from error
    return SqliteReader(connection)
