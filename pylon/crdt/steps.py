"""Importing a stranger's update in bounded time.

The library's import of a long text takes time with the square of its length (400 000 characters: 3
to 5 seconds), and a mark takes time with the number of those that it overlaps. Neither can be
interrupted, and the library keeps the interpreter to itself meanwhile. So a larger update is first
taken into a scratch document that shows nothing, which costs next to nothing, and handed over in
parts, oldest first; a text in parts is a hundred times faster, and between two parts the clock is
looked at. Small updates are imported directly.
"""

# The stubs of loro leave its constructors without types.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Iterator
from time import thread_time
from typing import Final

from loro import ID, CounterSpan, ExportMode, IdSpan, LoroDoc, VersionVector

from pylon import limits

MARK: Final = '"content":{"type":"mark"'
"""How a mark begins in the library's JSON; texts cannot contain it, as their quotes are escaped."""

PART_FIRST: Final = 256
PART_MAX: Final = 16_384
PART_CONCURRENT: Final = 131_072
"""Operations (characters) of a part. For each part of an update that is concurrent to others the
library walks through those again, so its parts are few, whatever time they take."""

MARKS_FEW: Final = 100

PART_MARKED: Final = 64
"""The same where there are more marks than that: two operations each."""

QUICK_SECONDS: Final = 0.003
SLOW_SECONDS: Final = 0.01

Span = tuple[int, int, int]
"""Peer, first and end of consecutive operations."""


class Pending(Exception):
    """The update builds on others that are not there."""


class TooCostly(Exception):
    """The time for the import has run out; the document has a part of the update."""


class Importer:
    """The imports of one document. After any failure both must be thrown away."""

    def __init__(self, doc: LoroDoc) -> None:
        self._doc = doc
        self._scratch: LoroDoc | None = None

    def run(self, updates: list[bytes], *, seconds_max: float | None) -> None:
        """Import updates; raises `Pending`, `TooCostly`, or what the library raises."""
        doc = self._doc
        if sum(map(len, updates)) <= limits.DOCUMENT_UPDATE_BYTES_DIRECT:
            _refuse_pending(
                doc.import_batch(updates) if len(updates) > 1 else doc.import_(updates[0])
            )
            return
        scratch = self._scratch_with_all()
        known = doc.oplog_vv
        self._hand_over(scratch, scratch.import_batch(updates), known, seconds_max)

    def run_json(self, update: str, *, seconds_max: float | None) -> None:
        """The same for one update in the library's JSON."""
        doc = self._doc
        if len(update) <= limits.DOCUMENT_UPDATE_BYTES_DIRECT:
            _refuse_pending(doc.import_json_updates(update))
            return
        scratch = self._scratch_with_all()
        known = doc.oplog_vv
        self._hand_over(scratch, scratch.import_json_updates(update), known, seconds_max)

    def _hand_over(
        self, scratch: LoroDoc, status: object, known: VersionVector, seconds_max: float | None
    ) -> None:
        """Import what the scratch document has beyond `known`, in parts."""
        _refuse_pending(status)
        doc, started = self._doc, thread_time()
        for part in _parts(scratch, known, doc):
            if seconds_max is not None and thread_time() - started > seconds_max:
                raise TooCostly
            spans = [IdSpan(peer, CounterSpan(start, end)) for peer, start, end in part.spans]
            before = thread_time()
            doc.import_(scratch.export(ExportMode.UpdatesInRange(spans)))
            part.took(thread_time() - before)

    def _scratch_with_all(self) -> LoroDoc:
        """The scratch document with all that the document has. It is kept, since one update that
        is not small is often followed by others; then only what is new goes over."""
        if self._scratch is None:
            self._scratch = LoroDoc()
            self._scratch.import_(self._doc.export(ExportMode.Snapshot()))
            self._scratch.detach()
        elif self._scratch.oplog_vv != self._doc.oplog_vv:
            self._scratch.import_(self._doc.export(ExportMode.Updates(self._scratch.oplog_vv)))
        return self._scratch


class _Part:
    """Some of the new operations, and room for the next ones: between two sizes, as large as is
    quick."""

    def __init__(self, size: int, sizes: tuple[int, int]) -> None:
        self.size, self._sizes = size, sizes
        self.spans: list[Span] = []

    def took(self, seconds: float) -> None:
        """Make the next part larger or smaller."""
        smallest, largest = self._sizes
        if seconds < QUICK_SECONDS:
            self.size = min(2 * self.size, largest)
        elif seconds > SLOW_SECONDS:
            self.size = max(self.size // 2, smallest)


def _parts(scratch: LoroDoc, known: VersionVector, doc: LoroDoc) -> Iterator[_Part]:
    """The operations of `scratch` that are not `known`, causes before their effects."""
    spans = _new_spans(scratch, known)
    if not spans:
        return
    if scratch.export_json_updates(known, scratch.oplog_vv).count(MARK) > MARKS_FEW:
        part = _Part(PART_MARKED, (PART_MARKED, PART_MARKED))
    elif _builds_on_all(scratch, spans[0], doc):
        part = _Part(PART_FIRST, (PART_MARKED, PART_MAX))
    else:
        part = _Part(PART_CONCURRENT, (PART_CONCURRENT, PART_CONCURRENT))
    room = part.size
    for peer, first, end in spans:
        start = first
        while start < end:
            stop = min(end, start + room)
            part.spans.append((peer, start, stop))
            room -= stop - start
            start = stop
            if room == 0:
                yield part
                part.spans, room = [], part.size
    if part.spans:
        yield part


def _new_spans(scratch: LoroDoc, known: VersionVector) -> list[Span]:
    """By lamport time, in which every operation comes after those that it builds on."""
    found: list[tuple[int, Span]] = []
    for peer, (first, end) in scratch.oplog_vv.sub_vec(known).inner().items():
        start = first
        while start < end:
            change = scratch.get_change(ID(peer, start))
            assert change is not None
            stop = min(change.id.counter + change.len, end)
            found.append((change.lamport + start - change.id.counter, (peer, start, stop)))
            start = stop
    return [span for _, span in sorted(found)]


def _builds_on_all(scratch: LoroDoc, first: Span, doc: LoroDoc) -> bool:
    """Whether the oldest new operation was made in sight of everything in `doc`."""
    peer, start, _ = first
    change = scratch.get_change(ID(peer, start))
    assert change is not None
    frontiers = doc.oplog_frontiers.encode()
    if start > change.id.counter:
        return frontiers == type(doc.oplog_frontiers).from_id(ID(peer, start - 1)).encode()
    return frontiers == change.deps.encode()


def _refuse_pending(status: object) -> None:
    pending = getattr(status, "pending", None)
    if pending is not None and not pending.is_empty:
        raise Pending
