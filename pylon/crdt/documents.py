"""The documents of an app: found, made, stored beside their rows, and kept in memory.

Everything happens inside a unit of the store's writer. The database is the truth: a document in
memory is used only while its number of updates is the database's, so whatever was rolled back, by
whomever, is loaded anew. A document that a failed unit has touched is marked and loaded anew too.

Documents that are quick to edit are edited here, on the loop. What may hold it is refused with
`TooHeavy` or `WorkNeeded`; `workshop.py` has it done and runs the unit again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from pylon import limits
from pylon.clock import Clock
from pylon.crdt.binding import document_class
from pylon.crdt.fields import MergeKind, RowData, document_fields
from pylon.crdt.open_document import Gained, Key, OpenDocument, Reserved, TooHeavy
from pylon.crdt.work import Job
from pylon.crdt.work_list import OutsideDocument, WorkList
from pylon.schema.model import EntitySpec
from pylon.store.base import Tx
from pylon.store.naming import load_queries
from pylon.store.system import load_steps

if TYPE_CHECKING:
    from pylon.crdt.row_document import Document

SQL = load_queries("pylon.crdt")

CRDT_TABLES: Final = load_steps("pylon.crdt")

UNKNOWN: Final = 1e9
"""The seconds that a document takes to load of which nobody knows."""

InHand: TypeAlias = OpenDocument | OutsideDocument
"""A document that a unit has in hand. Changes count once `Documents.save` has taken them."""


class Documents:
    """All documents of an app."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._peer = 0
        self._fields: dict[str, Mapping[str, MergeKind]] = {}
        self._has_any: dict[str, bool] = {}
        self._open: OrderedDict[Key, OpenDocument] = OrderedDict()
        self._open_bytes = 0
        self._costs: OrderedDict[Key, tuple[float, int]] = OrderedDict()
        """Seconds to load a document, and its `trimmed_bytes`, where somebody has found out."""
        self.reserved: set[Key] = set()
        """Documents on which somebody works who has been too slow before; others wait."""

    def __len__(self) -> int:
        return len(self._open)

    async def find(
        self, tx: Tx, spec: EntitySpec, row: RowData, work: WorkList | None = None
    ) -> InHand | None:
        """The document of a stored row; None when it has none, as most have.

        `work` is what was done for this write in earlier attempts.
        """
        if not spec.crdt or not await self._any_of(tx, spec.name):
            return None
        key = (spec.name, row["id"])
        found = await tx.fetch(SQL["newest"], key)
        if not found:
            return None
        newest: int = found[0][0]
        if work is not None and key in work.keys:
            return await self._outside(tx, key, spec, row, newest, work)
        if key in self.reserved:
            raise Reserved(key)
        known = self._open.get(key)
        if known is not None and known.settled and known.n == newest:
            self._open.move_to_end(key)
            return known
        return await self._load(tx, key, spec, row, newest)

    async def open(
        self, tx: Tx, spec: EntitySpec, row: RowData, work: WorkList | None = None
    ) -> InHand:
        """The document of a stored row, made from the row when it has none; then still unsaved."""
        found = await self.find(tx, spec, row, work)
        if found is not None:
            return found
        key = (spec.name, row["id"])
        if work is not None and key in work.keys:
            return await self._outside(tx, key, spec, row, 0, work)
        opened = self._new(key, spec)
        opened.write(_of_document(self._fields_of(spec), row))
        return opened

    async def save(self, tx: Tx, document: InHand) -> bytes | None:
        """Store what a document has gained, and return it for its readers; None for nothing.

        413 `CRDT_DOCUMENT_TOO_LARGE` when it is larger than a document may be.
        """
        gained = document.gain()
        if gained is not None:
            await self._store(tx, document.key, document.n, gained)
        if isinstance(document, OpenDocument):
            document.settled = True
            self._keep(document)
        else:
            self._drop(document.key)
            self._note(document.key, document.cost, document.trimmed_bytes)
        return None if gained is None else gained.update

    async def forget(self, tx: Tx, spec: EntitySpec, row_id: str) -> None:
        """Delete the document of a row that is deleted."""
        if not spec.crdt or not await self._any_of(tx, spec.name):
            return
        key = (spec.name, row_id)
        self._drop(key)
        if await tx.execute(SQL["forget_snapshot"], key):
            await tx.execute(SQL["forget_updates"], key)
            await tx.execute(SQL["forget_cost"], key)

    # --- storage -----------------------------------------------------------------------------

    async def _any_of(self, tx: Tx, entity: str) -> bool:
        known = self._has_any.get(entity)
        if known is None:
            known = self._has_any[entity] = bool(await tx.fetch(SQL["any_of_entity"], (entity,)))
        return known

    async def _load(
        self, tx: Tx, key: Key, spec: EntitySpec, row: RowData, newest: int
    ) -> OpenDocument:
        self._drop(key)
        cost, trimmed_bytes = self._costs.get(key, (None, 0))
        if cost is None:
            ((micros, size),) = await tx.fetch(SQL["weight"], key)
            if size > limits.DOCUMENT_INLINE_STORED_BYTES_MAX:
                cost = UNKNOWN if micros is None else micros / 1e6
        if cost is not None and cost > limits.DOCUMENT_INLINE_SECONDS_MAX:
            raise TooHeavy(key)
        opened = self._new(key, spec)
        opened.n = newest
        opened.trimmed_bytes = trimmed_bytes
        opened.load(*await self._stored(tx, key))
        opened.align(_of_document(self._fields_of(spec), row))
        return opened

    async def _outside(
        self, tx: Tx, key: Key, spec: EntitySpec, row: RowData, newest: int, work: WorkList
    ) -> OutsideDocument:
        self._class()
        fields = self._fields_of(spec)
        snapshot, updates = await self._stored(tx, key) if newest else (None, [])
        job = Job(
            key=key,
            fields=dict(fields),
            peer=self._peer,
            snapshot=snapshot,
            updates=updates,
            row=_of_document(fields, row),
            trimmed_bytes=self._costs.get(key, (0.0, 0))[1],
        )
        return OutsideDocument(job, newest, work)

    async def _stored(self, tx: Tx, key: Key) -> tuple[bytes, list[bytes]]:
        ((_, snapshot),) = await tx.fetch(SQL["snapshot"], key)
        return snapshot, [data for (data,) in await tx.fetch(SQL["updates"], key)]

    async def _store(self, tx: Tx, key: Key, n: int, gained: Gained) -> None:
        if gained.snapshot is None:
            await tx.execute(SQL["append"], (*key, n, gained.update))
            return
        at = f"{int(self._clock.now())}Z"
        await tx.execute(SQL["forget_updates"], key)
        await tx.execute(SQL["save_snapshot"], (*key, n, at, gained.snapshot))
        if gained.seconds is not None:
            await tx.execute(SQL["save_cost"], (*key, int(gained.seconds * 1e6)))
        self._has_any[key[0]] = True

    # --- memory ------------------------------------------------------------------------------

    def _new(self, key: Key, spec: EntitySpec) -> OpenDocument:
        fields = self._fields_of(spec)
        return OpenDocument(key, self._class()(fields, self._peer), is_inline=True)

    def _class(self) -> type[Document]:
        """The class of documents, with this process as one of their editors."""
        document = document_class()
        if not self._peer:
            self._peer = document.new_peer()
        return document

    def _fields_of(self, spec: EntitySpec) -> Mapping[str, MergeKind]:
        fields = self._fields.get(spec.name)
        if fields is None:
            fields = self._fields[spec.name] = document_fields(spec)
        return fields

    def _keep(self, opened: OpenDocument) -> None:
        """Put a saved document into memory, and let the stalest go. One that took long is left to
        a process from now on."""
        self._drop(opened.key)
        if opened.seconds > limits.DOCUMENT_INLINE_SECONDS_MAX:
            self._note(opened.key, opened.seconds, opened.trimmed_bytes)
            return
        opened.seconds = 0.0
        self._open[opened.key] = opened
        opened.counted_bytes = opened.size
        self._open_bytes += opened.counted_bytes
        while len(self._open) > 1 and (
            len(self._open) > limits.DOCUMENTS_OPEN_MAX
            or self._open_bytes > limits.DOCUMENTS_OPEN_BYTES_MAX
        ):
            self._drop(next(iter(self._open)))

    def _drop(self, key: Key) -> None:
        dropped = self._open.pop(key, None)
        if dropped is not None:
            self._open_bytes -= dropped.counted_bytes

    def _note(self, key: Key, seconds: float, trimmed_bytes: int) -> None:
        self._costs[key] = (seconds, trimmed_bytes)
        self._costs.move_to_end(key)
        if len(self._costs) > limits.DOCUMENT_COSTS_KEPT_MAX:
            self._costs.popitem(last=False)


def _of_document(fields: Mapping[str, MergeKind], row: RowData) -> RowData:
    return {name: row[name] for name in fields}
