"""The documents of an app: found, made, stored beside their rows, and kept in memory.

Everything happens inside a unit of the store's writer. The database is the truth: a document in
memory is used only while its number of updates is the database's, so whatever was rolled back, by
whomever, is loaded anew. A document that a failed unit has touched is marked and loaded anew too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Final

from pylon import limits
from pylon.clock import Clock
from pylon.crdt.binding import document_class
from pylon.crdt.fields import MergeKind, RowData, document_fields
from pylon.errors import PylonError
from pylon.schema.model import EntitySpec
from pylon.store.base import Tx
from pylon.store.naming import load_queries
from pylon.store.system import load_steps

if TYPE_CHECKING:
    from loro import Frontiers

    from pylon.crdt.row_document import Document

SQL = load_queries("pylon.crdt")

CRDT_TABLES: Final = load_steps("pylon.crdt")

Key = tuple[str, str]


class OpenDocument:
    """A document that a unit has in hand. Changes count once `Documents.save` has taken them."""

    __slots__ = (
        "_document",
        "_snapshot",
        "counted_bytes",
        "key",
        "mark",
        "n",
        "settled",
        "snapshot_bytes",
        "tail_bytes",
        "tail_count",
        "tail_seconds",
        "trimmed_bytes",
    )

    def __init__(self, key: Key, document: Document) -> None:
        self.key = key
        self._document = document
        self._snapshot: bytes | None = None
        self.n = 0
        """Updates so far; 0 for one that is not stored yet."""
        self.mark: Frontiers | None = None
        """The version of the stored snapshot."""
        self.settled = True
        """Whether memory holds just what was saved."""
        self.snapshot_bytes = 0
        self.tail_bytes = 0
        self.tail_count = 0
        self.tail_seconds = 0.0
        """What the imports of the tail have taken, and will take again."""
        self.trimmed_bytes = 0
        """Size of the last snapshot without old history."""
        self.counted_bytes = 0
        """What it counts for among the documents in memory."""

    @property
    def size(self) -> int:
        """Bytes that it takes in storage."""
        return self.snapshot_bytes + self.tail_bytes

    def load(self, snapshot: bytes, updates: list[bytes]) -> None:
        """Fill it from storage."""
        self.mark = self._document.load(snapshot, updates)
        self.snapshot_bytes = len(snapshot)
        self.tail_bytes = sum(map(len, updates))
        self.tail_count = len(updates)

    def write(self, values: Mapping[str, object]) -> RowData:
        """Set fields of the row; the values as the row should keep them."""
        self.settled = False
        return self._document.write(values)

    def merge(self, update: bytes) -> RowData:
        """Import a client's update; what it changed (see `Document.merge`)."""
        self.settled = False
        started = perf_counter()
        merged = self._document.merge(update)
        self.tail_seconds += perf_counter() - started
        return merged

    def take_update(self) -> bytes | None:
        update = self._document.take_update()
        if update is not None:
            self._snapshot = None
        return update

    def snapshot(self) -> bytes:
        """The whole document; made once for all who ask between two changes."""
        if self._snapshot is None:
            self._snapshot = self._document.snapshot()
        return self._snapshot

    def compact(self) -> bytes:
        """A snapshot to store, without old history when that has grown large.

        What is cut off is older than the last stored snapshot, so that clients which were away for
        a little while can still merge. Where that does not help, since an edit made after that
        snapshot builds on a version long before it, all history goes.
        """
        snapshot = self._document.snapshot()
        bound = max(limits.DOCUMENT_HISTORY_BYTES_MAX, 2 * self.trimmed_bytes)
        if len(snapshot) > bound and self.mark is not None:
            shallow = self._document.shallow_snapshot(self.mark)
            if len(shallow) > len(snapshot) // 2:
                shallow = self._document.shallow_snapshot(self._document.version)
            self.trimmed_bytes = len(shallow)
            if len(shallow) < len(snapshot):
                snapshot = shallow
                self._document = self._document.reloaded(shallow)
        self.mark = self._document.version
        self._snapshot = snapshot
        self.snapshot_bytes, self.tail_bytes, self.tail_count = len(snapshot), 0, 0
        self.tail_seconds = 0.0
        return snapshot


class Documents:
    """All documents of an app."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._peer = 0
        self._fields: dict[str, Mapping[str, MergeKind]] = {}
        self._has_any: dict[str, bool] = {}
        self._open: OrderedDict[Key, OpenDocument] = OrderedDict()
        self._open_bytes = 0

    def __len__(self) -> int:
        return len(self._open)

    async def find(self, tx: Tx, spec: EntitySpec, row: RowData) -> OpenDocument | None:
        """The document of a stored row; None when it has none, as most have."""
        if not spec.crdt or not await self._any_of(tx, spec.name):
            return None
        key = (spec.name, row["id"])
        found = await tx.fetch(SQL["newest"], key)
        if not found:
            return None
        known = self._open.get(key)
        if known is not None and known.settled and known.n == found[0][0]:
            self._open.move_to_end(key)
            return known
        return await self._load(tx, key, spec, row, found[0][0])

    async def open(self, tx: Tx, spec: EntitySpec, row: RowData) -> OpenDocument:
        """The document of a stored row, made from the row when it has none; then still unsaved."""
        found = await self.find(tx, spec, row)
        if found is not None:
            return found
        opened = self._new((spec.name, row["id"]), spec)
        opened.write(_of_document(self._fields_of(spec), row))
        return opened

    async def save(self, tx: Tx, opened: OpenDocument) -> bytes | None:
        """Store what a document has gained, and return it for its readers; None for nothing.

        413 `CRDT_DOCUMENT_TOO_LARGE` when it is larger than a document may be.
        """
        update = opened.take_update()
        if update is not None:
            await self._store(tx, opened, update)
        opened.settled = True
        self._keep(opened)
        return update

    async def forget(self, tx: Tx, spec: EntitySpec, row_id: str) -> None:
        """Delete the document of a row that is deleted."""
        if not spec.crdt or not await self._any_of(tx, spec.name):
            return
        key = (spec.name, row_id)
        self._drop(key)
        if await tx.execute(SQL["forget_snapshot"], key):
            await tx.execute(SQL["forget_updates"], key)

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
        opened = self._new(key, spec)
        ((_, snapshot),) = await tx.fetch(SQL["snapshot"], key)
        updates = [data for (data,) in await tx.fetch(SQL["updates"], key)]
        opened.n = newest
        opened.load(snapshot, updates)
        # The row is the truth where the two differ: a field that is new in the schema, or a time
        # when the entity had no documents.
        opened.write(_of_document(self._fields_of(spec), row))
        await self.save(tx, opened)
        return opened

    async def _store(self, tx: Tx, opened: OpenDocument, update: bytes) -> None:
        opened.n += 1
        opened.tail_bytes += len(update)
        opened.tail_count += 1
        is_due = (
            opened.n == 1
            or opened.tail_count > limits.DOCUMENT_UPDATES_MAX
            or opened.tail_seconds > limits.DOCUMENT_TAIL_SECONDS_MAX
            or opened.tail_bytes > max(limits.DOCUMENT_TAIL_BYTES_MAX, opened.snapshot_bytes)
        )
        if not is_due:
            await tx.execute(SQL["append"], (*opened.key, opened.n, update))
            return
        snapshot = opened.compact()
        if len(snapshot) > limits.DOCUMENT_BYTES_MAX:
            raise PylonError(
                413,
                "CRDT_DOCUMENT_TOO_LARGE",
                f"A document may take {limits.DOCUMENT_BYTES_MAX} bytes.",
            )
        at = f"{int(self._clock.now())}Z"
        await tx.execute(SQL["forget_updates"], opened.key)
        await tx.execute(SQL["save_snapshot"], (*opened.key, opened.n, at, snapshot))
        self._has_any[opened.key[0]] = True

    # --- memory ------------------------------------------------------------------------------

    def _new(self, key: Key, spec: EntitySpec) -> OpenDocument:
        fields = self._fields_of(spec)
        document = document_class()
        if not self._peer:
            self._peer = document.new_peer()
        return OpenDocument(key, document(fields, self._peer))

    def _fields_of(self, spec: EntitySpec) -> Mapping[str, MergeKind]:
        fields = self._fields.get(spec.name)
        if fields is None:
            fields = self._fields[spec.name] = document_fields(spec)
        return fields

    def _keep(self, opened: OpenDocument) -> None:
        """Put a saved document into memory, and let the stalest go."""
        self._drop(opened.key)
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


def _of_document(fields: Mapping[str, MergeKind], row: RowData) -> RowData:
    return {name: row[name] for name in fields}
