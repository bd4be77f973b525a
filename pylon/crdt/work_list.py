"""A document whose work is done beside the server, seen from inside a unit.

A unit awaits nothing but its database, so it cannot wait for a process. It says what it needs and
is undone (`WorkNeeded`); the work is done (`workshop.py`), and the unit runs again with a
`WorkList` that has the answer. A job names all that it was done on, so an answer fits only where
row and document are still the same; else the unit needs the work once more, on what is there now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from pylon import limits
from pylon.calls import Refused
from pylon.crdt.fields import RowData, full
from pylon.crdt.open_document import Gained, Key
from pylon.crdt.work import Answer, Done, Job
from pylon.errors import PylonError


class WorkNeeded(BaseException):
    """A unit needs a job done before it can go on. No `Exception`, for the reason of `TooHeavy`."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.key)
        self.job = job


class WorkList:
    """What was done for one write, over all its attempts."""

    def __init__(self) -> None:
        self.keys: set[Key] = set()
        """The documents that are worked on beside the server."""
        self._done: list[tuple[Job, Answer]] = []
        self._conflicts: Counter[Key] = Counter()

    def answer(self, job: Job) -> Answer | None:
        """What came of an equal job; None when none was done."""
        return next((answer for done, answer in self._done if done == job), None)

    def earlier(self, job: Job) -> tuple[Job, Done] | None:
        """A merge that was done on a state to which only updates were added since: it can go on
        from there. Values that are written are written anew, over what others did."""
        if job.merges is None or job.writes is not None:
            return None
        for done, answer in reversed(self._done):
            count = len(done.updates)
            if (
                isinstance(answer, Done)
                and answer.number
                and done.is_same_work(job)
                and done.snapshot == job.snapshot
                and count < len(job.updates)
                and done.updates == job.updates[:count]
            ):
                return done, answer
        return None

    def add(self, job: Job, answer: Answer) -> None:
        """Keep what came of a job."""
        self._done.append((job, answer))

    def check(self, job: Job) -> int:
        """How often this work was done before, each time on a state that is no more.

        503 `CRDT_BUSY` when it would be done again too often, 413 `CRDT_TOO_MUCH_WORK` for too much
        in one write.
        """
        if any(done.is_same_work(job) for done, _ in self._done):
            self._conflicts[job.key] += 1
            if self._conflicts[job.key] > limits.DOCUMENT_CONFLICTS_MAX:
                raise PylonError(
                    503,
                    "CRDT_BUSY",
                    "Others change this row faster than your change can be merged.",
                    "Try again.",
                    retry_after_secs=1,
                )
        if len(self._done) >= limits.DOCUMENT_JOBS_PER_WRITE_MAX:
            raise PylonError(
                413,
                "CRDT_TOO_MUCH_WORK",
                f"One write may change {limits.DOCUMENT_JOBS_PER_WRITE_MAX} large documents.",
                "Split it.",
            )
        return self._conflicts[job.key]


class OutsideDocument:
    """A document in hand of which the unit has only what is stored; used as `OpenDocument` is.

    Each method raises `WorkNeeded` where its answer is not there yet.
    """

    __slots__ = ("_done", "_job", "_work", "key", "n")

    def __init__(self, job: Job, n: int, work: WorkList) -> None:
        self.key = job.key
        self.n = n
        self._job = job
        self._work = work
        self._done: Done | None = None

    def merge(self, update: bytes) -> RowData:
        """See `OpenDocument.merge`."""
        return dict(self._do(msgspec.structs.replace(self._job, merges=update)).merged)

    def write(self, values: Mapping[str, object]) -> RowData:
        """See `OpenDocument.write`."""
        job, merged = self._job, {} if self._done is None else self._done.merged
        shown = {**job.row, **merged}
        wanted = {
            name: value
            for name, value in values.items()
            if (kind := job.fields.get(name)) is not None
            and full(kind, shown[name]) != full(kind, value)
        }
        if not wanted:
            return dict(values)
        done = self._do(msgspec.structs.replace(job, writes=wanted))
        return {**values, **done.written}

    def gain(self) -> Gained | None:
        """See `OpenDocument.gain`."""
        done = self._do(self._job)
        if done.update is None:
            return None
        self.n += 1
        return Gained(update=done.update, snapshot=done.stored, seconds=done.seconds)

    def snapshot(self) -> bytes:
        """See `OpenDocument.snapshot`; for a document that is only read."""
        whole = self._do(self._job).snapshot
        assert whole is not None, "a document that was changed is read in a unit of its own"
        return whole

    @property
    def cost(self) -> float:
        """What it takes to load it after `gain`, in seconds of a processor."""
        return self._do(self._job).seconds

    @property
    def trimmed_bytes(self) -> int:
        return self._do(self._job).trimmed_bytes

    def _do(self, job: Job) -> Done:
        if self._done is not None and job is self._job:
            return self._done
        answer = self._work.answer(job)
        if answer is None:
            raise WorkNeeded(job)
        if isinstance(answer, Refused):
            raise answer.to_error()
        self._job, self._done = job, answer
        return answer
