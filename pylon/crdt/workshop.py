"""Where work on documents is done that would hold the loop: outside of any transaction, in
processes beside the server, within each caller's share of their time.

A write whose unit says `NotYet` comes here (`write`): the work is done on the state that the unit
saw, and the unit runs again. Not here: what the work is (`work.py`), and whether an answer still
fits (`work_list.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from time import perf_counter
from typing import Final, TypeVar

from pylon import asking, limits
from pylon.calls import Refused
from pylon.crdt.deep_stack import DEEP_STACK
from pylon.crdt.open_document import Key, Reserved, TooHeavy
from pylon.crdt.shares import ShareKey, Shares, share_keys
from pylon.crdt.weight import too_costly
from pylon.crdt.work import Answer, Job, pack, perform, unpack
from pylon.crdt.work_list import WorkList, WorkNeeded
from pylon.errors import PylonError
from pylon.identity import Identity
from pylon.pools import Lease, ProcessPool, Taken, Turns, WorkerLost, WorkTooLong
from pylon.tasks import Tasks

log = logging.getLogger("pylon.documents")

T = TypeVar("T")

PERFORM: Final = "pylon.crdt.work:perform"


class NotYet(Exception):
    """A unit was undone because work on a document must be done first."""

    def __init__(self, needed: TooHeavy | WorkNeeded) -> None:
        super().__init__(str(needed))
        self.needed = needed


def document_processes() -> ProcessPool:
    """The pool that a service gives its workshop."""
    return ProcessPool(
        "documents",
        PERFORM,
        limits.DOCUMENT_PROCESSES,
        waiting_max=limits.DOCUMENT_JOBS_WAITING_MAX,
        per_key_max=limits.DOCUMENT_JOBS_PER_ADDRESS_MAX,
    )


class Process:
    """Where the jobs of one write are done: a leased process, or here where there is no pool."""

    def __init__(self, pool: ProcessPool | None, rows: Turns) -> None:
        self._pool, self._rows = pool, rows
        self._stack = AsyncExitStack()
        self._lease: Lease | None = None
        self._row: Key | None = None
        self.is_there = False

    async def begin(self, row: Key | None) -> bool:
        """Get one, when it is the turn of the row: of those that all work on it each would find
        that another was faster. Whether there was a queue."""
        self.is_there = True
        self._row = row
        has_waited = False
        if row is not None:
            has_waited = await self._stack.enter_async_context(self._rows.of(row))
        if self._pool is None:
            return has_waited
        leased = self._pool.lease(asking.address())
        self._lease = await self._stack.enter_async_context(leased)
        return has_waited or self._lease.has_waited

    def reserve(self, row: Key, reserved: set[Key]) -> None:
        """Let those wait for this write who would change its row meanwhile."""
        if row == self._row and row not in reserved:
            reserved.add(row)
            self._stack.callback(reserved.discard, row)

    async def run(self, asked: bytes) -> Taken:
        """Have a job done; see `Lease.run`."""
        if self._lease is None:
            return DEEP_STACK.run(lambda: perform(asked)), 0.0
        return await self._lease.run(asked, seconds=limits.DOCUMENT_JOB_SECONDS_MAX)

    async def end(self) -> None:
        """Give it back."""
        await self._stack.aclose()


class Workshop:
    """Does jobs. Without a pool it does them where it is called, for programs that serve nobody."""

    def __init__(self, pool: ProcessPool | None = None) -> None:
        self._pool = pool
        self._rows = Turns("documents", limits.POOL_WAIT_SECONDS_MAX)
        self._shares = Shares()
        self._tasks = Tasks()
        self._recent: OrderedDict[Key, tuple[Job, asyncio.Task[Answer]]] = OrderedDict()
        self._recent_bytes = 0
        self.jobs = 0
        self.conflicts = 0

    # --- writes ------------------------------------------------------------------------------

    async def write(
        self,
        identity: Identity,
        attempt: Callable[[WorkList], Awaitable[T]],
        not_yet: NotYet,
        reserved: set[Key],
    ) -> T:
        """Do what a write needs, and attempt it until nothing is missing; its result. A document
        that others have changed too often meanwhile is among the `reserved` ones until then.

        503 `CRDT_BUSY` when the row is changed again and again meanwhile, 413 `CRDT_TOO_MUCH_WORK`
        for a write on too many large documents, 429 `RATE_LIMITED` for a caller, address or row
        whose documents take too much time, 503 `OVERLOADED` when too much work waits, 503
        `CRDT_WORK_LOST` when its process has ended.
        """
        work, process = WorkList(), Process(self._pool, self._rows)
        try:
            while True:
                needed = not_yet.needed
                if isinstance(needed, Reserved):
                    async with self._rows.of(needed.key):
                        pass
                elif isinstance(needed, TooHeavy):
                    assert needed.key not in work.keys, f"{needed.key} was to be done elsewhere"
                    work.keys.add(needed.key)
                elif needed.job.is_read:
                    work.check(needed.job)
                    work.add(needed.job, await self._read(identity, needed.job))
                elif not await self._ready(identity, needed.job, process):
                    conflicts = work.check(needed.job)
                    self.conflicts += conflicts > 0
                    if conflicts >= limits.DOCUMENT_CONFLICTS_FREE:
                        process.reserve(needed.job.key, reserved)
                    asked = pack(
                        needed.job, is_again=conflicts > 0, earlier=work.earlier(needed.job)
                    )
                    work.add(needed.job, await self._run(identity, needed.job, asked, process))
                try:
                    return await attempt(work)
                except NotYet as again:
                    not_yet = again
        finally:
            await process.end()

    async def _ready(self, identity: Identity, job: Job, process: Process) -> bool:
        """Have a process for a write, which keeps it to its end: what it made is there when the
        same is to be done again. Whether that was waited for, and the job may be of the past."""
        if process.is_there:
            return False
        has_waited = await self.admit(share_keys(identity, job.key))
        return await process.begin(job.key) or has_waited

    # --- time --------------------------------------------------------------------------------

    async def admit(self, keys: list[ShareKey]) -> bool:
        """Wait until these may take more of the server's time, and whether that was necessary; 429
        `RATE_LIMITED` when it is too long a wait."""
        wait = self._shares.wait(keys, perf_counter())
        if wait > limits.DOCUMENT_PENDING_SECONDS:
            raise too_busy(wait)
        if wait > 0:
            await asyncio.sleep(wait)
        return wait > 0

    def take(self, keys: list[ShareKey], seconds: float) -> None:
        """Count time that these have taken, beyond what is free."""
        if seconds > limits.DOCUMENT_MERGE_SECONDS_FREE:
            self._shares.take(keys, seconds, perf_counter())

    # --- jobs --------------------------------------------------------------------------------

    async def _read(self, identity: Identity, job: Job) -> Answer:
        # Readers that come together, and those that come next, share one answer.
        known = self._recent.get(job.key)
        if known is not None and known[0] == job and not _has_failed(known[1]):
            return await asyncio.shield(known[1])
        self._forget(job.key)
        # Whoever merges much into a row does not keep others from reading it.
        await self.admit([key for key in share_keys(identity, job.key) if key[0] != "row"])
        task = self._tasks.start("read a document", self._run_alone(identity, job), logs=False)
        self._recent[job.key] = (job, task)
        self._recent_bytes += _size(job)
        while self._recent_bytes > limits.DOCUMENT_RECENT_BYTES_MAX and len(self._recent) > 1:
            self._forget(next(iter(self._recent)))
        return await asyncio.shield(task)

    def _forget(self, key: Key) -> None:
        known = self._recent.pop(key, None)
        if known is not None:
            self._recent_bytes -= _size(known[0])

    async def _run_alone(self, identity: Identity, job: Job) -> Answer:
        process = Process(self._pool, self._rows)
        try:
            await process.begin(None)
            return await self._run(identity, job, pack(job), process)
        finally:
            await process.end()

    async def _run(self, identity: Identity, job: Job, asked: bytes, process: Process) -> Answer:
        self.jobs += 1
        seconds = 0.0
        try:
            answer, seconds = await process.run(asked)
        except WorkTooLong:
            seconds = limits.DOCUMENT_JOB_SECONDS_MAX
            return Refused.of(too_costly())
        except WorkerLost as lost:
            seconds = LOST_SECONDS
            log.warning("work on a document of %s was lost: %s", job.key[0], lost)
            raise PylonError(
                503,
                "CRDT_WORK_LOST",
                "The process that worked on this document has ended. Nothing was changed.",
                "Try again; where it happens each time, the update cannot be merged.",
                retry_after_secs=1,
            ) from None
        finally:
            self.take(share_keys(identity, job.key), seconds)
        return unpack(answer)

    async def close(self) -> None:
        """End what is under way. The pool is ended by whoever owns it."""
        await self._tasks.stop()


LOST_SECONDS: Final = 1.0
"""What a caller is counted for work that ended its process: starting another is not free."""


def too_busy(seconds: float) -> PylonError:
    """Somebody's documents take more of the server's time than their share."""
    return PylonError(
        429,
        "RATE_LIMITED",
        "Merging your updates takes too much time.",
        "Send smaller updates, or wait.",
        retry_after_secs=int(seconds) + 1,
    )


def _has_failed(task: asyncio.Task[Answer]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _size(job: Job) -> int:
    """About the bytes of a document that is kept: as stored, and whole."""
    return 2 * (len(job.snapshot or b"") + sum(map(len, job.updates))) + 1_024
