"""A document in hand, with what is known of its storage: when both become a new snapshot, and what
it costs to go on with it.

Pure: bytes in, bytes out. The server has one for each document that is quick to edit
(`documents.py`), a process beside it for one that is not (`work.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from time import thread_time
from typing import TYPE_CHECKING

from msgspec import Struct

from pylon import limits
from pylon.crdt import weight
from pylon.crdt.fields import RowData
from pylon.errors import PylonError

if TYPE_CHECKING:
    from loro import Frontiers

    from pylon.crdt.row_document import Document

Key = tuple[str, str]


class TooHeavy(BaseException):
    """What is to be done with the document of `key` may hold the loop for long, so it belongs into
    a process beside it. The document may have a part of it, and must be thrown away.

    No `Exception`: a hook that catches those must not take it for a failure of its write.
    """

    def __init__(self, key: Key) -> None:
        super().__init__(key)
        self.key = key


class Reserved(TooHeavy):
    """Somebody who has been too slow several times is working on the document; then it is free."""


class Gained(Struct, frozen=True, kw_only=True):
    """What is to be stored: an update, or a snapshot in place of everything."""

    update: bytes
    snapshot: bytes | None
    seconds: float | None = None
    """What it takes of a processor to load the snapshot, where that is known."""


class OpenDocument:
    """A document that somebody has in hand. `is_inline` says that work on it holds the loop: what
    may take long raises `TooHeavy` instead. Not so `load`: whoever calls it has looked."""

    __slots__ = (
        "_document",
        "_snapshot",
        "base",
        "cost",
        "counted_bytes",
        "is_inline",
        "is_new",
        "key",
        "mark",
        "n",
        "seconds",
        "settled",
        "snapshot_bytes",
        "tail_bytes",
        "tail_count",
        "tail_seconds",
        "trimmed_bytes",
    )

    def __init__(self, key: Key, document: Document, *, is_inline: bool) -> None:
        self.key = key
        self.is_inline = is_inline
        self._document = document
        self._snapshot: bytes | None = None
        self.base = b""
        """The version that the last `gain` built on."""
        self.n = 0
        """Updates so far; 0 for one that is not stored yet."""
        self.is_new = True
        """Whether nothing of it is stored."""
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
        self.cost = 0.0
        """What it took of a processor to load and unpack it, where somebody has tried."""
        self.seconds = 0.0
        """What the longest piece of work since the last `gain` has taken of the processor."""

    @property
    def size(self) -> int:
        """Bytes that it takes in storage."""
        return self.snapshot_bytes + self.tail_bytes

    def load(self, snapshot: bytes, updates: list[bytes]) -> None:
        """Fill it from storage."""
        started = thread_time()
        self.mark = self._document.load_snapshot(snapshot)
        loaded = thread_time()
        self._document.load_updates(updates)
        self.tail_seconds = thread_time() - loaded
        self.seconds = loaded - started + self.tail_seconds
        self.is_new = False
        self.snapshot_bytes = len(snapshot)
        self.tail_bytes = sum(map(len, updates))
        self.tail_count = len(updates)

    def unfold(self) -> None:
        """Unpack what the library leaves packed until the first edit, and note what loading and
        this have taken."""
        started = thread_time()
        is_whole = self._document.unfold()
        self.cost = self.seconds + thread_time() - started
        if not is_whole:
            self.cost = max(self.cost, 2 * limits.DOCUMENT_INLINE_SECONDS_MAX)

    def edits_as(self, peer: int) -> None:
        """From now on the server's own edits have this author."""
        self._document.edits_as(peer)

    def write(self, values: Mapping[str, object]) -> RowData:
        """Set fields of the row; the values as the row should keep them."""
        document = self._document
        if self.is_inline and not weight.is_small_write(document.fields, document.values, values):
            raise TooHeavy(self.key)
        self.settled = False
        started = thread_time()
        written = document.write(values)
        self._took(thread_time() - started)
        return written

    def align(self, row: RowData) -> None:
        """Bring it in line with the row: a field may be new in the schema, or the entity may have
        had no documents for a time."""
        document = self._document
        if self.is_inline and not weight.is_small_write(document.fields, document.values, row):
            raise TooHeavy(self.key)
        document.align(row)

    def merge(self, update: bytes) -> RowData:
        """Import a client's update; what it changed (see `Document.merge`)."""
        document = self._document
        if self.is_inline and not weight.is_small_merge(document, update):
            raise TooHeavy(self.key)
        self.settled = False
        started = thread_time()
        most = limits.DOCUMENT_INLINE_SECONDS_MAX if self.is_inline else None
        try:
            merged = document.merge(update, seconds_max=most)
        except PylonError as error:
            if self.is_inline and error.code == weight.TOO_COSTLY:
                raise TooHeavy(self.key) from error
            raise
        self._took(thread_time() - started)
        self.tail_seconds += document.import_seconds
        return merged

    def catch_up(self, updates: list[bytes]) -> RowData:
        """Take in what was stored since the version that it was loaded as; see
        `Document.catch_up`."""
        started = thread_time()
        values = self._document.catch_up(updates, self.base)
        self._took(thread_time() - started)
        return values

    @property
    def values(self) -> RowData:
        """The row as the document shows it."""
        return self._document.values

    def snapshot(self) -> bytes:
        """The whole document; made once for all who ask between two changes."""
        if self._snapshot is None:
            self._snapshot = self._document.snapshot()
        return self._snapshot

    def gain(self, *, trims: bool = True) -> Gained | None:
        """What it has gained since the last call, to be stored; None for nothing. With `trims`
        false old history stays for now, unless the document would be too large with it.

        413 `CRDT_DOCUMENT_TOO_LARGE` when it is larger than a document may be.
        """
        self.base = self._document.sent
        update = self._document.take_update()
        if update is None:
            return None
        self._snapshot = None
        self.n += 1
        self.tail_bytes += len(update)
        self.tail_count += 1
        if not self._is_due:
            return Gained(update=update, snapshot=None)
        was_new = self.is_new
        most = limits.DOCUMENT_INLINE_STORED_BYTES_MAX
        if self.is_inline and not was_new and self.snapshot_bytes > most:
            # Made elsewhere, where it is found out how long it takes to load. Marks that come one
            # by one are quick, and all of them at once are not.
            raise TooHeavy(self.key)
        snapshot, update = self._compact(update, trims=trims)
        if len(snapshot) > limits.DOCUMENT_BYTES_MAX:
            raise PylonError(
                413,
                "CRDT_DOCUMENT_TOO_LARGE",
                f"A document may take {limits.DOCUMENT_BYTES_MAX} bytes.",
            )
        self.is_new = False
        seconds = self.seconds if was_new else None
        return Gained(update=update, snapshot=snapshot, seconds=seconds)

    def _took(self, seconds: float) -> None:
        self.seconds = max(self.seconds, seconds)

    @property
    def _is_due(self) -> bool:
        return (
            self.is_new
            or self.tail_count > limits.DOCUMENT_UPDATES_MAX
            or self.tail_seconds > limits.DOCUMENT_TAIL_SECONDS_MAX
            or self.tail_bytes > max(limits.DOCUMENT_TAIL_BYTES_MAX, self.snapshot_bytes)
        )

    def _compact(self, update: bytes, *, trims: bool) -> tuple[bytes, bytes]:
        """A snapshot to store, without old history when that has grown large, and the update for
        readers, which is longer then.

        What is cut off is older than the last stored snapshot, so that clients which were away for
        a little while can still merge. Where that does not help, since an edit made after that
        snapshot builds on a version long before it, all history goes.
        """
        snapshot = self._document.snapshot()
        bound = limits.DOCUMENT_BYTES_MAX
        if trims:
            bound = min(bound, max(limits.DOCUMENT_HISTORY_BYTES_MAX, 2 * self.trimmed_bytes))
        if len(snapshot) > bound and self.mark is not None:
            if self.is_inline:
                raise TooHeavy(self.key)
            shallow = snapshot
            if not self._document.has_silent:
                shallow = self._document.shallow_snapshot(self.mark)
            if len(shallow) > len(snapshot) // 2:
                end = self._document.close_history()
                update = self._document.updates_since(self.base)
                shallow = self._document.shallow_snapshot(end)
            self.trimmed_bytes = len(shallow)
            if len(shallow) < len(snapshot):
                snapshot = shallow
                self._document = self._document.reloaded(shallow)
        self.mark = self._document.version
        self._snapshot = snapshot
        self.snapshot_bytes, self.tail_bytes, self.tail_count = len(snapshot), 0, 0
        self.tail_seconds = 0.0
        return snapshot, update
