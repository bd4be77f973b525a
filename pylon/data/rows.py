"""The one door to rows: reads under the read policy, and the way into a `Transaction`.

REST, sync, functions and jobs all come through here. Policies are part of the SQL, so a list
shows exactly the rows that a get would, and nothing is fetched to be dropped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from pylon.changes.model import RowData
from pylon.crdt.open_document import TooHeavy
from pylon.crdt.work_list import WorkList, WorkNeeded
from pylon.crdt.workshop import NotYet
from pylon.data.changed import CHANGED, Changed
from pylon.data.context import Context
from pylon.data.door import ReadDoor
from pylon.data.once import Kept, Ticket, current, do_once
from pylon.data.write import Transaction, Work
from pylon.identity import Identity
from pylon.schema.model import Manifest
from pylon.store.base import Tx, Unit

T = TypeVar("T")


_ID: Final[Kept[RowData]] = Kept(pack=lambda row: row["id"], unpack=lambda row_id: {"id": row_id})

_NOTHING: Final[Kept[None]] = Kept(pack=lambda _: None, unpack=lambda _: None)


class Rows(Context):
    """The rows of one app, with the doors to them. `door` and what is taken from it read from the
    latest commit."""

    def __post_init__(self, manifest: Manifest) -> None:
        super().__post_init__(manifest)
        self.door = ReadDoor(self)
        self.get, self.list, self.page = self.door.get, self.door.list, self.door.page
        self.list_or_long = self.door.list_or_long

    # --- writes ------------------------------------------------------------------------------

    async def write(
        self,
        identity: Identity,
        work: Callable[[Transaction], Awaitable[T]],
        *,
        trusted: bool = False,
        kept: Kept[T] | None = None,
        changed: Changed | None = None,
    ) -> T:
        """Run `work` in a transaction of its own and return its result after the commit.

        Where `kept` says how its result is kept, and the request that it is for has a key, it is
        done once, and the result is what `kept` makes of it. `changed` is told where its last
        change stands in the log; without, whoever asks in `CHANGED` is.

        Work on documents that would hold the loop is done between two attempts, outside of any
        transaction; see `Workshop.write` for what that may refuse.
        """
        if kept is not None and (ticket := current()) is not None:
            return await self._write_once(identity, work, kept, ticket, changed)
        if changed is None:
            changed = CHANGED.get()

        def unit_with(done: WorkList | None) -> Unit[T]:
            async def unit(tx: Tx) -> T:
                first = tx.next_seq
                try:
                    result = await work(Transaction(self, tx, identity, trusted=trusted, work=done))
                except (TooHeavy, WorkNeeded) as needed:
                    raise NotYet(needed) from None
                if changed is not None and tx.next_seq > first:
                    changed.seq = tx.next_seq - 1  # Who asked reads it after the commit.
                return result

            return unit

        seconds = self.unit_seconds
        try:
            return await self.store.write(unit_with(None), compute_seconds=seconds)
        except NotYet as not_yet:
            documents = self.documents
            reserved = set() if documents is None else documents.reserved
            return await self.workshop.write(
                identity,
                lambda done: self.store.write(unit_with(done), compute_seconds=seconds),
                not_yet,
                reserved,
            )

    async def _write_once(
        self,
        identity: Identity,
        work: Callable[[Transaction], Awaitable[T]],
        kept: Kept[T],
        ticket: Ticket,
        changed: Changed | None,
    ) -> T:
        number, ticket.units = ticket.units, ticket.units + 1
        now = self.clock.now()
        was_done, result = await self.write(
            identity, lambda tx: do_once(tx, ticket, number, now, work, kept), changed=changed
        )
        ticket.repeated += was_done
        return result

    def insert(
        self, identity: Identity, entity: str, data: object, changed: Changed | None = None
    ) -> Work[RowData]:
        """Insert one row; see `Transaction.insert`. Of one that a key says is done, its id."""
        return self.write(identity, lambda tx: tx.insert(entity, data), kept=_ID, changed=changed)

    def update(
        self,
        identity: Identity,
        entity: str,
        row_id: str,
        patch: object,
        changed: Changed | None = None,
    ) -> Work[RowData]:
        """Update one row; see `Transaction.update`. Of one that a key says is done, its id."""
        return self.write(
            identity, lambda tx: tx.update(entity, row_id, patch), kept=_ID, changed=changed
        )

    def delete(
        self, identity: Identity, entity: str, row_id: str, changed: Changed | None = None
    ) -> Work[None]:
        """Delete one row; see `Transaction.delete`."""
        return self.write(
            identity, lambda tx: tx.delete(entity, row_id), kept=_NOTHING, changed=changed
        )
