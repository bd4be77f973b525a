"""Work on a document that takes long, as a value: what is there, what is to do, what came of it.

`perform` is a function of nothing but its bytes. It runs in a process beside the server
(`pools.ProcessPool`), since the library keeps the interpreter to itself while it works. The
answer counts only while row and document are what the work was done on (`work_list.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from random import randrange
from typing import Any, Final, TypeAlias

import msgspec

from pylon import limits
from pylon.calls import Refused
from pylon.crdt.binding import document_class
from pylon.crdt.fields import MergeKind, RowData, changed, full
from pylon.crdt.open_document import Key, OpenDocument
from pylon.crdt.weight import too_costly
from pylon.errors import PylonError


class Job(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """A row and its document as they stand, and what is to be done: equal jobs have one answer."""

    key: Key
    fields: dict[str, MergeKind]
    peer: int
    snapshot: bytes | None
    """None: the document is made from the row."""
    updates: list[bytes]
    row: dict[str, Any]
    """The row's values of the document's fields, which are the truth where the two differ."""
    merges: bytes | None = None
    """A client's update."""
    writes: dict[str, Any] | None = None
    """Values to be set, after that."""
    trimmed_bytes: int = 0

    @property
    def is_read(self) -> bool:
        """Whether the document is only wanted as it is."""
        return self.merges is None and self.writes is None

    def is_same_work(self, other: Job) -> bool:
        """Whether both are to do the same, be it on other states of the document."""
        mine, others = (self.key, self.merges, self.writes), (other.key, other.merges, other.writes)
        return mine == others


class Asked(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """A job on its way to a process."""

    job: Job
    is_again: bool = False
    """The same was done already, on a state that others have changed meanwhile."""
    earlier: int = 0
    """`Done.number` of that; 0: it cannot be gone on from."""
    added: int = 0
    """How many updates were added since, the last ones of the job."""


class Done(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What came of a job."""

    merged: dict[str, Any]
    """What the client's update changed, as `Document.merge` gives it."""
    written: dict[str, Any]
    """The values as the row should keep them."""
    update: bytes | None
    """What the document gained; None for nothing."""
    stored: bytes | None
    """The snapshot to store in place of everything; None: the update is stored beside."""
    snapshot: bytes | None
    """All of the document, where nothing was to be done but to read it."""
    number: int
    """Names the document that came of it, in the process that has it; 0 where the same work cannot
    go on from there, as the server has edited it in its own name: what it has stored meanwhile has
    the same numbers."""
    seconds: float
    """What it costs to load and to begin to edit the document as it is now."""
    trimmed_bytes: int


Answer: TypeAlias = Done | Refused

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_asked: Final = msgspec.msgpack.Decoder(Asked).decode
_decode_done: Final = msgspec.msgpack.Decoder(Done).decode
_decode_refused: Final = msgspec.msgpack.Decoder(Refused).decode

GROWN_TIMES: Final = 1.25
"""A document that takes long to load already may grow by as much as clocks are inexact: it can
still be made smaller."""

DONE: Final = b"+"
REFUSED: Final = b"-"

KEPT_MAX: Final = 4
"""Documents that a process keeps, in case the next work is on one of them."""


def pack(job: Job, *, is_again: bool = False, earlier: tuple[Job, Done] | None = None) -> bytes:
    """What a process is asked. `earlier` is the same work, on what was there before."""
    if earlier is None:
        return _encode(Asked(job=job, is_again=is_again))
    before, done = earlier
    added = len(job.updates) - len(before.updates)
    return _encode(Asked(job=job, is_again=True, earlier=done.number, added=added))


def unpack(answer: bytes) -> Answer:
    """An answer on its way back."""
    decode = _decode_done if answer[:1] == DONE else _decode_refused
    return decode(memoryview(answer)[1:])


def perform(given: bytes) -> bytes:
    """Do a job; both ways as bytes."""
    try:
        return DONE + _encode(_BENCH.do(_decode_asked(given)))
    except PylonError as error:
        return REFUSED + _encode(Refused.of(error))


class Bench:
    """Does jobs, and keeps the documents of the last ones: who types in a heavy document should not
    wait for it to be loaded at each key."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], tuple[int, OpenDocument]] = OrderedDict()

    def do(self, asked: Asked) -> Done:
        """What comes of it; raises the errors of `Document.merge` and `OpenDocument.gain`."""
        job = asked.job
        written: RowData = {}
        gone_on = self._go_on(asked)
        if gone_on is not None:
            document, merged = gone_on
            is_loaded, before = False, document.cost
        else:
            document, is_loaded = self._take(job)
            # To go on from there once more, the server must be somebody else than it is now.
            document.edits_as(randrange(1, 2**63) if asked.is_again else job.peer)
            before = document.cost
            if job.snapshot is None:
                document.write(job.row)
            else:
                document.align(job.row)
            merged = {} if job.merges is None else document.merge(job.merges)
            written = {} if job.writes is None else document.write(job.writes)
        # What others do meanwhile may build on older history.
        gained = document.gain(trims=not asked.is_again)
        snapshot, updates = job.snapshot, job.updates
        if gained is not None and gained.snapshot is not None:
            snapshot, updates = gained.snapshot, []
        elif gained is not None:
            updates = [*updates, gained.update]
        if is_loaded or not updates or document.seconds > limits.DOCUMENT_INLINE_SECONDS_MAX:
            document.cost = _cost(document, job, snapshot, updates)
        if gained is not None and document.cost > max(
            limits.DOCUMENT_LOAD_SECONDS_MAX, GROWN_TIMES * before
        ):
            raise too_costly()
        number = randrange(1, 2**63) if asked.is_again else 0
        whole = document.snapshot() if job.is_read else None
        self._keep(_content(job.key, snapshot, updates), number, document)
        return Done(
            merged=merged,
            written=written,
            update=None if gained is None else gained.update,
            stored=None if gained is None else gained.snapshot,
            snapshot=whole,
            number=number,
            seconds=max(document.cost, document.seconds),
            trimmed_bytes=document.trimmed_bytes,
        )

    def _go_on(self, asked: Asked) -> tuple[OpenDocument, RowData] | None:
        """The document that the same work gave on an earlier state, with what others have done
        since, and what the work changes there; None where it must be done anew."""
        job = asked.job
        for content, (number, document) in self._kept.items():
            if asked.earlier == number != 0:
                del self._kept[content]
                document.seconds = 0.0
                try:
                    values = document.catch_up(job.updates[-asked.added :])
                except PylonError:
                    return None
                return document, changed(_shown(job), values)
        return None

    def _take(self, job: Job) -> tuple[OpenDocument, bool]:
        """The document as it is stored, and whether it had to be loaded."""
        kept = self._kept.pop(_content(job.key, job.snapshot, job.updates), None)
        if kept is None:
            return _load(job, job.snapshot, job.updates), True
        kept[1].seconds = 0.0
        return kept[1], False

    def _keep(self, content: tuple[object, ...], number: int, document: OpenDocument) -> None:
        self._kept[content] = (number, document)
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)


_BENCH: Final = Bench()
"""Of this process."""


def _content(key: Key, snapshot: bytes | None, updates: Sequence[bytes]) -> tuple[object, ...]:
    """What names a document: all that is stored of it."""
    return (key, snapshot, *updates)


def _shown(job: Job) -> RowData:
    """The row as its document shows it."""
    return {name: full(kind, job.row[name]) for name, kind in job.fields.items()}


def _load(job: Job, snapshot: bytes | None, updates: list[bytes]) -> OpenDocument:
    """A document as it is stored, unpacked; `cost` is what that took."""
    document = OpenDocument(job.key, document_class()(job.fields, job.peer), is_inline=False)
    document.trimmed_bytes = job.trimmed_bytes
    if snapshot is not None:
        document.load(snapshot, updates)
        document.unfold()
    return document


def _cost(document: OpenDocument, job: Job, snapshot: bytes | None, updates: list[bytes]) -> float:
    """The seconds it takes to load what is now stored, tried out where that may be long."""
    most = max(document.cost, document.seconds)
    if most <= limits.DOCUMENT_INLINE_SECONDS_MAX or snapshot is None:
        return most
    return _load(job, snapshot, updates).cost
