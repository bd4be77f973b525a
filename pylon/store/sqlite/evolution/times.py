"""The keys of times (`pylon/moments.py`) in tables that are there already.

Every write of rows makes them; here they are made for rows that were written before there were
any, or by other means. Called by `survey` and `apply`, inside the transaction of the evolution.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import apsw

from pylon.moments import moment_column, moment_key
from pylon.store.naming import quote
from pylon.store.sqlite.evolution.introspect import fetch
from pylon.store.tables import IndexShape

KEY_OF_TIME: Final = "_pylon_key_of_time"
"""The function of SQL that `keys_of_times` lends: of a text, and optionally of the key it has."""

_APART: Final = "#"
"""Between the key of a row that shared its moment with another, and its id. It comes before what
else may follow a key, so the order stays."""


@contextlib.contextmanager
def keys_of_times(connection: apsw.Connection) -> Iterator[None]:
    """Lend statements the function `KEY_OF_TIME`."""
    connection.create_scalar_function(KEY_OF_TIME, _key_of_time, -1, deterministic=True)
    try:
        yield
    finally:
        connection.create_scalar_function(KEY_OF_TIME, None, -1)


def _key_of_time(*values: Any) -> Any:
    """The key of a text; the one that it has where that is one of this moment."""
    text, has = values if len(values) == 2 else (values[0], None)
    if not isinstance(text, str):
        return None
    key = moment_key(text)
    return has if isinstance(has, str) and has.startswith(f"{key}{_APART}") else key


def add_column(connection: apsw.Connection, entity: str, field: str) -> None:
    """Make the column of a field's keys, where it is not there."""
    if not has_column(connection, entity, field):
        column = quote(moment_column(field))
        connection.execute(f"ALTER TABLE {quote(entity)} ADD COLUMN {column} TEXT")


def has_column(connection: apsw.Connection, entity: str, field: str) -> bool:
    """Whether a field's keys have a column."""
    sql = "SELECT 1 FROM pragma_table_info(?) WHERE name = ?"
    return bool(fetch(connection, sql, (entity, moment_column(field))))


def tell_apart(connection: apsw.Connection, entity: str, index: IndexShape) -> None:
    """Give rows that a unique index was never asked about, since their times were written
    differently, keys of their own. The first keeps the moment's."""
    column = next(quote(name) for name in index.fields if name.startswith(moment_column("")))
    table = quote(entity)
    connection.execute(
        f"UPDATE {table} SET {column} = concat({column}, '{_APART}', id) WHERE id IN"
        f" (SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY {index.columns}"
        f" ORDER BY id) AS _pylon_number FROM {table} WHERE {index.present})"
        " WHERE _pylon_number > 1)"
    )
