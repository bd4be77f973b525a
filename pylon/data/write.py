"""The one way to write a row: every door of the server ends here (design idea 2).

The steps of each operation stand in order in its method: look at the stored row, before-hooks,
values, policy on what is and on what would be, apply, append the change, note it for hooks of
commits, after-hooks. All of it happens inside one unit of the store's writer, so it is atomic and
serial; the commit publishes the change. What a caller hands in is never changed: a unit may run
again.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias, TypeVar

from pylon import limits
from pylon.changes.model import Change, RowData
from pylon.clock import iso_seconds
from pylon.crdt.documents import Documents, InHand
from pylon.crdt.work_list import WorkList
from pylon.data import outbox
from pylon.data.cascade import Following, farthest, follow
from pylon.data.context import Context
from pylon.data.errors import hooks_too_deep, not_found, policy_denied
from pylon.data.references import (
    Debts,
    Reference,
    RowName,
    is_there,
    not_there,
)
from pylon.data.table import Table
from pylon.errors import PylonError
from pylon.hooks import Committed, WriteHook
from pylon.identity import Identity
from pylon.ids import is_well_formed_row_id, kept_spelling, other_spellings
from pylon.policy.engine import Rule
from pylon.policy.lookup import NOTHING, Lookup
from pylon.policy.slots import Slot
from pylon.store.base import ConstraintFailed, Tx, Value

log = logging.getLogger("pylon.data")

T = TypeVar("T")

Work: TypeAlias = Coroutine[Any, Any, T]


class Transaction:
    """Writes of one caller inside one unit.

    `trusted` is for the server's own code (sign-up, functions, hooks): policies are not asked and
    private fields may be written. `at_hand` are the rows of writes that are under way, whose
    before-hooks this transaction is for. `work` is what was done on documents, in earlier attempts,
    for the write that this is an attempt of.
    """

    __slots__ = (
        *("_at_hand", "_context", "_debts", "_depth", "_followed", "_identity", "_lookup"),
        *("_trusted", "_tx", "_work", "gone"),
    )

    def __init__(
        self,
        context: Context,
        tx: Tx,
        identity: Identity,
        *,
        trusted: bool = False,
        depth: int = 0,
        at_hand: tuple[RowName, ...] = (),
        work: WorkList | None = None,
    ) -> None:
        self._context = context
        self._tx = tx
        self._lookup = NOTHING
        self._identity = identity
        self._trusted = trusted or identity.is_admin
        self._depth = depth
        self._at_hand = at_hand
        self._work = work
        self._debts: Debts | None = None
        self._followed = 0
        self.gone: set[RowName] = set()
        """Rows that went because rows that they named did."""

    # --- joining -----------------------------------------------------------------------------

    @property
    def tx(self) -> Tx:
        """The unit that all this happens in, for parts with tables of their own."""
        return self._tx

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """A part of the unit that is undone alone when its block raises; see `Tx.savepoint`."""
        return self._tx.savepoint()

    async def enlist(self, sql: str, params: Sequence[Value] = ()) -> int:
        """Run a statement on a table that is no entity's, to be committed or undone with the rest:
        a job, an entry of an outbox, an operation that is done. The number of rows it changed."""
        return await self._tx.execute(sql, params)

    # --- rows --------------------------------------------------------------------------------

    async def get(self, entity: str, row_id: str) -> RowData | None:
        """The stored row, all fields, whatever the read policy says; None when there is none."""
        return await self._row(self._context.table(entity), row_id)

    async def can_read(self, entity: str, row: RowData) -> bool:
        """Whether the caller may see this row, as the database stands in this transaction."""
        rule = self._context.policies.entity(entity).read
        if rule.asked:
            await self._gather(rule, row, None)
        return rule.allows(self._identity, row, None, self._lookup)

    def insert(self, entity: str, data: Any, *, row_id: str | None = None) -> Work[RowData]:
        """Insert a row and return it as stored.

        An `id` in the data is kept where it is well-formed (40 hex or UUID v4/v7), else replaced.
        `row_id` is the id whatever its form: of a row that was stored before.
        """
        table = self._context.table(entity)
        write = self._insert(table, entity, data, row_id)
        return self._undoable(write) if table.hooks.are_in_unit else write

    async def _insert(self, table: Table, entity: str, data: Any, row_id: str | None) -> RowData:
        hooks = table.hooks
        rule = self._context.policies.entity(entity).insert
        self._refuse_hopeless(table, "insert", rule)
        if table.stamps and not self._trusted and isinstance(data, dict):
            data = table.without_stamps(data)
        table.check_keys(data, trusted=self._trusted, is_insert=True)
        if hooks.before_insert:
            data = await self._ask(hooks.before_insert, table, None, data)
        values = table.check_values(data, sees_private=self._trusted, is_insert=True)
        if table.references:
            values = await self._as_stored(table, values)
        if table.defaults:
            table.fill_defaults(values, self._identity, iso_seconds(self._context.clock.now()))
        table.check_required(values, "INSERT_FAILED", sees_private=self._trusted)
        if row_id is None:
            row_id = await self._new_id(table, data) if "id" in data else self._context.ids.new()
        after: RowData = {"id": row_id, **table.blank, **values}
        if rule.asked and not self._trusted:
            await self._gather(rule, after, None)
        if not (self._trusted or rule.allows(self._identity, after, None, self._lookup)):
            raise await self._denied(table, "insert", rule, after, None)
        if table.checked:
            await self._check_keys(table, after, None)
        try:
            await self._tx.execute(table.insert, table.columns_of(after))
        except ConstraintFailed as error:
            raise self._constraint(error, table, "INSERT_FAILED") from error
        change = await self._context.log.append(
            self._tx, entity=entity, row_id=row_id, kind="insert", before=None, after=after
        )
        if hooks.after_insert or hooks.committed:
            await self._tell(hooks.after_insert, hooks.committed, change, after)
        return after

    def update(self, entity: str, row_id: str, patch: Any) -> Work[RowData]:
        """Change fields of a row and return it as stored; 404 `NOT_FOUND` without such a row.

        The update rule must hold for the stored row and for the resulting one.
        """
        table = self._context.table(entity)
        write = self._update(table, entity, row_id, patch)
        return self._undoable(write) if table.hooks.are_in_unit else write

    async def _update(self, table: Table, entity: str, row_id: str, patch: Any) -> RowData:
        hooks = table.hooks
        rule = self._context.policies.entity(entity).update
        self._refuse_hopeless(table, "update", rule)
        if table.stamps and not self._trusted and isinstance(patch, dict):
            patch = table.without_stamps(patch)
        table.check_keys(patch, trusted=self._trusted)
        before = await self._stored(table, row_id, "update", rule)
        if not self._trusted:
            table.check_fixed(patch, before)
        if hooks.before_update:
            patch = await self._ask(hooks.before_update, table, before, patch)
        values = table.check_values(patch, sees_private=self._trusted)
        if table.references:
            values = await self._as_stored(table, values)
        if not values:
            raise PylonError(404, "NOT_FOUND", "The body names no field to change.")
        document = None
        if self._context.documents is not None:
            document = await self._context.documents.find(self._tx, table.spec, before, self._work)
        return await self._change(table, rule, before, values, document)

    def merge(self, entity: str, row_id: str, update: bytes) -> Work[RowData]:
        """Merge a client's document update and return the row as stored (spec 03 section 3.3).

        What it changes in the row is an update like any other. `Document.merge` lists the errors
        of the document itself; whatever is refused, nothing of it is kept.
        """
        table = self._context.table(entity)
        write = self._merge(table, entity, row_id, update)
        return self._undoable(write) if table.hooks.are_in_unit else write

    async def _merge(self, table: Table, entity: str, row_id: str, update: bytes) -> RowData:
        hooks = table.hooks
        rule = self._context.policies.entity(entity).update
        self._refuse_hopeless(table, "update", rule)
        before = await self._stored(table, row_id, "update", rule)
        documents = self._shared_documents(entity)
        document = await documents.open(self._tx, table.spec, before, self._work)
        patch = document.merge(update)
        if not self._trusted:
            table.check_fixed(patch, before)
            # What a client has set of these goes back to what it was, in the document too.
            patch |= {name: before[name] for name in table.stamps & patch.keys()}
        if patch and hooks.before_update:
            wanted = await self._ask(hooks.before_update, table, before, patch)
            # What a hook has taken out stays as it was, in the document too.
            patch = {**{name: before[name] for name in patch if name not in wanted}, **wanted}
        values = table.check_values(patch, sees_private=self._trusted)
        return await self._change(table, rule, before, values, document)

    async def snapshot(self, entity: str, row_id: str) -> tuple[bytes, bytes | None] | None:
        """The row's document, made now if it has none; None where the caller may not see the row.

        The second value is what the document gained by being brought in line with the row, for
        others who follow it; nearly always None.
        """
        table = self._context.table(entity)
        # By the id as it is stored and no other spelling: what follows is sent under that id.
        found = await self._tx.fetch(table.select_one, (row_id,))
        if not found:
            return None
        row = table.decode(found[0])
        if not await self.can_read(entity, row):
            return None
        documents = self._shared_documents(entity)
        document = await documents.open(self._tx, table.spec, row, self._work)
        update = await documents.save(self._tx, document)
        return document.snapshot(), update

    def delete(self, entity: str, row_id: str) -> Work[None]:
        """Delete a row; 404 `NOT_FOUND` without such a row."""
        table = self._context.table(entity)
        follows = entity in self._context.referrers
        write = self._delete(table, row_id, follows=follows)
        return self._undoable(write) if follows or table.hooks.are_in_unit else write

    def delete_alone(self, entity: str, row_id: str) -> Work[None]:
        """The same whatever names the row, for who deletes everything."""
        table = self._context.table(entity)
        write = self._delete(table, row_id, follows=False)
        return self._undoable(write) if table.hooks.are_in_unit else write

    async def _delete(self, table: Table, row_id: str, *, follows: bool) -> None:
        rule = self._context.policies.entity(table.name).delete
        self._refuse_hopeless(table, "delete", rule)
        before = await self._stored(table, row_id, "delete", rule)
        if table.hooks.before_delete:
            await self._ask(table.hooks.before_delete, table, before, {})
        if follows:
            # The rule of this row was asked; of those that follow it, the app has said what
            # becomes of them, whoever may see them.
            went = await self._follow([(table.name, before["id"])])
            # Hooks of what went may have changed it.
            latest = await self._row(table, before["id"]) if went.count else before
            if latest is None:
                return
            before = latest
        await self._remove(table, before)

    async def _remove(self, table: Table, before: RowData) -> None:
        """The later steps of a delete: row and document, change."""
        hooks, entity, row_id = table.hooks, table.name, before["id"]
        if not await self._tx.execute(table.delete, (row_id,)):
            return  # an after-hook of a row that went with it was quicker
        if self._context.documents is not None:
            await self._context.documents.forget(self._tx, table.spec, row_id)
        change = await self._context.log.append(
            self._tx, entity=entity, row_id=row_id, kind="delete", before=before, after=None
        )
        if hooks.after_delete or hooks.committed:
            await self._tell(hooks.after_delete, hooks.committed, change, {})

    # --- rows that name others ---------------------------------------------------------------

    def defer_keys(self) -> Debts:
        """From now on a key may name a row that comes later in the unit; see `unpaid`."""
        self._debts = Debts()
        return self._debts

    async def unpaid(self) -> list[tuple[int, PylonError]]:
        """The parts of the unit with keys whose rows have not come, each key with its refusal. For
        the end of the unit, which must not be committed with one."""
        assert self._debts is not None
        found = await self._debts.unpaid(self._tx)
        return [(part, not_there(each, sees_private=self._trusted)) for part, each in found]

    async def _check_keys(self, table: Table, after: RowData, before: RowData | None) -> None:
        """400 `REFERENCE_NOT_FOUND` for a key that names a row which is not there. One that was so
        before is left alone: a row may be older than the promise."""
        for reference in table.checked:
            key = after[reference.field]
            if key is None or (before is not None and before[reference.field] == key):
                continue
            if reference.target == table.name and key == after["id"]:
                continue
            if not await is_there(self._tx, reference, key):
                if self._debts is None:
                    raise not_there(reference, sees_private=self._trusted)
                self._debts.owe(reference, after["id"], key)

    async def delete_part(self, entity: str, row_id: str, most: int) -> tuple[bool, int]:
        """Delete or change some of what would follow when a row goes, the farthest first; whether
        that was all, and how many rows it was. For the server, where it is too much for one unit;
        asks no policy."""
        found, is_all = await farthest(
            self._tx, self._context.referrers, (entity, row_id), most=most
        )
        await found.carry_out(self._as_server())
        self.gone.update(found.rows)
        touched = {name for name, _ in found.rows} | {each.entity for each, _ in found.keys}
        if any(map(self._has_hooks, touched)):
            await self._follow(found.rows)
        return is_all, found.count

    async def _follow(self, going: Sequence[RowName]) -> Following:
        """Do what follows when these rows go, within what is left for the unit."""
        went = await follow(
            self._tx,
            self._context.referrers,
            going,
            self._as_server(),
            has_hooks=self._has_hooks,
            most=limits.CASCADE_ROWS_MAX - self._followed,
        )
        self._followed += went.count
        self.gone.update(went.rows)
        return went

    async def remove_follower(self, entity: str, row_id: str) -> None:
        """Delete a row because the row that it names goes: as any other delete, but that its rule
        is not asked, and that what follows from it is known."""
        table = self._context.table(entity)
        before = await self._row(table, row_id)
        if before is None:
            return  # a hook was quicker
        self._refuse_at_hand(table, before)
        if table.hooks.before_delete:
            await self._ask(table.hooks.before_delete, table, before, {})
        await self._remove(table, before)

    async def empty_key(self, reference: Reference, row_id: str) -> None:
        """Take a key out of a row because the row that it names goes; hooks may add to that."""
        table = self._context.table(reference.entity)
        before = await self._row(table, row_id)
        if before is None:
            return  # a hook was quicker
        self._refuse_at_hand(table, before)
        patch: RowData = {reference.field: None}
        if table.hooks.before_update:
            patch = await self._ask(table.hooks.before_update, table, before, patch)
        values = {**table.check_values(patch), reference.field: None}
        document = None
        if self._context.documents is not None:
            document = await self._context.documents.find(self._tx, table.spec, before, self._work)
        rule = self._context.policies.entity(table.name).update
        await self._change(table, rule, before, values, document)

    def _has_hooks(self, entity: str) -> bool:
        return self._context.table(entity).hooks.are_in_unit

    def _as_server(self) -> Transaction:
        """The same caller in the same unit, whom no policy is asked about."""
        if self._trusted:
            return self
        return Transaction(
            self._context,
            self._tx,
            self._identity,
            trusted=True,
            depth=self._depth,
            at_hand=self._at_hand,
            work=self._work,
        )

    # --- parts -------------------------------------------------------------------------------

    async def _change(
        self,
        table: Table,
        rule: Rule,
        before: RowData,
        values: RowData,
        document: InHand | None,
    ) -> RowData:
        """The later steps of an update: policy on the result, row and document, change."""
        if values and table.stamps:
            values = table.stamped(values, before, iso_seconds(self._context.clock.now()))
        after = {**before, **values}
        table.check_required(after, "UPDATE_FAILED", sees_private=self._trusted)
        if not table.summed.isdisjoint(values):
            table.check_size(after, sees_private=self._trusted)
        if rule.asked and not self._trusted:
            await self._gather(rule, after, before)
        if not (self._trusted or rule.allows(self._identity, after, before, self._lookup)):
            raise await self._denied(table, "update", rule, after, before)
        document_update = None
        if document is not None:
            values = document.write(values)
            after.update(values)
        if table.checked:
            await self._check_keys(table, after, before)
        if document is not None:
            document_update = await self._documents().save(self._tx, document)
        if values:
            written = table.written(values)
            try:
                await self._tx.execute(
                    table.update(tuple(written)), (*table.bind(written), after["id"])
                )
            except ConstraintFailed as error:
                raise self._constraint(error, table, "UPDATE_FAILED") from error
        elif document_update is None:
            return after  # a client sent what the document had already
        change = await self._context.log.append(
            self._tx,
            entity=table.name,
            row_id=after["id"],
            kind="update",
            before=before,
            after=after,
            patch=values,
            document_update=document_update,
        )
        hooks = table.hooks
        if values and (hooks.after_update or hooks.committed):
            await self._tell(hooks.after_update, hooks.committed, change, values)
        return after

    # --- hooks -------------------------------------------------------------------------------

    async def _undoable(self, write: Work[T]) -> T:
        """The write, undone alone if it fails: hooks may write or refuse in its midst."""
        async with self._tx.savepoint():
            return await write

    async def _ask(
        self, hooks: Sequence[WriteHook], table: Table, before: RowData | None, data: RowData
    ) -> RowData:
        """Let before-hooks refuse or change a copy of the data; they may set any field there is."""
        data = dict(data)
        at_hand = self._at_hand if before is None else (*self._at_hand, (table.name, before["id"]))
        inner = self._inner(at_hand)
        for hook in hooks:
            seen = None if before is None else dict(before)
            await hook(inner, self._identity, table.name, seen, data)
        table.check_keys(data, trusted=True, sees_private=self._trusted)
        return data

    async def _tell(
        self,
        hooks: Sequence[WriteHook],
        committed: Sequence[Committed],
        change: Change,
        data: RowData,
    ) -> None:
        """Note the change for hooks of commits, then let after-hooks write more, or refuse."""
        for each in committed:
            if change.kind in each.kinds:
                await outbox.put(self._tx, each.name, change, self._identity, data)
        inner = self._inner(self._at_hand) if hooks else self
        for hook in hooks:
            seen = None if change.before is None else dict(change.before)
            await hook(inner, self._identity, change.entity, seen, dict(data))

    def _inner(self, at_hand: tuple[RowName, ...]) -> Transaction:
        """The transaction for hooks: in the same unit, as the same caller, trusted."""
        if self._depth >= limits.HOOK_DEPTH_MAX:
            raise hooks_too_deep()
        return Transaction(
            self._context,
            self._tx,
            self._identity,
            trusted=True,
            depth=self._depth + 1,
            at_hand=at_hand,
            work=self._work,
        )

    def _documents(self) -> Documents:
        if self._context.documents is None:
            raise PylonError(400, "NOT_SUPPORTED", "This server keeps no documents.")
        return self._context.documents

    def _shared_documents(self, entity: str) -> Documents:
        """The documents, for those who may hold one: it goes whole to who reads its row."""
        if not self._trusted and self._context.table(entity).hooks.filters:
            raise PylonError(
                400,
                "NOT_SUPPORTED",
                f"Rows of {entity} have no documents: a read filter decides what is seen of them.",
            )
        return self._documents()

    async def _new_id(self, table: Table, data: Mapping[str, Any]) -> str:
        """The id that the caller chose, or a fresh one; 409 where its row is there in another
        spelling."""
        chosen = data.get("id")
        if not (isinstance(chosen, str) and is_well_formed_row_id(chosen)):
            return self._context.ids.new()
        kept = kept_spelling(chosen)
        for other in other_spellings(kept):
            if await self._tx.fetch(table.select_one, (other,)):
                raise self._id_taken(table)
        return kept

    @staticmethod
    def _id_taken(table: Table) -> PylonError:
        return PylonError(409, "ID_TAKEN", f"A row of {table.name} with this id exists.")

    async def _row(self, table: Table, row_id: str) -> RowData | None:
        """The stored row, also where its id is a UUID that is written in another way."""
        found = await self._tx.fetch(table.select_one, (row_id,))
        for other in () if found else other_spellings(row_id):
            found = found or await self._tx.fetch(table.select_one, (other,))
        return table.decode(found[0]) if found else None

    async def _as_stored(self, table: Table, values: RowData) -> RowData:
        """The values with the ids of rows as those are stored, where they are UUIDs in capitals:
        so that what joins and policies compare is alike."""
        for name in table.references.keys() & values.keys():
            value = values[name]
            if not isinstance(value, str) or value == value.lower() or not other_spellings(value):
                continue
            target = await self._row(self._context.table(table.references[name]), value)
            if target is not None:
                values[name] = target["id"]
        return values

    def _refuse_hopeless(self, table: Table, slot: Slot, rule: Rule) -> None:
        """403 at once where no row whatever could pass, before anything is looked at."""
        if not self._trusted and rule.is_hopeless(self._identity):
            raise policy_denied(self._context.why_none(table.name, slot, self._identity))

    async def _gather(self, rule: Rule, data: RowData, existing: RowData | None) -> None:
        """Fetch what a rule that has `asked` needs to judge these rows, within what is left for
        the unit."""
        if self._lookup is NOTHING:
            self._lookup = Lookup(self._tx.fetch, is_of_unit=True)
        await self._lookup.gather(rule, self._identity, [(data, existing)])

    async def _stored(self, table: Table, row_id: str, slot: Slot, rule: Rule) -> RowData:
        """The row that is to be changed, if the rule lets the caller change it.

        A row that the caller may not even read is answered like one that is not there.
        """
        row = await self._row(table, row_id)
        if row is None:
            raise not_found(table.name)
        self._refuse_at_hand(table, row)
        if rule.asked and not self._trusted:
            await self._gather(rule, row, row)
        if self._trusted or rule.allows(self._identity, row, row, self._lookup):
            return row
        denied = await self._denied(table, slot, rule, row, row)
        if await self.can_read(table.name, row):
            raise denied
        raise not_found(table.name, await self._why(table, "read", row, None))

    def _refuse_at_hand(self, table: Table, row: RowData) -> None:
        """500 for a row whose before-hooks are running."""
        if (table.name, row["id"]) in self._at_hand:
            raise PylonError(
                500,
                "HOOK_WROTE_ITS_ROW",
                f"A before-hook of {table.name} has written the row that it was asked about.",
                "Change the data that the hook is given, or write in an after-hook.",
            )

    async def _denied(
        self, table: Table, slot: Slot, rule: Rule, data: RowData, existing: RowData | None
    ) -> PylonError:
        name = rule.denied_by(self._identity, data, existing, self._lookup)
        log.info("policy %s denied a write", name)
        return policy_denied(await self._why(table, slot, data, existing))

    async def _why(
        self, table: Table, slot: Slot, data: RowData, existing: RowData | None
    ) -> str | None:
        """Why a policy says no, where callers are told."""
        denials, who = self._context.denials, self._identity
        if denials is None:
            return None
        return await denials.why(table.name, slot, who, data, existing, self._tx.fetch)

    def _constraint(self, error: ConstraintFailed, table: Table, code: str) -> PylonError:
        if error.columns == (f"{table.name}.id",):
            return self._id_taken(table)
        named = [column.rpartition(".")[2] for column in error.columns]
        if error.index is not None:
            named = table.fields_of_index(error.index)
            columns = tuple(f"{table.name}.{name}" for name in named)
            error = ConstraintFailed(error.kind, columns)
        if not self._trusted and not table.private.isdisjoint(named):
            return PylonError(400, code, f"Another row of {table.name} is in the way.")
        hint = "Another row has this value already."
        fields = [{"field": n, "code": "NOT_UNIQUE", "message": "is taken"} for n in named]
        return PylonError(400, code, str(error), hint, fields=fields)
