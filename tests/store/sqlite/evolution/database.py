"""A database in memory with the server's own tables, and short ways to write manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw

from pylon.changes.log import LOG_TABLES
from pylon.crdt.documents import CRDT_TABLES
from pylon.moments import shown_column
from pylon.schema.model import EntitySpec, FieldSpec, Manifest
from pylon.store.evolution.live import Live
from pylon.store.evolution.model import Level, Outcome
from pylon.store.evolution.wish import Wish
from pylon.store.naming import quote
from pylon.store.sqlite.evolution.engine import SearchIndexes, evolve
from pylon.store.sqlite.evolution.introspect import introspect
from pylon.store.sqlite.system_tables import fit_system_tables

NOW = 1_767_225_600.0


def open_empty(path: str = ":memory:") -> apsw.Connection:
    connection = apsw.Connection(path)
    tables = {"changes": LOG_TABLES, "crdt": CRDT_TABLES}
    fit_system_tables(connection, tables, path)
    return connection


def field(name: str, type_: str = "string", **rest: Any) -> FieldSpec:
    return FieldSpec(name=name, type=type_, **rest)


def entity(name: str, *fields: FieldSpec, **rest: Any) -> EntitySpec:
    return EntitySpec(name=name, fields=fields, **rest)


def app(*entities: EntitySpec) -> Manifest:
    return Manifest(name="app", version="1", entities=entities)


def fit(
    connection: apsw.Connection,
    manifest: Manifest,
    search: SearchIndexes | None = None,
    backup_from: Path | None = None,
    **wish: Any,
) -> Outcome:
    return evolve(
        connection, manifest, Wish(**wish), now=NOW, search=search, backup_from=backup_from
    )


def start_with(manifest: Manifest, **rows: list[dict[str, Any]]) -> apsw.Connection:
    """A database of `manifest` with rows by entity."""
    connection = open_empty()
    fit(connection, manifest)
    for name, each in rows.items():
        insert(connection, name, *each)
    return connection


def insert(connection: apsw.Connection, table: str, *rows: dict[str, Any]) -> None:
    for row in rows:
        names = ", ".join(map(quote, row))
        marks = ", ".join("?" * len(row))
        connection.execute(
            f"INSERT INTO {quote(table)} ({names}) VALUES ({marks})", tuple(row.values())
        )


def rows_of(connection: apsw.Connection, table: str) -> list[dict[str, Any]]:
    """Fields by name, without the keys of times."""
    return [
        {name: value for name, value in row.items() if shown_column(name) == name}
        for row in columns_of(connection, table)
    ]


def columns_of(connection: apsw.Connection, table: str) -> list[dict[str, Any]]:
    names = list(introspect(connection).tables[table].columns)
    found = connection.execute(f"SELECT * FROM {quote(table)} ORDER BY id").fetchall()
    return [dict(zip(names, row, strict=True)) for row in found]


def shape(live: Live) -> dict[str, Any]:
    """A schema without what order tables and columns were made in."""
    return {
        table.name: (
            {name: (each.type, each.is_key) for name, each in table.columns.items()},
            table.indexes,
        )
        for table in live.tables.values()
    }


def fresh_shape(manifest: Manifest) -> dict[str, Any]:
    """The schema of a database that never had another manifest."""
    connection = open_empty()
    fit(connection, manifest)
    return shape(introspect(connection))


LEVELS: tuple[Level, ...] = ("additive", "careful", "destructive")
