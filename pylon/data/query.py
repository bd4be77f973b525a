"""Filtered queries and lookups over one entity (spec 02 sections 3, 5.1 and 5.2).

Statements are made here, conditions in `conditions`; tables are opened by `door`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from pylon import limits
from pylon.changes.model import RowData
from pylon.codec import encode
from pylon.data.conditions import EVERYTHING, compile_condition
from pylon.data.door import Opened, ReadDoor
from pylon.data.errors import not_found
from pylon.data.fields import INT_MAX, INT_MIN
from pylon.data.filters import (
    Filter,
    Order,
    invalid,
    parse,
    spellings,
)
from pylon.identity import Identity
from pylon.policy.engine import Where
from pylon.schema.model import FieldKind
from pylon.store.base import Value
from pylon.store.naming import quote


class Queries:
    """Filtered queries and lookups."""

    def __init__(self, door: ReadDoor) -> None:
        self._door = door

    async def find(self, identity: Identity, entity: str, body: object) -> list[RowData]:
        """The rows that a filter finds, in its order."""
        opened = self._door.open_readable(identity, entity)
        sql, params = self._select(opened, opened.table.columns, body)
        found = await self._door.fetch(sql, params)
        if len(found) > limits.QUERY_ROWS_MAX:
            raise too_many_rows(limits.QUERY_ROWS_MAX)
        return [opened.decode(row) for row in found]

    async def find_json(self, identity: Identity, entity: str, body: object) -> bytes:
        """The same as the bytes of a JSON list, which the database makes in one piece.

        So a long answer is made beside the loop and without Python's lock, and what the loop has
        to do for it does not grow with its rows; but where a read filter takes the rows apart.
        """
        opened = self._door.open_readable(identity, entity)
        if opened.shown is not None:
            return encode(await self.find(identity, entity, body))
        sql, params = self._select(opened, f"{opened.row_json} AS j", body)
        rows = opened.dialect.as_bytes("string_agg(j, ',')")
        ((count, text),) = await self._door.fetch(f"SELECT count(*), {rows} FROM ({sql}) q", params)
        if count > limits.QUERY_ROWS_MAX:
            raise too_many_rows(limits.QUERY_ROWS_MAX)
        return b"[%b]" % (text or b"")

    async def lookup(self, identity: Identity, entity: str, field: str, text: str) -> RowData:
        """The first row by id whose field has this value, or 404 `NOT_FOUND`.

        The text is read as the field's kind; one that cannot be is a value that no row has.
        """
        opened = self._door.open_readable(identity, entity)
        kind = opened.columns.kind(field)
        value = _value_of_text(kind, text)
        if value is None:
            raise not_found(entity)
        params: list[Value] = [*spellings(field, kind, value)]
        marks = ", ".join("?" * len(params))
        conditions = [f"t.{quote(field)} {'= ?' if len(params) == 1 else f'IN ({marks})'}"]
        add_policy(opened.where, conditions, params)
        found = await self._door.fetch(
            f"SELECT {opened.table.columns} FROM {opened.table.source}"
            f"{where_clause(conditions)} ORDER BY t.id LIMIT 1",
            params,
        )
        if not found:
            raise not_found(entity)
        return opened.decode(found[0])

    def _select(self, opened: Opened, projection: str, body: object) -> tuple[str, list[Value]]:
        query = parse(body, opened.columns)
        return select(opened, query, projection, rows_max=limits.QUERY_ROWS_MAX)


# --- Statements ------------------------------------------------------------------------------


def select(
    opened: Opened, query: Filter, projection: str, *, rows_max: int
) -> tuple[str, list[Value]]:
    """The statement of a query; it fetches one row more than `rows_max`, to tell a cut answer."""
    conditions: list[str] = []
    params: list[Value] = []
    order = complete_order(query.order)
    ordered, source = order_clause(order), opened.table.source
    if query.search is not None and not query.order:
        found = opened.dialect.search_source(query.search.entity, source)
        params.append(opened.dialect.search_value(query.search.query))
        source, ordered = found.sql, f"{found.rank}, t.id"
        query = msgspec.structs.replace(query, search=None)
    add_policy(opened.where, conditions, params)
    add_condition(query, opened, conditions, params)
    if query.after is not None:
        conditions.append(_after(order, query.after, params))
    params += (row_limit(query.limit, rows_max), query.offset)
    return (
        f"SELECT {projection} FROM {source}{where_clause(conditions)}"
        f" ORDER BY {ordered} LIMIT ? OFFSET ?"
    ), params


def add_policy(where: Where, conditions: list[str], params: list[Value]) -> None:
    """Put the policy first: it is what indexes are made for."""
    if where.sql is not None:
        conditions.append(f"({where.sql})")
        params.extend(where.params)


def add_condition(
    query: Filter, opened: Opened, conditions: list[str], params: list[Value]
) -> None:
    """Put the filter's condition and search, if it has them."""
    for condition in (query.condition, query.search or EVERYTHING):
        sql = compile_condition(condition, opened.dialect, params)
        if sql is not None:
            conditions.append(sql)


def where_clause(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def row_limit(limit: int | None, rows_max: int) -> int:
    """What to bind: the caller's limit, or one more than may be answered."""
    return rows_max + 1 if limit is None else min(limit, rows_max + 1)


def complete_order(order: Sequence[Order]) -> tuple[Order, ...]:
    """The order made total by the id, in the direction of the last field.

    So every page has its place, and one index serves an order and its reverse.
    """
    complete = []
    for part in order:
        complete.append(part)
        if part.column == "id":
            return tuple(complete)
    complete.append(Order("id", bool(order) and order[-1].descending))
    return tuple(complete)


def order_clause(order: Sequence[Order]) -> str:
    """Nulls come first, or last when descending; an id is never null."""
    return ", ".join(f"t.{quote(part.column)}{_direction(part)}" for part in order)


def _direction(part: Order) -> str:
    if part.column == "id":
        return " DESC" if part.descending else ""
    return " DESC NULLS LAST" if part.descending else " NULLS FIRST"


def _after(order: Sequence[Order], last: Mapping[str, Value], params: list[Value]) -> str:
    """The rows that follow `last` in this order; nulls come first, or last when descending."""
    names = [part.column for part in order]
    if not set(last).issuperset(names):
        raise invalid(f"$after needs the last row's values of: {', '.join(names)}.")
    part, *rest = order
    value = last[part.column]
    column = f"t.{quote(part.column)}"
    if not rest:
        return _beyond(part, value, params)
    # What cannot be in a page anyway, said so that an index can begin there.
    bound = "1 = 1"
    if value is not None and not part.descending:
        params.append(value)
        bound = f"{column} >= {mark(value)}"
    beyond = _beyond(part, value, params)
    params.append(value)
    ties = _after(rest, last, params)
    return f"({bound} AND ({beyond} OR ({column} IS NOT DISTINCT FROM {mark(value)} AND {ties})))"


def _beyond(part: Order, value: Value, params: list[Value]) -> str:
    column = f"t.{quote(part.column)}"
    if value is None:
        return "1 = 0" if part.descending else f"{column} IS NOT NULL"
    params.append(value)
    if part.descending:
        return f"({column} < {mark(value)} OR {column} IS NULL)"
    return f"{column} > {mark(value)}"


def mark(value: Value) -> str:
    """Where a value is bound. A float says what it is: beside a column of whole numbers some
    databases would take it for one."""
    return "CAST(? AS DOUBLE PRECISION)" if isinstance(value, float) else "?"


def too_many_rows(rows_max: int) -> Exception:
    """The answer would be cut, and a list cannot say so."""
    return invalid(
        f"The answer has more than {rows_max} rows.", "Ask for pages with $limit and $after."
    )


# --- Values and rows -------------------------------------------------------------------------


def _value_of_text(kind: FieldKind, text: str) -> Value:
    """The value that a part of a path spells, or None where it spells none of this kind."""
    match kind:
        case "int":
            sign, digits = text[:1], text.removeprefix("-")
            if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
                return None
            number = -int(digits) if sign == "-" else int(digits)
            return number if INT_MIN <= number <= INT_MAX else None
        case "float":
            try:
                return None if "_" in text else float(text)
            except ValueError:
                return None
        case "bool":
            return {"1": True, "true": True, "0": False, "false": False}.get(text)
    return text
