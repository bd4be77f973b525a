"""The one door to rows: reads under the read policy, and the way into a `Transaction`.

REST, sync, functions and jobs all come through here. Policies are part of the SQL, so a list
shows exactly the rows that a get would, and nothing is fetched to be dropped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from pylon import limits
from pylon.changes.log import ChangeLog
from pylon.changes.model import RowData
from pylon.clock import Clock
from pylon.crdt.documents import Documents
from pylon.data.errors import not_found, policy_denied
from pylon.data.table import Table
from pylon.data.write import Transaction
from pylon.errors import PylonError
from pylon.hooks import Hooks
from pylon.identity import Identity
from pylon.ids import RowIds
from pylon.policy.engine import PolicyEngine, Where
from pylon.schema.diagnostics import did_you_mean
from pylon.schema.model import Manifest
from pylon.store.base import Store, Tx

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a cursor list; `next_cursor` is the last id, None for an empty page."""

    rows: list[RowData]
    next_cursor: str | None
    has_more: bool


class Rows:
    """The rows of one app."""

    def __init__(
        self,
        *,
        store: Store,
        log: ChangeLog,
        manifest: Manifest,
        policies: PolicyEngine,
        hooks: Hooks,
        clock: Clock,
        documents: Documents | None = None,
    ) -> None:
        """`documents` None: no row has a document, whatever the manifest says."""
        self.store = store
        self.log = log
        self.policies = policies
        self.hooks = hooks
        self.clock = clock
        self.documents = documents
        self.ids = RowIds()
        self._tables = {spec.name: Table(spec) for spec in manifest.entities}

    def table(self, entity: str) -> Table:
        """The table of an entity, or 400 `ENTITY_NOT_FOUND`."""
        table = self._tables.get(entity)
        if table is None:
            raise PylonError(
                400,
                "ENTITY_NOT_FOUND",
                f'There is no entity "{entity[:100]}".',
                did_you_mean(entity, self._tables),
            )
        return table

    # --- reads -------------------------------------------------------------------------------

    async def get(self, identity: Identity, entity: str, row_id: str) -> RowData:
        """The row, or 404 `NOT_FOUND` where it is not there or hidden from the caller."""
        table, where = self._readable(identity, entity)
        sql = table.select_one
        if where.sql is not None:
            sql = f"{sql} AND {where.sql}"
        found = await self.store.read(sql, (row_id, *where.params))
        if not found:
            raise not_found(entity)
        return table.decoder(identity)(found[0])

    async def list(
        self, identity: Identity, entity: str, *, limit: int | None, offset: int
    ) -> list[RowData]:
        """Rows by id, at most `limits.LIST_ROWS_MAX` of them."""
        table, where = self._readable(identity, entity)
        count = limits.LIST_ROWS_MAX if limit is None else min(limit, limits.LIST_ROWS_MAX)
        condition = "" if where.sql is None else f" WHERE {where.sql}"
        found = await self.store.read(
            f"SELECT {table.columns} FROM {table.source}{condition} ORDER BY t.id LIMIT ? OFFSET ?",
            (*where.params, count, offset),
        )
        decode = table.decoder(identity)
        return [decode(row) for row in found]

    async def page(self, identity: Identity, entity: str, *, after: str, limit: int) -> Page:
        """The rows whose id follows `after`; every page but the last is full."""
        table, where = self._readable(identity, entity)
        condition = "" if where.sql is None else f" AND {where.sql}"
        found = await self.store.read(
            f"SELECT {table.columns} FROM {table.source}"
            f" WHERE t.id > ?{condition} ORDER BY t.id LIMIT ?",
            (after, *where.params, limit + 1),
        )
        has_more = len(found) > limit
        decode = table.decoder(identity)
        rows = [decode(row) for row in found[:limit]]
        return Page(rows=rows, next_cursor=rows[-1]["id"] if rows else None, has_more=has_more)

    def _readable(self, identity: Identity, entity: str) -> tuple[Table, Where]:
        """Table and read filter; 403 where no row whatever could be seen by this caller."""
        table = self.table(entity)
        where = self.policies.entity(entity).read.where(identity, gathers=True)
        if where.never:
            raise policy_denied()
        return table, where

    # --- writes ------------------------------------------------------------------------------

    async def write(
        self,
        identity: Identity,
        work: Callable[[Transaction], Awaitable[T]],
        *,
        trusted: bool = False,
    ) -> T:
        """Run `work` in a transaction of its own and return its result after the commit."""

        async def unit(tx: Tx) -> T:
            return await work(Transaction(self, tx, identity, trusted=trusted))

        return await self.store.write(unit)

    async def insert(self, identity: Identity, entity: str, data: object) -> RowData:
        """Insert one row; see `Transaction.insert`."""
        return await self.write(identity, lambda tx: tx.insert(entity, data))

    async def update(self, identity: Identity, entity: str, row_id: str, patch: object) -> RowData:
        """Update one row; see `Transaction.update`."""
        return await self.write(identity, lambda tx: tx.update(entity, row_id, patch))

    async def delete(self, identity: Identity, entity: str, row_id: str) -> None:
        """Delete one row; see `Transaction.delete`."""
        await self.write(identity, lambda tx: tx.delete(entity, row_id))
