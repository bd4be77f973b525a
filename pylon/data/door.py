"""How reads get at a table: the read policy as SQL, and the columns that this caller may name.

`query`, `graph`, `aggregate` and `search` make their statements from what a `ReadDoor` opens and
fetch through it, so one place knows who reads and from which moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import msgspec

from pylon.changes.model import RowData
from pylon.data.errors import policy_denied
from pylon.data.filters import Columns
from pylon.data.rows import Rows
from pylon.data.table import Table
from pylon.identity import Identity
from pylon.policy.engine import EVERY_ROW, Where
from pylon.schema.model import FieldKind
from pylon.store.base import Row, Value
from pylon.store.dialect import Dialect
from pylon.store.row_json import row_json
from pylon.store.search_fields import indexed_fields, text_fields

Fetch: TypeAlias = Callable[[str, Sequence[Value]], Awaitable[list[Row]]]


class Opened(msgspec.Struct, frozen=True):
    """A table as one caller may read it."""

    table: Table
    where: Where
    columns: Columns
    decode: Callable[[Row], RowData]
    row_json: str
    """A SQL expression that gives a row of alias `t` as JSON text."""
    dialect: Dialect


class _View(msgspec.Struct, frozen=True):
    """What callers who see the same fields share."""

    columns: Columns
    decode: Callable[[Row], RowData]
    row_json: str


class ReadDoor:
    """Opens tables for callers.

    `fetch` reads inside a transaction instead of from the latest commit. `trusted` is for the
    server's own code: policies are not asked and private fields can be seen.
    """

    def __init__(self, rows: Rows, *, fetch: Fetch | None = None, trusted: bool = False) -> None:
        self._rows = rows
        self._trusted = trusted
        self._views: dict[tuple[str, bool], _View] = {}
        self.dialect: Dialect = rows.store.dialect
        self.fetch: Fetch = fetch or rows.store.read

    def open(self, identity: Identity, entity: str) -> Opened:
        """The table, or 400 `ENTITY_NOT_FOUND`; `where.never` where the caller can see no row."""
        table = self._rows.table(entity)
        everything = self._trusted or identity.is_admin
        view = self._views.get((entity, everything))
        if view is None:
            view = self._views[entity, everything] = _view(table, self.dialect, private=everything)
        rule = self._rows.policies.entity(entity).read
        where = EVERY_ROW if everything else rule.where(identity, gathers=True)
        return Opened(table, where, view.columns, view.decode, view.row_json, self.dialect)

    def open_readable(self, identity: Identity, entity: str) -> Opened:
        """The table; 403 `POLICY_DENIED` where no row whatever could be seen by this caller."""
        opened = self.open(identity, entity)
        if opened.where.never:
            raise policy_denied()
        return opened


def _view(table: Table, dialect: Dialect, *, private: bool) -> _View:
    seen = [field for field in table.spec.fields if private or not field.is_private]
    kinds: dict[str, FieldKind] = {"id": "string", **{field.name: field.kind for field in seen}}
    indexed = indexed_fields(table.spec)
    texts = indexed or text_fields(table.spec)
    return _View(
        columns=Columns(table.name, kinds, texts, is_indexed=bool(indexed)),
        decode=table.decode if private else table.decode_public,
        row_json=row_json(dialect, kinds),
    )
