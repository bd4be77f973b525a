"""Introspection: the tables, columns and indexes that a SQLite database really has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import apsw

from pylon.store.base import Row
from pylon.store.evolution.live import Live, LiveColumn, LiveTable
from pylon.store.tables import IndexShape


def fetch(connection: apsw.Connection, sql: str, params: Sequence[Any] = ()) -> list[Row]:
    """The rows of a query; their values are of any type."""
    return connection.execute(sql, params).fetchall()


def introspect(connection: apsw.Connection) -> Live:
    """Read the schema as it is now, inside the caller's transaction."""
    names = fetch(
        connection,
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
        r" AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE '\_pylon%' ESCAPE '\'"
        " ORDER BY name",
    )
    return Live(tables={name: _table(connection, name) for (name,) in names})


def _table(connection: apsw.Connection, table: str) -> LiveTable:
    columns = {
        name: LiveColumn(
            name=name, type=declared.upper(), is_required=bool(required), is_key=bool(key)
        )
        for name, declared, required, key in fetch(
            connection, 'SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (table,)
        )
    }
    indexes = {
        name: _index(connection, name, bool(unique), _condition(sql) if partial else None, sql)
        for name, unique, partial, sql in fetch(
            connection,
            'SELECT i.name, i."unique", i.partial, s.sql FROM pragma_index_list(?) i'
            " JOIN sqlite_schema s ON s.type = 'index' AND s.name = i.name"
            " WHERE i.origin = 'c' ORDER BY i.name",
            (table,),
        )
    }
    return LiveTable(name=table, columns=columns, indexes=indexes)


def _condition(sql: str) -> str:
    """What stands behind the columns of the statement that made a partial index; of one that the
    engine did not make it may be cut wrongly, and then is no index of ours all the same."""
    return sql.partition(") WHERE ")[2] or sql


def _index(
    connection: apsw.Connection, name: str, unique: bool, where: str | None, sql: str
) -> IndexShape:
    """An index; an expression that is not one of ours is a field with the empty name."""
    query = "SELECT name FROM pragma_index_info(?) ORDER BY seqno"
    fields = tuple(column or "" for (column,) in fetch(connection, query, (name,)))
    written = _WRITTEN.findall(sql.partition(" (")[2].partition(") WHERE ")[0])
    folded: tuple[str, ...] = ()
    if "" in fields and len(written) == len(fields):
        named = zip(fields, written, strict=True)
        fields = tuple(column or _unquoted(inner) for column, (inner, _) in named)
        folded = tuple(_unquoted(inner) for inner, _ in written if inner)
    return IndexShape(name=name, fields=fields, unique=unique, where=where, folded=folded)


_WRITTEN = re.compile(r'lower\(("(?:[^"]|"")*")\)|("(?:[^"]|"")*")')


def _unquoted(name: str) -> str:
    """A name as it was before it was quoted; "" for none."""
    return name[1:-1].replace('""', '"')
