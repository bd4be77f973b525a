"""The one way to write a row: every door of the server ends here (design idea 2).

The steps of each operation stand in order in its method: look at the stored row, hooks, values,
policy on what is and on what would be, apply, append the change. All of it happens inside one
unit of the store's writer, so it is atomic and serial; the commit publishes the change.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pylon.changes.model import RowData
from pylon.clock import iso_seconds
from pylon.crdt.documents import Documents, OpenDocument
from pylon.data.context import Context
from pylon.data.errors import not_found, policy_denied
from pylon.data.table import Table
from pylon.errors import PylonError
from pylon.identity import Identity
from pylon.ids import is_well_formed_row_id
from pylon.policy.engine import Rule
from pylon.policy.membership import Lookup
from pylon.store.base import ConstraintFailed, Tx

log = logging.getLogger("pylon.data")


class Transaction:
    """Writes of one caller inside one unit.

    `trusted` is for the server's own code (sign-up, functions): policies are not asked and
    private fields may be written.
    """

    __slots__ = ("_context", "_identity", "_lookup", "_trusted", "_tx")

    def __init__(
        self, context: Context, tx: Tx, identity: Identity, *, trusted: bool = False
    ) -> None:
        self._context = context
        self._tx = tx
        self._lookup = Lookup(tx.probe)
        self._identity = identity
        self._trusted = trusted or identity.is_admin

    async def get(self, entity: str, row_id: str) -> RowData | None:
        """The stored row, all fields, whatever the read policy says; None when there is none."""
        table = self._context.table(entity)
        found = await self._tx.fetch(table.select_one, (row_id,))
        return table.decode(found[0]) if found else None

    def can_read(self, entity: str, row: RowData) -> bool:
        """Whether the caller may see this row, as the database stands in this transaction."""
        rule = self._context.policies.entity(entity).read
        return rule.allows(self._identity, row, None, self._lookup)

    async def insert(self, entity: str, data: Any, *, row_id: str | None = None) -> RowData:
        """Insert a row and return it as stored.

        An `id` in the data is kept where it is well-formed (40 hex or UUID v4/v7), else replaced.
        `row_id` is the id whatever its form: of a row that was stored before.
        """
        table = self._context.table(entity)
        rule = self._context.policies.entity(entity).insert
        self._refuse_hopeless(rule)
        table.check_keys(data, trusted=self._trusted, is_insert=True)
        for hook in self._context.hooks.before_insert:
            await hook(self._identity, entity, data)
        values = table.check_values(data)
        table.fill_defaults(values, self._identity, iso_seconds(self._context.clock.now()))
        table.check_required(values, "INSERT_FAILED")
        after: RowData = {"id": self._row_id(data) if row_id is None else row_id}
        for name in table.fields:
            after[name] = values.get(name)
        if not (self._trusted or rule.allows(self._identity, after, None, self._lookup)):
            raise self._denied(rule, after, None)
        try:
            await self._tx.execute(table.insert, tuple(after.values()))
        except ConstraintFailed as error:
            raise self._constraint(error, table, "INSERT_FAILED") from error
        await self._context.log.append(
            self._tx, entity=entity, row_id=after["id"], kind="insert", before=None, after=after
        )
        return after

    async def update(self, entity: str, row_id: str, patch: Any) -> RowData:
        """Change fields of a row and return it as stored; 404 `NOT_FOUND` without such a row.

        The update rule must hold for the stored row and for the resulting one.
        """
        table = self._context.table(entity)
        rule = self._context.policies.entity(entity).update
        self._refuse_hopeless(rule)
        table.check_keys(patch, trusted=self._trusted)
        before = await self._stored(table, row_id, rule)
        if not self._trusted:
            table.check_fixed(patch, before)
        for hook in self._context.hooks.before_update:
            await hook(self._identity, entity, patch)
        values = table.check_values(patch)
        if not values:
            raise PylonError(404, "NOT_FOUND", "The body names no field to change.")
        document = None
        if self._context.documents is not None:
            document = await self._context.documents.find(self._tx, table.spec, before)
        return await self._change(table, rule, before, values, document)

    async def merge(self, entity: str, row_id: str, update: bytes) -> RowData:
        """Merge a client's document update and return the row as stored (spec 03 section 3.3).

        What it changes in the row is an update like any other. `Document.merge` lists the errors
        of the document itself; whatever is refused, nothing of it is kept.
        """
        table = self._context.table(entity)
        rule = self._context.policies.entity(entity).update
        self._refuse_hopeless(rule)
        before = await self._stored(table, row_id, rule)
        document = await self._documents().open(self._tx, table.spec, before)
        patch = document.merge(update)
        if not self._trusted:
            table.check_fixed(patch, before)
        if patch:
            for hook in self._context.hooks.before_update:
                await hook(self._identity, entity, patch)
        values = table.check_values(patch)
        return await self._change(table, rule, before, values, document)

    async def snapshot(self, entity: str, row_id: str) -> tuple[bytes, bytes | None] | None:
        """The row's document, made now if it has none; None where the caller may not see the row.

        The second value is what the document gained by being brought in line with the row, for
        others who follow it; nearly always None.
        """
        table = self._context.table(entity)
        found = await self._tx.fetch(table.select_one, (row_id,))
        if not found:
            return None
        row = table.decode(found[0])
        if not self.can_read(entity, row):
            return None
        document = await self._documents().open(self._tx, table.spec, row)
        update = await self._documents().save(self._tx, document)
        return document.snapshot(), update

    async def delete(self, entity: str, row_id: str) -> None:
        """Delete a row; 404 `NOT_FOUND` without such a row."""
        table = self._context.table(entity)
        rule = self._context.policies.entity(entity).delete
        self._refuse_hopeless(rule)
        before = await self._stored(table, row_id, rule)
        for hook in self._context.hooks.before_delete:
            await hook(self._identity, entity, row_id)
        await self._tx.execute(table.delete, (row_id,))
        if self._context.documents is not None:
            await self._context.documents.forget(self._tx, table.spec, row_id)
        await self._context.log.append(
            self._tx, entity=entity, row_id=row_id, kind="delete", before=before, after=None
        )

    # --- parts -------------------------------------------------------------------------------

    async def _change(
        self,
        table: Table,
        rule: Rule,
        before: RowData,
        values: RowData,
        document: OpenDocument | None,
    ) -> RowData:
        """The later steps of an update: policy on the result, row and document, change."""
        after = {**before, **values}
        table.check_required(after, "UPDATE_FAILED")
        if not (self._trusted or rule.allows(self._identity, after, before, self._lookup)):
            raise self._denied(rule, after, before)
        document_update = None
        if document is not None:
            values = document.write(values)
            after.update(values)
            document_update = await self._documents().save(self._tx, document)
        if values:
            try:
                await self._tx.execute(table.update(tuple(values)), (*values.values(), after["id"]))
            except ConstraintFailed as error:
                raise self._constraint(error, table, "UPDATE_FAILED") from error
        elif document_update is None:
            return after  # a client sent what the document had already
        await self._context.log.append(
            self._tx,
            entity=table.name,
            row_id=after["id"],
            kind="update",
            before=before,
            after=after,
            patch=values,
            document_update=document_update,
        )
        return after

    def _documents(self) -> Documents:
        if self._context.documents is None:
            raise PylonError(400, "NOT_SUPPORTED", "This server keeps no documents.")
        return self._context.documents

    def _row_id(self, data: Mapping[str, Any]) -> str:
        chosen = data.get("id")
        if isinstance(chosen, str) and is_well_formed_row_id(chosen):
            return chosen
        return self._context.ids.new()

    def _refuse_hopeless(self, rule: Rule) -> None:
        """403 at once where no row whatever could pass, before anything is looked at."""
        if not self._trusted and rule.where(self._identity).never:
            raise policy_denied()

    async def _stored(self, table: Table, row_id: str, rule: Rule) -> RowData:
        """The row that is to be changed, if the rule lets the caller change it.

        A row that the caller may not even read is answered like one that is not there.
        """
        found = await self._tx.fetch(table.select_one, (row_id,))
        if not found:
            raise not_found(table.name)
        row = table.decode(found[0])
        if self._trusted or rule.allows(self._identity, row, row, self._lookup):
            return row
        if self.can_read(table.name, row):
            raise self._denied(rule, row, row)
        raise not_found(table.name)

    def _denied(self, rule: Rule, data: RowData, existing: RowData | None) -> PylonError:
        name = rule.denied_by(self._identity, data, existing, self._lookup)
        log.info("policy %s denied a write", name)
        return policy_denied()

    def _constraint(self, error: ConstraintFailed, table: Table, code: str) -> PylonError:
        if error.columns == (f"{table.name}.id",):
            return PylonError(409, "ID_TAKEN", f"A row of {table.name} with this id exists.")
        return PylonError(400, code, str(error), "Another row has this value already.")
