"""Brings the server's own tables to the versions that this program knows.

What the steps are is in `store/system.py`. Databases from before versions were recorded have the
tables of each first step already: what is there is taken over, once it has the expected columns.
Which those are is found by taking the same steps in an empty database in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Final, NamedTuple

import apsw

from pylon.store.sqlite.evolution.introspect import fetch
from pylon.store.system import (
    VERSION_PREFIX,
    Step,
    SystemTables,
    TableWords,
    incomplete,
    refuse_newer,
    with_store,
)

WORDS: Final = TableWords(blob="BLOB", bigint="INTEGER", untyped="", without_rowid="WITHOUT ROWID")

_SAVE = (
    "INSERT INTO _pylon_meta (key, value) VALUES (?, ?)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)

_OUTDATE = "UPDATE _pylon_meta SET value = value || '+' WHERE key = 'schema_fingerprint'"
"""Tells a server that goes on with the tables as they were to write no more (`SchemaWatch`)."""


def fit_system_tables(connection: apsw.Connection, tables: SystemTables, database: str) -> None:
    """Take the steps that are missing, all or none, in a transaction of its own.

    `ConfigError` `DATABASE_NEWER` or `DATABASE_INCOMPLETE`, with `database` as the name for people,
    where that must not be. Beyond that whatever SQLite raises.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        with closing(apsw.Connection(":memory:")) as model:
            _Fitting(connection, model, database).fit(with_store(tables))
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def check_versions(connection: apsw.Connection, tables: SystemTables, database: str) -> None:
    """For who only reads: `ConfigError` `DATABASE_NEWER` where that would be guesswork."""
    refuse_newer(recorded_versions(connection), with_store(tables), database)


def recorded_versions(connection: apsw.Connection) -> dict[str, int]:
    """How far each part's tables have come; none where nothing was recorded yet."""
    if "_pylon_meta" not in _objects(connection):
        return {}
    found = fetch(
        connection,
        "SELECT key, value FROM _pylon_meta WHERE substr(key, 1, ?) = ?",
        (len(VERSION_PREFIX), VERSION_PREFIX),
    )
    return {key.removeprefix(VERSION_PREFIX): value for key, value in found}


class _Fitting:
    """One database on its way, and the empty one in which the steps are taken for comparison."""

    def __init__(self, connection: apsw.Connection, model: apsw.Connection, database: str) -> None:
        self._connection = connection
        self._model = model
        self._database = database

    def fit(self, tables: SystemTables) -> None:
        recorded = recorded_versions(self._connection)
        refuse_newer(recorded, tables, self._database)
        has_moved = False
        for part, steps in tables.items():
            version = recorded.get(part, 0)
            if version:
                self._expect(part, steps[:version])
            elif steps:
                version = self._adopt(part, steps[0])
            for step in steps[max(version, 1) :]:
                self._take(step)
                has_moved = has_moved or version > 0
            if recorded.get(part) != len(steps):
                self._connection.execute(_SAVE, (VERSION_PREFIX + part, len(steps)))
        if has_moved:
            self._connection.execute(_OUTDATE)

    def _expect(self, part: str, steps: Sequence[Step]) -> None:
        """The database has taken these steps; then it has what they make. An index that somebody
        dropped is made again."""
        before = _objects(self._model)
        for statement in _spelled(steps):
            self._model.execute(statement)
        expected = _objects(self._model)
        self._compare(part, expected.keys() - before.keys())
        for name in expected.keys() - before.keys() - _objects(self._connection).keys():
            self._connection.execute(expected[name].sql)

    def _adopt(self, part: str, step: Step) -> int:
        """Take the first step as far as it was not taken; 1 where some of it was, else 0."""
        present = _objects(self._connection)
        version = 0
        for statement in _spelled([step]):
            before = _objects(self._model)
            self._model.execute(statement)
            made = _objects(self._model).keys() - before.keys()
            if made and made <= present.keys():
                version = 1
                self._compare(part, made)
            else:
                self._connection.execute(statement)
        return version

    def _take(self, step: Step) -> None:
        for statement in _spelled([step]):
            self._model.execute(statement)
            self._connection.execute(statement)

    def _compare(self, part: str, names: Iterable[str]) -> None:
        """Each of these that is a table is there with every column."""
        lacking = []
        expected, present = _objects(self._model), _objects(self._connection)
        for name in sorted(name for name in names if expected[name].is_table):
            if name not in present:
                lacking.append(name)
                continue
            columns = set(_columns(self._connection, name))
            lacking += [
                f"{name}.{each}" for each in _columns(self._model, name) if each not in columns
            ]
        if lacking:
            raise incomplete(part, lacking, self._database)


def _spelled(steps: Iterable[Step]) -> Iterable[str]:
    return (WORDS.spell(statement) for step in steps for statement in step)


class _Object(NamedTuple):
    """A table or an index, and the statement that made it."""

    is_table: bool
    sql: str


def _objects(connection: apsw.Connection) -> dict[str, _Object]:
    """Every table and index that a statement made, by name."""
    found = fetch(
        connection,
        "SELECT name, type = 'table', sql FROM sqlite_schema"
        " WHERE type IN ('table', 'index') AND sql IS NOT NULL",
    )
    return {name: _Object(bool(is_table), sql) for name, is_table, sql in found}


def _columns(connection: apsw.Connection, table: str) -> list[str]:
    sql = "SELECT name FROM pragma_table_info(?)"
    return [name for (name,) in fetch(connection, sql, (table,))]
