"""Filtered queries and lookups over one entity (spec 02 sections 3, 5.1 and 5.2).

Statements are made here, conditions in `conditions`; tables are opened by `door`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from pylon import limits
from pylon.changes.model import RowData
from pylon.codec import encode
from pylon.data.conditions import EVERYTHING, Search, column_sql, compile_condition
from pylon.data.door import Opened, ReadDoor
from pylon.data.errors import invalid, not_found
from pylon.data.exact import key_of, key_sql, read_number, stored_text
from pylon.data.fields import INT_MAX, INT_MIN
from pylon.data.filters import Filter, Order, parse
from pylon.data.long_lists import LongList, is_too_large
from pylon.data.operators import compared_column, spellings
from pylon.data.search_rank import FOUND, RANK, measured, ranked, sees_all
from pylon.data.search_text import terms_of
from pylon.errors import PylonError
from pylon.identity import Identity
from pylon.letters import small
from pylon.moments import moment_key, shown_column
from pylon.policy.engine import Where
from pylon.schema.model import FieldKind
from pylon.store.base import Value
from pylon.store.naming import own, quote


class Queries:
    """Filtered queries and lookups."""

    def __init__(self, door: ReadDoor) -> None:
        self._door = door

    async def find(self, identity: Identity, entity: str, body: object) -> list[RowData]:
        """The rows that a filter finds, in its order."""
        opened, query = self._asked(identity, entity, body)
        found = await self._door.fetch(*_rows_of(opened, query, opened.projection))
        refuse_too_many(len(found))
        return [opened.decode(row) for row in found]

    async def find_json(self, identity: Identity, entity: str, body: object) -> bytes | LongList:
        """The same as the bytes of a JSON list, which the database makes in one piece.

        So a long answer is made beside the loop and without Python's lock, and what the loop has
        to do for it does not grow with its rows; but where a read filter takes the rows apart. What
        has more than `limits.ANSWER_BYTES_WHOLE_MAX` is to be read piece by piece.
        """
        opened, query = self._asked(identity, entity, body)
        try:
            count, text = await whole(self._door, opened, query, rows_max=limits.QUERY_ROWS_MAX)
            refuse_too_many(count)
            return text
        except PylonError as error:
            if not is_too_large(error):
                raise
        found = await self._door.fetch(*_rows_of(opened, query, "t.id"))
        refuse_too_many(len(found))
        return self._door.long_list(opened, found)

    def _asked(self, identity: Identity, entity: str, body: object) -> tuple[Opened, Filter]:
        opened = self._door.open_readable(identity, entity)
        query = parse(body, opened.columns)
        if query.count is not None:
            raise invalid("A bare list of rows has no place for a $count.")
        return opened.narrowed(query.fields), query

    async def lookup(self, identity: Identity, entity: str, field: str, text: str) -> RowData:
        """The first row by id whose field has this value, or 404 `NOT_FOUND`.

        The text is read as the field's kind; one that cannot be is a value that no row has.
        """
        opened = self._door.open_readable(identity, entity)
        kind = opened.columns.kind(field)
        value = _value_of_text(kind, text, opened.columns.scales.get(field, 0))
        if value is None:
            raise not_found(entity)
        is_folded = field in opened.columns.folded
        params: list[Value] = [*spellings(field, kind, small(value) if is_folded else value)]
        marks = ", ".join("?" * len(params))
        column = column_sql(compared_column(field, kind), is_folded)
        conditions = [f"{column} {'= ?' if len(params) == 1 else f'IN ({marks})'}"]
        add_policy(opened.where, conditions, params)
        found = await self._door.fetch(
            f"SELECT {opened.projection} FROM {opened.table.source}"
            f"{where_clause(conditions)} ORDER BY t.id LIMIT 1",
            params,
        )
        if not found:
            raise not_found(entity)
        return opened.decode(found[0])


# --- Statements ------------------------------------------------------------------------------


def _rows_of(opened: Opened, query: Filter, projection: str) -> tuple[str, list[Value]]:
    return select(opened, query, projection, rows_max=limits.QUERY_ROWS_MAX)


async def whole(
    door: ReadDoor, opened: Opened, query: Filter, *, rows_max: int
) -> tuple[int, bytes]:
    """How many rows a query finds, and the bytes of a JSON list of them; 400 `ANSWER_TOO_LARGE`
    where they have more than `limits.ANSWER_BYTES_WHOLE_MAX`."""
    most = limits.ANSWER_BYTES_WHOLE_MAX
    if opened.shown is not None:
        sql, params = select(opened, query, opened.projection, rows_max=rows_max)
        found = await door.fetch_within(sql, params, most)
        return len(found), encode([opened.decode(row) for row in found])
    text = own("json")
    sql, params = select(opened, query, f"{opened.row_json} AS {text}", rows_max=rows_max)
    rows = opened.dialect.as_bytes(f"string_agg({text}, ',')")
    ((count, joined),) = await door.fetch_within(
        f"SELECT count(*), {rows} FROM ({sql}) q", params, most
    )
    return count, b"[%b]" % (joined or b"")


def refuse_too_many(count: int) -> None:
    """400 where a bare list would have to be cut."""
    if count > limits.QUERY_ROWS_MAX:
        raise too_many_rows(limits.QUERY_ROWS_MAX)


def select(
    opened: Opened, query: Filter, projection: str, *, rows_max: int
) -> tuple[str, list[Value]]:
    """The statement of a query; it fetches at most one row more than `rows_max`, to tell a cut
    answer."""
    if query.search is not None and not query.order:
        return _select_by_fit(opened, query, query.search, projection, rows_max=rows_max)
    conditions: list[str] = []
    params: list[Value] = []
    order = complete_order(query.order)
    add_policy(opened.where, conditions, params)
    add_condition(query, opened, conditions, params)
    if query.after is not None:
        conditions.append(_after(order, query.after, params))
    params += (row_limit(query.limit, rows_max), query.offset)
    return (
        f"SELECT {projection} FROM {opened.table.source}{where_clause(conditions)}"
        f" ORDER BY {order_clause(order)} LIMIT ? OFFSET ?"
    ), params


def _select_by_fit(
    opened: Opened, query: Filter, search: Search, projection: str, *, rows_max: int
) -> tuple[str, list[Value]]:
    """The rows that a text finds, the best first."""
    params: list[Value] = [opened.dialect.search_value(search.query, opened.key)]
    conditions: list[str] = []
    source = opened.table.source
    found = opened.dialect.search_source(search.entity, source)
    add_policy(opened.where, conditions, params)
    add_condition(msgspec.structs.replace(query, search=None), opened, conditions, params)
    where, page = where_clause(conditions), "LIMIT ? OFFSET ?"
    bounds = (row_limit(query.limit, rows_max), query.offset)
    if sees_all(opened):
        params += bounds
        ordered = f"ORDER BY {found.rank}, t.id {page}"
        return f"SELECT {projection} FROM {found.sql}{where} {ordered}", params
    fields = opened.columns.texts
    selected = ", ".join(("t.id AS id", *measured(found.number, fields)))
    rows = f"SELECT {selected} FROM {found.sql}{where}"
    tables = ranked(opened, rows, terms_of(search.query), fields, params)
    params += bounds
    # LEFT, though every row is there, is an order to the planner: the page first.
    return (
        f"{tables}SELECT {projection} FROM (SELECT m.id, m.{RANK} FROM {FOUND} m"
        f" ORDER BY m.{RANK}, m.id {page}) m LEFT JOIN {source} ON t.id = m.id"
        f" ORDER BY m.{RANK}, m.id"
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
        sql = compile_condition(condition, opened.dialect, params, opened.key)
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
    return ", ".join(f"{_ordered_by(part)}{_direction(part)}" for part in order)


def _ordered_by(part: Order) -> str:
    if part.is_decimal:
        return key_sql(f"t.{quote(part.column)}")
    return column_sql(part.column, part.is_folded)


def _direction(part: Order) -> str:
    if part.column == "id":
        return " DESC" if part.descending else ""
    return " DESC NULLS LAST" if part.descending else " NULLS FIRST"


def _after(order: Sequence[Order], last: Mapping[str, Value], params: list[Value]) -> str:
    """The rows that follow `last` in this order; nulls come first, or last when descending."""
    names = [part.column for part in order]
    if not set(last).issuperset(names):
        wanted = ", ".join(map(shown_column, names))
        raise invalid(f"$after needs the last row's values of: {wanted}.")
    part, *rest = order
    value, column = last[part.column], _ordered_by(part)
    if part.is_folded:
        value = small(value)
    elif part.is_decimal and isinstance(value, str):
        value = key_of(value)
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
    column = _ordered_by(part)
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


def _value_of_text(kind: FieldKind, text: str, scale: int) -> Value:
    """The value that a part of a path spells, or None where it spells none of this kind."""
    match kind:
        case "decimal":
            exact = read_number(text)
            return None if exact is None else stored_text(exact, scale)
        case "json" | "list":
            return None
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
        case "datetime":
            return moment_key(text)
    return text
