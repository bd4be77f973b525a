"""Which database it is: the only place above the rooms that knows there are several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pylon.clock import SystemClock
from pylon.schema.model import EntitySpec
from pylon.store.base import HealthyStore, Value
from pylon.store.database import Database, Reader
from pylon.store.sqlite.database import SqliteDatabase, rows_in_memory
from pylon.store.sqlite.store import open_store
from pylon.store.system import SystemTables


def open_database(
    path: Path | None,
    *,
    tables: SystemTables,
    now: Callable[[], float] = SystemClock.now,
) -> Database:
    """The database that the settings name, not opened yet: today the file at `path`.

    `path` None is a volatile one, which is gone when its store is closed. `tables` are the system
    tables of all parts, `now` is in epoch seconds.
    """
    return SqliteDatabase(path, tables=tables, now=now)


def open_tables(path: Path | None, *, tables: SystemTables) -> HealthyStore:
    """A database that holds these system tables and no entities, opened: for what a part keeps
    apart from the rows. `path` and failures as in `Database.serve`."""
    return open_store(path, tables=tables)


def scratch(
    entities: Iterable[EntitySpec], rows: Mapping[str, Sequence[Mapping[str, Value]]]
) -> Reader:
    """A database without a place that holds these rows, by entity; each has an `id`. For trying
    things out. `DatabaseFailed` where the rows do not fit."""
    return rows_in_memory(entities, rows)
