"""One row's Loro document: the row written into it, clients' updates merged out of it.

Shape (spec 03 section 5.2): a root map `row` with a key per field, and for each text field a root
text of the same name, which the official editor hook edits; both hold the same text after every
call here. Not here: storage and the cache (`documents.py`), policies and types (`data/`).
"""

# The stubs of loro leave its constructors without types.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from loro import (
    EncodedBlobMode,
    ExportMode,
    Frontiers,
    LoroCounter,
    LoroDoc,
    LoroList,
    LoroMovableList,
    LoroText,
    LoroTree,
)

from pylon import limits
from pylon.codec import decode_trusted
from pylon.crdt.deep_stack import decoding
from pylon.crdt.fields import MergeKind, RowData
from pylon.crdt.items import set_list
from pylon.crdt.steps import Importer, Pending, TooCostly
from pylon.crdt.text import merge_texts, set_text
from pylon.crdt.tree import set_tree
from pylon.crdt.values import refuse_deep, show
from pylon.errors import PylonError
from pylon.store.watchdog import Overrun

ROOT: Final = "row"

EMPTY: Final[Mapping[MergeKind, object]] = {
    "lww": None,
    "text": "",
    "counter": 0,
    "list": "[]",
    "movable-list": "[]",
    "tree": "[]",
}
"""What a document shows for a field that the row has as null."""

COUNTER_MAX: Final = 2**53
"""Counters are doubles inside; whole numbers beyond this are not exact."""

_MODES: Final = (EncodedBlobMode.Updates, EncodedBlobMode.Snapshot)


class MissingDependencies(PylonError):
    """An update builds on others that have not arrived."""

    def __init__(self) -> None:
        super().__init__(
            409,
            "CRDT_DEPENDENCIES_MISSING",
            "This update builds on updates that the server does not have.",
            "Send everything since the version that you last received from the server.",
        )


class Document:
    """A document in memory. After a failed call it must be thrown away."""

    def __init__(self, fields: Mapping[str, MergeKind], peer: int) -> None:
        self._fields = fields
        self._peer = peer
        self._doc = LoroDoc()
        self._doc.peer_id = peer
        self._importer = Importer(self._doc)
        self._row = self._doc.get_map(ROOT)
        self._sent = self._doc.oplog_vv
        self.values: RowData = {name: EMPTY[kind] for name, kind in fields.items()}
        """The row as the document shows it; container kinds are never None."""

    @staticmethod
    def new_peer() -> int:
        """An id for this process as an editor, one for all documents.

        A new one per loading would lengthen every version vector.
        """
        return LoroDoc().peer_id

    def reloaded(self, snapshot: bytes) -> Document:
        """The same document with the history of `snapshot` only."""
        other = Document(self._fields, self._peer)
        other.load(snapshot, [])
        return other

    def load(self, snapshot: bytes, updates: list[bytes]) -> Frontiers:
        """Fill a new document from storage; the version that the snapshot alone has."""
        try:
            self._doc.import_(snapshot)
            mark = self._doc.oplog_frontiers
            if updates:
                Importer(self._doc).run(updates, seconds_max=None)
        except BaseException as error:
            raise _stored_damaged(error) from error
        self._sent = self._doc.oplog_vv
        self.values = self._read(self._deep())
        return mark

    # --- the row into the document -----------------------------------------------------------

    def write(self, values: Mapping[str, Any]) -> RowData:
        """Set fields; the same values as the row should keep them (trees get ids)."""
        shown: RowData = dict(values)
        touched: list[str] = []
        for name, value in values.items():
            kind = self._fields.get(name)
            if kind is None:  # private: not in the document
                continue
            wanted = EMPTY[kind] if value is None else value
            if self.values[name] != wanted or self._lacks(name, kind):
                _SETTERS[kind](self, name, wanted)
                touched.append(name)
        if touched:
            self._doc.commit()
            self.values = self._read(self._deep())
            for name in touched:
                if values[name] is not None:
                    shown[name] = self.values[name]
        return shown

    def _lacks(self, name: str, kind: MergeKind) -> bool:
        """Whether a container has still to be made; it must exist before two clients make it."""
        return kind != "lww" and name not in self._row

    def _set_value(self, name: str, value: Any) -> None:
        if value is None:
            self._row.delete(name)
        else:
            self._row.insert(name, value)

    def _set_text(self, name: str, value: str) -> None:
        set_text(self._container(name, LoroText), value)
        set_text(self._doc.get_text(name), value)

    def _set_counter(self, name: str, value: float) -> None:
        if abs(value) > COUNTER_MAX:
            raise PylonError(400, "INVALID_DATA", f'The counter "{name}" must be within 2^53.')
        counter = self._container(name, LoroCounter)
        counter.increment(value - float(counter))

    def _set_list(self, name: str, value: str) -> None:
        set_list(self._container(name, LoroList), decode_trusted(value))

    def _set_movable_list(self, name: str, value: str) -> None:
        set_list(self._container(name, LoroMovableList), decode_trusted(value))

    def _set_tree(self, name: str, value: str) -> None:
        set_tree(self._container(name, LoroTree), decode_trusted(value))

    def _container(self, name: str, kind: Callable[[], Any]) -> Any:
        """The field's container, made when it is not there or is of another kind."""
        found = self._row.get(name)
        container = getattr(found, "container", None)
        if type(container) is kind:
            return container
        return self._row.insert_container(name, kind())

    # --- clients' updates into the row -------------------------------------------------------

    def merge(self, update: bytes) -> RowData:
        """Import a client's update; the fields that it changed, in the row's form but unchecked.

        400 `CRDT_DECODE_FAILED`, 409 `CRDT_DEPENDENCIES_MISSING`, 409 `CRDT_OUTDATED`, 413
        `CRDT_UPDATE_TOO_COSTLY`, 400 `INVALID_COLUMN` where it writes what is no field of the
        document, 400 `INVALID_DATA`.
        """
        before = self.values
        self.values = decoding(update, lambda: self._import(update))
        return {
            name: value for name, value in self.values.items() if not _same(before[name], value)
        }

    def _import(self, update: bytes) -> RowData:
        try:
            header = LoroDoc.decode_import_blob_meta(update, True)
            if header.mode not in _MODES or (
                # A snapshot is compressed, at worst some 130 times; updates are not.
                header.mode == EncodedBlobMode.Snapshot
                and len(update) > limits.DOCUMENT_UPDATE_BYTES_COMPRESSED
            ):
                raise PylonError(
                    400, "CRDT_DECODE_FAILED", "Send an export of updates, not of a snapshot."
                )
            self._importer.run([update], seconds_max=limits.DOCUMENT_MERGE_SECONDS_MAX)
        except PylonError:
            raise
        except Pending:
            raise MissingDependencies from None
        except TooCostly:
            raise PylonError(
                413,
                "CRDT_UPDATE_TOO_COSTLY",
                "Merging this update takes too long.",
                "Make the edit in smaller steps, with fewer marks or moves.",
            ) from None
        except BaseException as error:
            raise _undecodable(error) from None
        deep = self._deep()
        try:
            refuse_deep(deep)
        except ValueError as expected:
            raise PylonError(400, "INVALID_DATA", f"A document must be {expected}.") from None
        self._refuse_unknown(deep)
        if self._fold_texts(deep):
            self._doc.commit()
            deep = self._deep()
        return self._read(deep)

    def _refuse_unknown(self, deep: dict[str, Any]) -> None:
        """Nothing may be kept in a document that no rule of the app looks at."""
        row = deep.get(ROOT, {})
        if not isinstance(row, dict):
            raise PylonError(400, "INVALID_DATA", f'"{ROOT}" of a document must be a map.')
        unknown = row.keys() - self._fields.keys()
        for name, value in deep.items():
            if name != ROOT and value and self._fields.get(name) != "text":
                unknown.add(name)
        if unknown:
            name = min(unknown)
            raise PylonError(
                400, "INVALID_COLUMN", f'"{name[:100]}" is no field that a document may hold.'
            )

    def _fold_texts(self, deep: dict[str, Any]) -> bool:
        """Make both texts of each text field equal, whichever was edited; whether any was not."""
        row = deep.get(ROOT, {})
        folded = False
        for name, kind in self._fields.items():
            if kind != "text":
                continue
            inner, outer = row.get(name), deep.get(name, "")
            if inner is None:
                inner = ""
            if not (isinstance(inner, str) and isinstance(outer, str)):
                raise PylonError(400, "INVALID_DATA", f'"{name}" of a document must be a text.')
            if inner == outer:
                continue
            merged = merge_texts(self.values[name], inner, outer)
            if merged != inner:
                set_text(self._container(name, LoroText), merged)
            if merged != outer:
                set_text(self._doc.get_text(name), merged)
            folded = True
        return folded

    def _deep(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._doc.get_deep_value())

    def _read(self, deep: dict[str, Any]) -> RowData:
        row = deep.get(ROOT, {})
        values: RowData = {}
        for name, kind in self._fields.items():
            try:
                value = show(kind, row.get(name))
            except ValueError as expected:
                raise PylonError(400, "INVALID_DATA", f"{name} must be {expected}.") from None
            values[name] = EMPTY[kind] if value is None else value
        return values

    # --- out ---------------------------------------------------------------------------------

    def take_update(self) -> bytes | None:
        """What the document gained since the last call, for storage and readers; None: nothing."""
        self._doc.commit()
        version = self._doc.oplog_vv
        if version == self._sent:
            return None
        update = self._doc.export(ExportMode.Updates(self._sent))
        self._sent = version
        return update

    def snapshot(self) -> bytes:
        """The whole document with its history."""
        return self._doc.export(ExportMode.Snapshot())

    def shallow_snapshot(self, since: Frontiers) -> bytes:
        """The document with its history from `since` on."""
        return self._doc.export(ExportMode.ShallowSnapshot(since))

    @property
    def version(self) -> Frontiers:
        """The newest version, for `shallow_snapshot`."""
        return self._doc.oplog_frontiers


_SETTERS: Final[Mapping[MergeKind, Callable[[Document, str, Any], None]]] = {
    "lww": Document._set_value,
    "text": Document._set_text,
    "counter": Document._set_counter,
    "list": Document._set_list,
    "movable-list": Document._set_movable_list,
    "tree": Document._set_tree,
}


def _same(one: object, other: object) -> bool:
    """Equal, and not merely as 1 equals true."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _is_interrupt(error: BaseException) -> bool:
    return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError | Overrun)


def _undecodable(error: BaseException) -> BaseException:
    """The binding raises plain `BaseException`, and panics are that too."""
    if _is_interrupt(error):
        return error
    text = str(error)
    if "utdated" in text or "shallow" in text.lower() or "trimmed" in text.lower():
        return PylonError(
            409,
            "CRDT_OUTDATED",
            "This update builds on history that the server no longer keeps.",
            "Fetch the document anew and make the edit again.",
        )
    return PylonError(400, "CRDT_DECODE_FAILED", "The update is not a Loro update.")


def _stored_damaged(error: BaseException) -> BaseException:
    if _is_interrupt(error):
        return error
    return PylonError(500, "CRDT_SNAPSHOT_FAILED", "The stored document cannot be read.")
