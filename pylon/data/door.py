"""How reads get at a table: the read policy as SQL, and the columns that this caller may name.

`rows`, `query`, `graph`, `aggregate`, `search` and `erase` make their statements from what a
`ReadDoor` opens and fetch through it, so one place knows who reads what, and from which moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from pylon import limits
from pylon.changes.model import RowData
from pylon.data.context import Context
from pylon.data.errors import not_found, policy_denied
from pylon.data.filters import Columns
from pylon.data.long_lists import LongList, is_too_large
from pylon.data.reads import ReadRecord
from pylon.data.shown import Shown, filtered_fields
from pylon.data.table import Table
from pylon.errors import PylonError
from pylon.hooks import ReadFilter
from pylon.identity import Identity
from pylon.ids import other_spellings
from pylon.policy.engine import EVERY_ROW, Rule, Where
from pylon.policy.formula import Exists
from pylon.schema.model import FieldKind
from pylon.store.base import Row, Value
from pylon.store.dialect import Dialect
from pylon.store.row_json import row_json
from pylon.store.search_fields import indexed_fields, text_fields
from pylon.store.search_keys import SearchKey


class Fetch(Protocol):
    """A read of the database: `Store.read` or `Tx.fetch`."""

    def __call__(
        self, sql: str, params: Sequence[Value] = (), *, seconds: float | None = None
    ) -> Awaitable[list[Row]]:
        """The rows; 503 `QUERY_TIMEOUT` where they take longer than `seconds`."""
        ...


class Opened(msgspec.Struct, frozen=True):
    """A table as one caller may read it."""

    table: Table
    where: Where
    columns: Columns
    decode: Callable[[Row], RowData]
    """From a tuple of the table's columns to the row as this caller sees it."""
    row_json: str
    """A SQL expression that gives a row of alias `t` as JSON text."""
    dialect: Dialect
    projection: str
    """The columns that `decode` takes, as SQL."""
    key: SearchKey | None = None
    """Under which the full-text index has the words of all rows that this caller may read; it
    shortens the way to them and is no part of the policy."""
    shown: Shown | None = None
    """Where a read filter listens: `row_json` then has all fields, and this takes them apart."""

    @property
    def shown_fields(self) -> tuple[str, ...]:
        """The fields that rows may have, the id left out."""
        if self.shown is None:
            return tuple(name for name in self.columns.kinds if name != "id")
        return tuple(name for name in self.table.fields if name not in self.table.private)

    def narrowed(self, fields: tuple[str, ...]) -> Opened:
        """The same with the id and these fields of its rows only; without any, with all."""
        if not fields:
            return self
        if self.shown is not None:  # The filters look at whole rows.
            decode = self.decode
            return msgspec.structs.replace(self, decode=lambda row: picked(decode(row), fields))
        projection, narrow = self.table.selection(fields)
        kinds = self.columns.kinds
        return msgspec.structs.replace(
            self,
            projection=projection,
            decode=narrow,
            row_json=row_json(self.dialect, {n: kinds[n] for n in dict.fromkeys(("id", *fields))}),
        )


def picked(row: RowData, fields: Sequence[str]) -> RowData:
    """The id and these fields of a row, as far as they are shown; without any, all of it."""
    return {name: row[name] for name in ("id", *fields) if name in row} if fields else row


class Page(Struct, frozen=True, kw_only=True):
    """A page of a cursor list; `next_cursor` is the last id, None for an empty page at the end."""

    rows: list[RowData]
    next_cursor: str | None
    has_more: bool


class _View(msgspec.Struct, frozen=True):
    """What callers who see the same fields share."""

    rule: Rule
    filters: tuple[ReadFilter, ...]
    columns: Columns
    decode: Callable[[Row], RowData]
    row_json: str
    selects: dict[str | None, str] = msgspec.field(default_factory=dict)
    """The statement that gets one row, by the condition of the rule."""
    key_field: str | None = None
    """What the full-text index keeps its words by besides."""

    def key_of(self, identity: Identity) -> SearchKey | None:
        """What holds for all rows that the rule lets a caller see."""
        if self.key_field is None:
            return None
        value = self.rule.pinned(identity)
        return None if value is None else SearchKey.of(self.key_field, value)


class ReadDoor:
    """Opens tables for callers.

    `fetch` reads inside a transaction instead of from the latest commit. `trusted` is for the
    server's own code: policies are not asked and private fields can be seen. `record` is told what
    is read.
    """

    def __init__(
        self,
        context: Context,
        *,
        fetch: Fetch | None = None,
        trusted: bool = False,
        record: ReadRecord | None = None,
    ) -> None:
        self._context = context
        self._trusted = trusted
        self._record = record
        self.dialect: Dialect = context.store.dialect
        self._views: tuple[dict[str, _View], dict[str, _View]] = ({}, {})
        """By entity, of those who see its public fields and of those who see everything."""
        self.fetch: Fetch = fetch or context.store.read
        self._is_in_unit = fetch is not None

    def open(self, identity: Identity, entity: str, row_id: str | None = None) -> Opened:
        """The table, or 400 `ENTITY_NOT_FOUND`; `where.never` where the caller can see no row.

        `row_id` says that no row but this one will be asked for.
        """
        table, view, where = self._look(identity, entity, row_id)
        key = None if where.sql is None else view.key_of(identity)
        if not view.filters:
            return Opened(
                *(table, where, view.columns, view.decode, view.row_json, self.dialect),
                *(table.columns, key),
            )
        shown, decode = Shown(table, view.filters, identity), view.decode
        return Opened(
            table,
            where,
            view.columns,
            lambda row: shown(decode(row)),
            view.row_json,
            self.dialect,
            table.columns,
            key,
            shown,
        )

    def _look(
        self, identity: Identity, entity: str, row_id: str | None
    ) -> tuple[Table, _View, Where]:
        """What `open` puts together."""
        table = self._context.table(entity)
        everything = self._trusted or identity.is_admin
        filters = () if everything else table.hooks.filters
        views = self._views[everything]
        view = views.get(entity)
        if view is None or view.filters is not filters:  # hooks may be added meanwhile
            rule = self._context.policies.entity(entity).read
            view = views[entity] = _view(table, rule, self.dialect, everything, filters)
        if self._record is not None:
            memberships = () if everything else view.rule.memberships
            self._note(self._record, entity, row_id, memberships)
        return table, view, EVERY_ROW if everything else view.rule.where(identity, gathers=True)

    async def let_others(self) -> None:
        """Let the loop turn between two parts of a long computation; nothing in a transaction."""
        if not self._is_in_unit:
            await asyncio.sleep(0)

    def open_readable(self, identity: Identity, entity: str, row_id: str | None = None) -> Opened:
        """The table; 403 `POLICY_DENIED` where no row whatever could be seen by this caller."""
        opened = self.open(identity, entity, row_id)
        if opened.where.never:
            raise policy_denied(self.why_none(identity, entity))
        return opened

    def why_none(self, identity: Identity, entity: str) -> str | None:
        """Why the caller could see no row whatever, where callers are told."""
        return self._context.why_none(entity, "read", identity)

    async def get(self, identity: Identity, entity: str, row_id: str) -> RowData:
        """The row, or 404 `NOT_FOUND` where it is not there or hidden from the caller."""
        # What `open_readable` does, without an `Opened`: this is the hot path.
        table, view, where = self._look(identity, entity, row_id)
        if where.never:
            raise policy_denied(self.why_none(identity, entity))
        sql = view.selects.get(where.sql)
        if sql is None:  # Each caller has one of few texts; see `Rule.where`.
            sql = table.select_one if where.sql is None else f"{table.select_one} AND {where.sql}"
            view.selects[where.sql] = sql
        found = await self.fetch(sql, (row_id, *where.params))
        for other in () if found else other_spellings(row_id):
            if self._record is not None:
                self._record.note_row(entity, other)
            found = found or await self.fetch(sql, (other, *where.params))
        if not found:
            raise not_found(entity, await self._why_hidden(identity, table, row_id))
        row = view.decode(found[0])
        return Shown(table, view.filters, identity)(row) if view.filters else row

    async def _why_hidden(self, identity: Identity, table: Table, row_id: str) -> str | None:
        """Why the caller may not see a row that is there, where callers are told."""
        denials = self._context.denials
        found = [] if denials is None else await self.fetch(table.select_one, (row_id,))
        if denials is None or not found:
            return None
        row = table.decode(found[0])
        return await denials.why(table.name, "read", identity, row, None, self.fetch)

    async def fetch_within(
        self, sql: str, params: Sequence[Value], bytes_max: int | None
    ) -> list[Row]:
        """What `fetch` gives; 400 `ANSWER_TOO_LARGE` where it has more bytes, though not inside a
        transaction, which has to answer at once."""
        if self._is_in_unit:
            return await self.fetch(sql, params)
        return await self._context.store.read(sql, params, bytes_max=bytes_max)

    async def list(
        self, identity: Identity, entity: str, *, limit: int | None, offset: int
    ) -> list[RowData]:
        """Rows by id, at most `limits.LIST_ROWS_MAX` of them."""
        opened = self.open_readable(identity, entity)
        found = await self.fetch(*_list(opened, opened.table.columns, limit, offset))
        return [opened.decode(row) for row in found]

    async def list_or_long(
        self, identity: Identity, entity: str, *, limit: int | None, offset: int
    ) -> Sequence[RowData] | LongList:
        """The same; what has more than `limits.ANSWER_BYTES_WHOLE_MAX` is to be read piece by
        piece."""
        opened = self.open_readable(identity, entity)
        try:
            sql, params = _list(opened, opened.table.columns, limit, offset)
            found = await self.fetch_within(sql, params, limits.ANSWER_BYTES_WHOLE_MAX)
        except PylonError as error:
            if not is_too_large(error):
                raise
            ids = await self.fetch(*_list(opened, "t.id", limit, offset))
            return self.long_list(opened, ids)
        return [opened.decode(row) for row in found]

    async def page(self, identity: Identity, entity: str, *, after: str, limit: int) -> Page:
        """The rows whose id follows `after`.

        Every page but the last is full, or ends before it has more than
        `limits.ANSWER_BYTES_WHOLE_MAX`, but for one row.
        """
        opened = self.open_readable(identity, entity)
        condition = "" if opened.where.sql is None else f" AND {opened.where.sql}"
        source = f"{opened.table.source} WHERE t.id > ?{condition} ORDER BY t.id LIMIT ?"
        params = (after, *opened.where.params, limit + 1)
        try:
            sql = f"SELECT {opened.table.columns} FROM {source}"
            found = await self.fetch_within(sql, params, limits.ANSWER_BYTES_WHOLE_MAX)
        except PylonError as error:
            if not is_too_large(error):
                raise
            ids = await self.fetch(f"SELECT t.id FROM {source}", params)
            return await self.short_page(self.long_list(opened, ids[:limit]), len(ids) > limit)
        has_more = len(found) > limit
        rows = [opened.decode(row) for row in found[:limit]]
        return Page(rows=rows, next_cursor=rows[-1]["id"] if rows else None, has_more=has_more)

    @staticmethod
    async def short_page(found: LongList, has_more: bool) -> Page:
        """As much of a page as may be made at once; `has_more`: more follows the whole of it."""
        rows: list[RowData] = []
        size = 0
        async for piece in found.pieces():
            size += len(piece.text)
            if rows and size > limits.ANSWER_BYTES_WHOLE_MAX:
                has_more = True
                break
            rows += piece.rows
        cursor = rows[-1]["id"] if rows else None
        if not rows and found.ids:
            cursor = found.ids[-1]  # All of them have gone meanwhile.
        return Page(rows=rows, next_cursor=cursor, has_more=has_more)

    def long_list(self, opened: Opened, ids: Sequence[Row]) -> LongList:
        """The rows with these ids, which are tuples of one value each, to be read as they are
        taken."""
        table, where = opened.table, opened.where

        async def rows_of(wanted: Sequence[str], *, bytes_max: int | None) -> list[RowData]:
            condition, value = opened.dialect.one_of("t.id", wanted, negated=False)
            params: list[Value] = [value]
            if where.sql is not None:
                condition = f"{condition} AND {where.sql}"
                params += where.params
            sql = f"SELECT {opened.projection} FROM {table.source} WHERE {condition}"
            found = {row[0]: row for row in await self.fetch_within(sql, params, bytes_max)}
            return [opened.decode(found[row_id]) for row_id in wanted if row_id in found]

        return LongList([row_id for (row_id,) in ids], rows_of)

    async def row_ids(
        self, identity: Identity, entity: str, condition: str = "TRUE", params: Sequence[Value] = ()
    ) -> AsyncIterator[str]:
        """Ids of rows in order, read page by page; those deleted meanwhile disturb nothing.

        `condition` is SQL over the table aliased `t`, in parentheses where it says OR.
        """
        opened = self.open_readable(identity, entity)
        if opened.where.sql is not None:
            condition = f"{condition} AND {opened.where.sql}"
        sql = (
            f"SELECT t.id FROM {opened.table.source} WHERE t.id > ? AND {condition}"
            " ORDER BY t.id LIMIT ?"
        )
        after = ""
        while True:
            values = (after, *params, *opened.where.params, limits.ERASE_UNIT_ROWS)
            page = await self.fetch(sql, values)
            for (row_id,) in page:
                yield row_id
            if len(page) < limits.ERASE_UNIT_ROWS:
                return
            after = page[-1][0]

    @staticmethod
    def _note(
        record: ReadRecord, entity: str, row_id: str | None, memberships: Sequence[Exists]
    ) -> None:
        if row_id is None:
            record.note_entity(entity)
        else:
            record.note_row(entity, row_id)
        for each in memberships:  # whose rows decide too
            record.note_entity(each.entity)


def _list(
    opened: Opened, projection: str, limit: int | None, offset: int
) -> tuple[str, Sequence[Value]]:
    """The statement of a list by id, and its values."""
    where = opened.where
    count = limits.LIST_ROWS_MAX if limit is None else min(limit, limits.LIST_ROWS_MAX)
    condition = "" if where.sql is None else f" WHERE {where.sql}"
    sql = (
        f"SELECT {projection} FROM {opened.table.source}{condition} ORDER BY t.id LIMIT ? OFFSET ?"
    )
    return sql, (*where.params, count, offset)


def _view(
    table: Table,
    rule: Rule,
    dialect: Dialect,
    everything: bool,
    filters: tuple[ReadFilter, ...],
) -> _View:
    """`everything`: private fields too. Fields that filters decide about can be asked by nowhere,
    and the rows come with all fields, for the filters to look at."""
    hidden = frozenset() if everything else table.private | filtered_fields(filters)
    kinds: dict[str, FieldKind] = {"id": "string"}
    kinds |= {field.name: field.kind for field in table.spec.fields}
    asked_by = {name: kind for name, kind in kinds.items() if name not in hidden}
    indexed = indexed_fields(table.spec)
    texts = indexed or text_fields(table.spec)
    is_indexed = bool(indexed)
    if filters:
        # The index has the hidden texts too; one that is short of them is looked through without.
        whole, texts = texts, tuple(name for name in texts if name in asked_by)
        is_indexed = is_indexed and len(texts) == len(whole)
    return _View(
        rule=rule,
        filters=filters,
        columns=Columns(
            *(table.name, asked_by, texts),
            is_indexed=is_indexed,
            folded=table.folded,
            shown_only=filtered_fields(filters) - table.private,
            scales={each.name: each.scale for each in table.spec.fields if each.kind == "decimal"},
        ),
        decode=table.decode if everything or filters else table.decode_public,
        row_json=row_json(dialect, kinds if filters else asked_by),
        key_field=rule.pinned_field if indexed else None,
    )
