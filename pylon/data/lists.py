"""Lists of one entity that ask for more than all rows: a filter, an order, some fields, a total.

The questions of `GET /api/entities/..`, which come as parts of a query string, and those of a query
that asks for a total. Statements are `query`'s; plain lists and pages are `door`'s, which know none
of this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from pylon import limits
from pylon.changes.model import RowData
from pylon.data.csv_values import json_fields
from pylon.data.cursors import bad_cursor, cursor_of, is_made_up, read_cursor
from pylon.data.door import Opened, Page, ReadDoor, picked
from pylon.data.errors import invalid
from pylon.data.filters import (
    Columns,
    Filter,
    Order,
    parse,
    parse_count_word,
    parse_fields,
    parse_order,
    require_object,
)
from pylon.data.long_lists import LongList, is_too_large
from pylon.data.query import (
    add_condition,
    add_policy,
    complete_order,
    refuse_too_many,
    select,
    where_clause,
    whole,
)
from pylon.errors import PylonError
from pylon.identity import Identity
from pylon.store.base import Value

Relation: TypeAlias = Literal["eq", "gte"]


class Asked(msgspec.Struct, frozen=True):
    """A list as it was asked for: the texts of the query string, `filter` decoded.

    `sort` is `-dueAt,title`, `order` the direction of fields without a sign.
    """

    filter: object = None
    sort: str = ""
    order: str = ""
    fields: str = ""
    count: str = ""
    limit: int | None = None
    offset: int = 0
    after: str = ""


class Total(msgspec.Struct, frozen=True):
    """How many rows there are, whatever the page shows; or `gte`: so many at least."""

    rows: int
    relation: Relation


class Found(msgspec.Struct, frozen=True):
    """An answer: JSON of a list, or what is to be read piece by piece."""

    rows: bytes | LongList
    count: int
    total: Total | None


class CsvTable(msgspec.Struct, frozen=True):
    """Rows that are to be written as a table with these columns."""

    names: tuple[str, ...]
    rows: LongList
    as_json: frozenset[str]


class Lists:
    """Lists and pages that were asked for in more words."""

    def __init__(self, door: ReadDoor) -> None:
        self._door = door

    async def find(self, identity: Identity, entity: str, asked: Asked) -> Found:
        """The rows of a list, at most `limits.LIST_ROWS_MAX`."""
        opened = self._door.open_readable(identity, entity)
        query = _query(asked, opened.columns)
        most = limits.LIST_ROWS_MAX
        limit = most if asked.limit is None else min(asked.limit, most)
        query = msgspec.structs.replace(query, limit=limit, offset=asked.offset)
        return await self.found(opened, query, rows_max=most)

    async def query(self, identity: Identity, entity: str, body: object) -> Found:
        """The rows that the body of a query finds, as `Queries.find_json`, with the total that it
        asks for."""
        opened = self._door.open_readable(identity, entity)
        query = parse(body, opened.columns)
        found = await self.found(opened, query, rows_max=limits.QUERY_ROWS_MAX)
        refuse_too_many(found.count)
        return found

    async def found(self, opened: Opened, query: Filter, *, rows_max: int) -> Found:
        """What a query finds, and how many there are where it asks for that."""
        narrow = opened.narrowed(query.fields)
        rows: bytes | LongList
        try:
            count, rows = await whole(self._door, narrow, query, rows_max=rows_max)
        except PylonError as error:
            if not is_too_large(error):
                raise
            sql, params = select(opened, query, "t.id", rows_max=rows_max)
            rows = self._door.long_list(narrow, await self._door.fetch(sql, params))
            count = len(rows)
        is_all = query.limit is None or count < query.limit
        is_all = is_all and not query.offset and query.after is None and count <= rows_max
        return Found(rows, count, await self._total(opened, query, count if is_all else None))

    async def table(self, identity: Identity, entity: str, asked: Asked) -> CsvTable:
        """The same rows, to be read as they are taken. A table cannot say that it was cut, so more
        than `limits.QUERY_ROWS_MAX` are refused."""
        opened = self._door.open_readable(identity, entity)
        query = _query(asked, opened.columns)
        if query.count is not None:
            raise invalid("A table has no place for a count.")
        query = msgspec.structs.replace(query, limit=asked.limit, offset=asked.offset)
        sql, params = select(opened, query, "t.id", rows_max=limits.QUERY_ROWS_MAX)
        found = await self._door.fetch(sql, params)
        refuse_too_many(len(found))
        narrow = opened.narrowed(query.fields)
        names = dict.fromkeys(("id", *(query.fields or opened.shown_fields)))
        rows = self._door.long_list(narrow, found)
        return CsvTable(tuple(names), rows, json_fields(opened.table))

    async def page(
        self, identity: Identity, entity: str, asked: Asked
    ) -> tuple[Page, Total | None]:
        """The rows that follow a cursor. The last page says so, whatever comes or goes meanwhile;
        a page may be shorter as `ReadDoor.page` says."""
        opened = self._door.open_readable(identity, entity)
        query = _query(asked, opened.columns)
        order = complete_order(query.order)
        after = None
        if asked.after:
            after = read_cursor(asked.after, order, opened.columns)
            await self._refuse_made_up(identity, entity, asked.after)
        limit = asked.limit or limits.CURSOR_ROWS_DEFAULT
        query = msgspec.structs.replace(query, order=order, after=after, limit=limit + 1)
        page = await self._page(opened, query, limit)
        is_all = after is None and not page.has_more
        total = await self._total(opened, query, len(page.rows) if is_all else None)
        return page, total

    def pick(self, identity: Identity, entity: str, row: RowData, fields: str) -> RowData:
        """What of a row was asked for; 400 `INVALID_COLUMN` for what the caller may not see."""
        return picked(row, fields_of(fields, self._door.open(identity, entity).columns))

    async def _page(self, opened: Opened, query: Filter, limit: int) -> Page:
        while True:
            rows, has_more = await self._rows_of_page(opened, query, limit)
            if rows or not has_more:
                break  # Else all of them have gone meanwhile, and what followed has moved up.
        return Page(
            rows=[picked(row, query.fields) for row in rows],
            next_cursor=_cursor(rows, query.order, is_needed=has_more),
            has_more=has_more,
        )

    async def _rows_of_page(
        self, opened: Opened, query: Filter, limit: int
    ) -> tuple[list[RowData], bool]:
        try:
            sql, params = select(opened, query, opened.projection, rows_max=limit)
            found = await self._door.fetch_within(sql, params, limits.ANSWER_BYTES_WHOLE_MAX)
        except PylonError as error:
            if not is_too_large(error):
                raise
            sql, params = select(opened, query, "t.id", rows_max=limit)
            ids = await self._door.fetch(sql, params)
            long = self._door.long_list(opened, ids[:limit])
            page = await self._door.short_page(long, len(ids) > limit)
            return page.rows, page.has_more
        return [opened.decode(row) for row in found[:limit]], len(found) > limit

    async def _refuse_made_up(self, identity: Identity, entity: str, after: str) -> None:
        """400 for a cursor that is neither of the usual forms nor the id of a row."""
        if is_made_up(after):
            try:
                await self._door.get(identity, entity, after)
            except PylonError as error:
                if error.code != "NOT_FOUND":
                    raise
                raise bad_cursor(after) from None

    async def _total(self, opened: Opened, query: Filter, known: int | None) -> Total | None:
        """How many rows the condition finds: of one more statement, so it may have counted what the
        page has not seen."""
        if query.count is None:
            return None
        if known is not None:
            return Total(known, "eq")
        conditions: list[str] = []
        params: list[Value] = []
        add_policy(opened.where, conditions, params)
        add_condition(query, opened, conditions, params)
        source = f"{opened.table.source}{where_clause(conditions)}"
        if query.count == "exact":
            ((count,),) = await self._door.fetch(f"SELECT count(*) FROM {source}", params)
            return Total(count, "eq")
        most = limits.COUNT_ROWS_MAX
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {source} LIMIT ?) q"
        ((count,),) = await self._door.fetch(sql, (*params, most + 1))
        return Total(most, "gte") if count > most else Total(count, "eq")


def _cursor(rows: Sequence[RowData], order: Sequence[Order], *, is_needed: bool) -> str | None:
    """The cursor behind the last row; one that nobody needs is left out where it is too long."""
    if not rows:
        return None
    try:
        return cursor_of(rows[-1], order)
    except PylonError:
        if is_needed:
            raise
        return None


# --- From texts to a query -------------------------------------------------------------------

_ELSEWHERE: Mapping[str, str] = {
    "$order": "sort",
    "$limit": "limit",
    "$offset": "offset",
    "$after": "after",
    "$fields": "fields",
    "$count": "count",
}


def _query(asked: Asked, columns: Columns) -> Filter:
    """400 `INVALID_QUERY` or `INVALID_COLUMN` where it is not understood; without limits."""
    body: dict[str, Any] = {}
    if asked.filter is not None:
        body = require_object(asked.filter, "filter", 'Write filter={"field": value}.')
    for key, name in _ELSEWHERE.items():
        if key in body:
            raise invalid(
                f"{key} is no part of the filter of a list.", f"Write ?{name}= beside it."
            )
    query = parse(body, columns)
    return msgspec.structs.replace(
        query,
        order=_order(asked.sort, asked.order, columns),
        fields=fields_of(asked.fields, columns),
        count=parse_count_word(asked.count, "count") if asked.count else None,
    )


def fields_of(text: str, columns: Columns) -> tuple[str, ...]:
    """`title,dueAt`: the fields of an answer."""
    if not text:
        return ()
    return parse_fields([name.strip() for name in text.split(",")], columns)


def _order(sort: str, order: str, columns: Columns) -> tuple[Order, ...]:
    """`-dueAt,title`; by id where only the direction is given."""
    if order.lower() not in ("", "asc", "desc"):
        raise invalid(
            "order is asc or desc.", "The fields stand in sort: ?sort=-dueAt,title or ?sort=title."
        )
    descends = order.lower() == "desc"
    if not sort:
        return parse_order({"id": "desc"}, columns) if descends else ()
    words: dict[str, str] = {}
    for part in sort.split(","):
        text = part.strip()  # A plus in a query string is a space.
        sign = text[:1] if text[:1] in ("+", "-") else ""
        name = text.removeprefix(sign)
        if name in words:
            raise invalid(f'"{name[:100]}" is in sort more than once.')
        words[name] = "desc" if (sign == "-" if sign else descends) else "asc"
    return parse_order(words, columns)
