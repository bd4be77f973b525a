"""One row's Loro document: the row written into it, clients' updates merged out of it.

Shape (spec 03 section 5.2): a root map `row` with a key per field, and for each text field a root
text of the same name, which the official editor hook edits; both hold the same text after every
call here. Not here: storage and the cache (`documents.py`), policies and types (`data/`).
"""

# The stubs of loro leave its constructors without types.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from time import thread_time
from typing import Any, Final, cast

from loro import (
    ContainerID,
    ContainerType,
    EncodedBlobMode,
    ExportMode,
    Frontiers,
    LoroCounter,
    LoroDoc,
    LoroList,
    LoroMovableList,
    LoroText,
    LoroTree,
    VersionVector,
)

from pylon import limits
from pylon.canonical import is_same, refuse_deep
from pylon.codec import decode_trusted
from pylon.crdt.fields import EMPTY, MergeKind, RowData, changed
from pylon.crdt.items import set_list
from pylon.crdt.silent import (
    Cut,
    Outdated,
    close,
    container_id,
    do_nothing,
    find_cut,
    has_silent,
    rebased,
    settle,
)
from pylon.crdt.steps import MARK, MARKS_FEW, Importer, Pending, TooCostly
from pylon.crdt.text import merge_texts, set_text
from pylon.crdt.tree import set_tree
from pylon.crdt.values import show, without_ids
from pylon.crdt.weight import too_costly
from pylon.errors import PylonError
from pylon.store.watchdog import Overrun

ROOT: Final = "row"

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
        self.fields = fields
        self._peer = peer
        self._doc = LoroDoc()
        self._doc.peer_id = peer
        self._importer = Importer(self._doc)
        self._row = self._doc.get_map(ROOT)
        self._sent = self._doc.oplog_vv
        self._cut: Cut | None = None
        """Where its history was cut, if it was; then somebody may go on who has not seen that."""
        self.import_seconds = 0.0
        """What the last merge took of a processor for the import alone."""
        self.values: RowData = {name: EMPTY[kind] for name, kind in fields.items()}
        """The row as the document shows it; container kinds are never None."""

    @staticmethod
    def new_peer() -> int:
        """An id for this process as an editor, one for all documents.

        A new one per loading would lengthen every version vector.
        """
        return LoroDoc().peer_id

    def edits_as(self, peer: int) -> None:
        """From now on the server's own edits have this author."""
        self._peer = self._doc.peer_id = peer

    def reloaded(self, snapshot: bytes) -> Document:
        """The same document with the history of `snapshot` only."""
        other = Document(self.fields, self._peer)
        other.load_snapshot(snapshot)
        other.load_updates([])
        return other

    def load_snapshot(self, snapshot: bytes) -> Frontiers:
        """Begin to fill a new document from storage; the version that the snapshot has."""
        try:
            self._doc.import_(snapshot)
            self._cut = find_cut(self._doc)
            return self._doc.oplog_frontiers
        except BaseException as error:
            raise _stored_damaged(error) from error

    def load_updates(self, updates: list[bytes]) -> None:
        """Add what is stored beside the snapshot; now it is the document that was stored."""
        try:
            if updates:
                Importer(self._doc).run(updates, seconds_max=None)
        except BaseException as error:
            raise _stored_damaged(error) from error
        self._sent = self._doc.oplog_vv
        self.values = self._read(self._deep())

    def unfold(self) -> bool:
        """Unpack every text with its marks; False where there are some that cannot be found.

        After loading the library does so at a text's first edit, and takes time with the square of
        the marks that overlap.
        """
        for cid in _texts(self._doc.get_deep_value_with_id()):
            self._doc.get_text(cid).to_delta()
        return not self._may_hide_marks()

    def _may_hide_marks(self) -> bool:
        """Whether texts with marks may stand where they cannot be found: in the meta of nodes."""
        trees = (name for name, kind in self.fields.items() if kind == "tree")
        if all(self.values[name] == EMPTY["tree"] for name in trees):
            return False
        doc = self._doc
        return doc.is_shallow() or (
            doc.export_json_updates(VersionVector(), doc.oplog_vv).count(MARK) > MARKS_FEW
        )

    # --- the row into the document -----------------------------------------------------------

    def write(self, values: Mapping[str, Any]) -> RowData:
        """Set fields; the same values as the row should keep them (trees get ids)."""
        shown: RowData = dict(values)
        touched: list[str] = []
        for name, value in values.items():
            kind = self.fields.get(name)
            if kind is None:  # private: not in the document
                continue
            wanted = EMPTY[kind] if value is None else value
            if not is_same(self.values[name], wanted) or self._lacks(name, kind):
                _SETTERS[kind](self, name, wanted)
                touched.append(name)
        if touched:
            self._doc.commit()
            self.values = self._read(self._deep())
            for name in touched:
                if values[name] is not None:
                    shown[name] = self.values[name]
        return shown

    def align(self, row: Mapping[str, Any]) -> None:
        """Set what the row has otherwise; it is the truth where the two differ.

        A tree whose nodes have no ids in the row, which it had before its document, is the same
        tree: were it set, all nodes would be others.
        """
        self.write(
            {
                name: value
                for name, value in row.items()
                if not (
                    self.fields.get(name) == "tree"
                    and isinstance(value, str)
                    and '"id"' not in value
                    and without_ids(value) == without_ids(self.values[name])
                )
            }
        )

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

    def merge(self, update: bytes, *, seconds_max: float | None = None) -> RowData:
        """Import a client's update; the fields that it changed, in the row's form but unchecked.

        What is longer than `limits.DOCUMENT_UPDATE_BYTES_SHALLOW` may nest, so it needs a deep
        stack. 400 `CRDT_DECODE_FAILED`, 409 `CRDT_DEPENDENCIES_MISSING`, 409 `CRDT_OUTDATED`,
        400 `INVALID_COLUMN` where it writes what is no field of the document, 400 `INVALID_DATA`;
        413 `CRDT_UPDATE_TOO_COSTLY` when the import takes more than `seconds_max`, which is
        `limits.DOCUMENT_MERGE_SECONDS_MAX` unless it is given.
        """
        before = self.values
        most = limits.DOCUMENT_MERGE_SECONDS_MAX if seconds_max is None else seconds_max
        self.values = self._import(update, most)
        return changed(before, self.values)

    def catch_up(self, updates: list[bytes], base: bytes) -> RowData:
        """Take in what others had stored before this document, which has merged an update into the
        version `base`, could be; the row as it shows it now.

        From now on `take_update` gives what is missing where all of that is stored.
        """
        stored = VersionVector.decode(base)
        try:
            Importer(self._doc).run(updates, seconds_max=limits.DOCUMENT_MERGE_SECONDS_MAX)
            for update in updates:
                stored.merge(LoroDoc.decode_import_blob_meta(update, False).partial_end_vv)
        except TooCostly:
            raise too_costly() from None
        except BaseException as error:
            raise _stored_damaged(error) from error
        self._sent = stored
        deep = self._deep()
        row = deep.get(ROOT, {})
        for name, kind in self.fields.items():
            inner = row.get(name) if kind == "text" else None
            # Both texts have everybody's edits, at most in another order.
            if isinstance(inner, str) and inner != deep.get(name, ""):
                set_text(self._doc.get_text(name), inner)
        self._doc.commit()
        self.values = self._read(self._deep())
        return self.values

    @property
    def sent(self) -> bytes:
        """The version up to which updates were taken."""
        return self._sent.encode()

    def known_before(self, update: bytes) -> int | None:
        """How many operations of the document the author of an update had not seen; None where
        that cannot be told, as of bytes that are no update."""
        doc = self._doc
        try:
            header = LoroDoc.decode_import_blob_meta(update, False)
            seen = doc.frontiers_to_vv(header.start_frontiers)
        except BaseException as error:
            if _is_interrupt(error):
                raise
            return None
        if seen is None:
            return None
        missed = doc.oplog_vv.sub_vec(seen).inner().values()
        return sum(end - start for start, end in missed)

    @property
    def is_wide(self) -> bool:
        """Whether so many have edited it that each concurrent edit takes long."""
        return len(self._sent.encode()) > limits.DOCUMENT_INLINE_VERSION_BYTES_MAX

    @property
    def operations(self) -> int:
        """The length of its history."""
        return self._doc.len_ops

    def _import(self, update: bytes, seconds_max: float) -> RowData:
        is_silent = False
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
            started = thread_time()
            if self._cut is None:
                self._importer.run([update], seconds_max=seconds_max)
            else:
                is_silent = self._import_beyond(self._cut, update, seconds_max)
            self.import_seconds = thread_time() - started
        except PylonError:
            raise
        except Outdated:
            raise _outdated() from None
        except Pending:
            raise MissingDependencies from None
        except TooCostly:
            raise too_costly() from None
        except BaseException as error:
            raise _undecodable(error, is_cut=self._cut is not None) from None
        deep = self._deep()
        try:
            refuse_deep(deep)
        except ValueError as expected:
            raise PylonError(400, "INVALID_DATA", f"A document must be {expected}.") from None
        self._refuse_unknown(deep)
        if self._fold_texts(deep):
            self._doc.commit()
            deep = self._deep()
        elif is_silent:
            do_nothing(self._doc)
        return self._read(deep)

    def _import_beyond(self, cut: Cut, update: bytes, seconds_max: float) -> bool:
        """Import into a document whose history was cut; whether a silent writer made the update."""
        before = self._doc.oplog_vv
        try:
            again = rebased(self._doc, cut, update)
        except Outdated:
            raise
        except BaseException as error:
            if _is_interrupt(error):
                raise
            again = None  # the import says what is wrong
        if again is None:
            self._importer.run([update], seconds_max=seconds_max)
        else:
            self._importer.run_json(again, seconds_max=seconds_max)
        return settle(self._doc, cut, before)

    def _refuse_unknown(self, deep: dict[str, Any]) -> None:
        """Nothing may be kept in a document that no rule of the app looks at."""
        row = deep.get(ROOT, {})
        if not isinstance(row, dict):
            raise PylonError(400, "INVALID_DATA", f'"{ROOT}" of a document must be a map.')
        unknown = row.keys() - self.fields.keys()
        for name, value in deep.items():
            if name != ROOT and value and self.fields.get(name) != "text":
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
        for name, kind in self.fields.items():
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
        for name, kind in self.fields.items():
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

    def close_history(self) -> Frontiers:
        """Prepare for a cut of all history; the version to cut at, for `shallow_snapshot`."""
        texts = []
        for name, kind in self.fields.items():
            if kind == "text":
                texts.append(f"cid:root-{name}:Text")
                inner = getattr(self._row.get(name), "container", None)
                if isinstance(inner, LoroText):
                    texts.append(container_id(inner.id))
        return close(self._doc, texts, self._cut)

    def updates_since(self, version: bytes) -> bytes:
        """What it gained since `version`, as `sent` gave it; now that is taken."""
        self._sent = self._doc.oplog_vv
        return self._doc.export(ExportMode.Updates(VersionVector.decode(version)))

    @property
    def has_silent(self) -> bool:
        """Whether somebody goes on beyond a cut without having seen it."""
        return self._cut is not None and has_silent(self._doc, self._cut)

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


def _texts(value: object) -> Iterator[ContainerID]:
    """The texts in a value with ids: `{"cid", "value"}` wherever a container is."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            waiting += each.values()
            cid = each.get("cid")
            if isinstance(cid, str) and cid.endswith(":Text") and cid.startswith("cid:"):
                yield _container_id(cid)


def _container_id(cid: str) -> ContainerID:
    """`cid:root-NAME:Text` or `cid:COUNTER@PEER:Text`."""
    name = cid.removeprefix("cid:").removesuffix(":Text")
    if name.startswith("root-"):
        return ContainerID.Root(name.removeprefix("root-"), ContainerType.Text())
    counter, _, peer = name.partition("@")
    return ContainerID.Normal(int(peer), int(counter), ContainerType.Text())


def _is_interrupt(error: BaseException) -> bool:
    return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError | Overrun)


def _undecodable(error: BaseException, *, is_cut: bool) -> BaseException:
    """The binding raises plain `BaseException`, and panics are that too."""
    if _is_interrupt(error):
        return error
    text = str(error)
    if "op id should be unique" in text:
        if is_cut:  # a silent writer sent all of its copy, and more than plain text
            return _outdated()
        return PylonError(
            400,
            "CRDT_DECODE_FAILED",
            "Its author has sent other operations with the same numbers before.",
            "Give each copy of a document a peer id of its own, as a new LoroDoc has; a copy that"
            " was put back to an older state must take a new one.",
        )
    if "utdated" in text or "shallow" in text.lower() or "trimmed" in text.lower():
        return _outdated()
    return PylonError(400, "CRDT_DECODE_FAILED", "The update is not a Loro update.")


def _outdated() -> PylonError:
    return PylonError(
        409,
        "CRDT_OUTDATED",
        "This update builds on history that the server no longer keeps.",
        "Take the document anew (crdt-subscribe with an empty one) and make the edit again."
        " A client that imports the row's frames stays near enough.",
    )


def _stored_damaged(error: BaseException) -> BaseException:
    if _is_interrupt(error):
        return error
    return PylonError(500, "CRDT_SNAPSHOT_FAILED", "The stored document cannot be read.")
