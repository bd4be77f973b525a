"""Named pools of threads and processes for work that must not hold the event loop.

Each pool has so many workers, so many calls that may wait, and so many of one key, and takes the
keys in turn, so that nobody who asks for much keeps the others waiting. Workers start with the
first call. Whoever makes a pool adds it to the service's `Pools`, which ends and counts them.
Knows nothing of what the work is; the other end of a process is `pool_child.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import sys
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from pylon import limits
from pylon.errors import PylonError
from pylon.fair_queue import FairQueue
from pylon.tasks import Tasks

log = logging.getLogger("pylon.pools")

T = TypeVar("T")

ASKED: Final = struct.Struct("<II")
"""Before the work on its way to a process: its bytes, and the seconds after which it is killed."""

ANSWERED: Final = struct.Struct("<BIdI")
"""Before an answer: 0 or what it failed with (`FAILED`), its bytes, the seconds of a processor that
it took, and the process's memory in KiB."""

FAILED: Final = 1

ROOT: Final = str(Path(__file__).resolve().parents[1])

PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "TZ", "SYSTEMROOT", "TMPDIR", "LD_LIBRARY_PATH")
"""What of its environment a process is given: no settings, and so no secrets."""


class WorkerLost(Exception):
    """The process that had the work has ended before it answered."""


class WorkTooLong(Exception):
    """The work took more than its time; the process that had it was killed."""


class WorkFailed(Exception):
    """The work raised what is no part of its answer: a bug. The text is its traceback."""


class PoolFigures(Struct, frozen=True, kw_only=True):
    """What a pool has done and has to do, for metrics."""

    workers: int
    busy: int
    waiting: int
    done: int
    refused: int
    lost: int


class Pool(Protocol):
    """What `Pools` needs of a pool."""

    @property
    def figures(self) -> PoolFigures: ...

    async def close(self) -> None: ...


class Pools:
    """All pools of a service, by name."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}

    def add(self, name: str, pool: Pool) -> None:
        """Let a pool end with the service. A second one of the same name is a bug."""
        assert name not in self._pools, f"two pools are named {name}"
        self._pools[name] = pool

    @property
    def figures(self) -> Mapping[str, PoolFigures]:
        return {name: pool.figures for name, pool in self._pools.items()}

    async def close(self) -> None:
        """End every worker."""
        for pool in self._pools.values():
            await pool.close()


def _queue(name: str, count: int, *, waiting_max: int, per_key_max: int) -> FairQueue:
    """The places of a pool. 503 `OVERLOADED` where the queue is full, or the wait too long."""
    return FairQueue(
        count,
        waiting_max=waiting_max,
        waiting_each_max=per_key_max,
        seconds_max=limits.POOL_WAIT_SECONDS_MAX,
        refusal=partial(overloaded, name),
    )


def overloaded(name: str) -> PylonError:
    """Too many wait."""
    return PylonError(
        503,
        "OVERLOADED",
        f"Too much is waiting for the server's {name}.",
        "Try again.",
        retry_after_secs=limits.POOL_RETRY_SECONDS,
    )


class Turns:
    """One at a time for each key, the others after it, `seconds` at most."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        self._turns: dict[Hashable, tuple[asyncio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def of(self, key: Hashable) -> AsyncIterator[bool]:
        """The turn of `key`; whether somebody was before. 503 `OVERLOADED` when it does not come
        in time."""
        lock, users = self._turns.setdefault(key, (asyncio.Lock(), []))
        users.append(None)
        try:
            has_waited = lock.locked()
            try:
                async with asyncio.timeout(self._seconds):
                    await lock.acquire()
            except TimeoutError:
                raise overloaded(self._name) from None
            try:
                yield has_waited
            finally:
                lock.release()
        finally:
            users.pop()
            if not users:
                del self._turns[key]


class ThreadPool:
    """Threads for calls that let the interpreter go: reading files, compressing, hashing."""

    def __init__(
        self, name: str, workers: int, *, waiting_max: int, per_key_max: int | None = None
    ) -> None:
        self._name, self._workers = name, workers
        self._places = _queue(
            name, workers, waiting_max=waiting_max, per_key_max=per_key_max or waiting_max
        )
        self._threads: ThreadPoolExecutor | None = None
        self._done = 0

    @property
    def figures(self) -> PoolFigures:
        places = self._places
        return PoolFigures(
            workers=0 if self._threads is None else self._workers,
            busy=places.taken,
            waiting=places.waiting,
            done=self._done,
            refused=places.refused,
            lost=0,
        )

    async def run(self, work: Callable[[], T], *, key: Hashable = None) -> T:
        """The result of `work`, or what it raised."""
        await self._places.take(key)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._workers, f"pylon-{self._name}")
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # The thread has it to its end, whether or not somebody still waits.
        running.add_done_callback(partial(self._ended, key))
        return await asyncio.shield(running)

    def _ended(self, key: Hashable, running: asyncio.Future[Any]) -> None:
        self._done += 1
        self._places.give(key)
        if not running.cancelled():
            running.exception()

    async def close(self) -> None:
        """Wait for what is under way."""
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.get_running_loop().run_in_executor(
                None, partial(threads.shutdown, cancel_futures=True)
            )


class _Worker:
    """One process of a pool; has one piece of work at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.rests: asyncio.TimerHandle | None = None
        """Ends it when it has had nothing to do for long."""
        self.gone = asyncio.Event()
        self.kibibytes = 0
        """The most memory that it has had."""

    async def ask(self, work: bytes, seconds: float) -> tuple[int, bytes, float, int]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        # The process is killed by the kernel a little later, should this one be gone.
        process.stdin.write(ASKED.pack(len(work), int(seconds) + 2))
        process.stdin.write(work)
        await process.stdin.drain()
        head = await process.stdout.readexactly(ANSWERED.size)
        failed, length, took, kibibytes = ANSWERED.unpack(head)
        return failed, await process.stdout.readexactly(length), took, kibibytes

    @property
    def is_alive(self) -> bool:
        stdin = self._process.stdin
        is_open = stdin is not None and not stdin.is_closing()
        return is_open and self._process.returncode is None and not self.gone.is_set()

    def wake(self) -> None:
        """It has something to do."""
        if self.rests is not None:
            self.rests.cancel()

    def kill(self) -> None:
        self.wake()
        if self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> int:
        """Let go of it once it is killed; its exit code."""
        with suppress(OSError):
            await self._process.communicate()
        self.gone.set()
        code = self._process.returncode
        assert code is not None
        return code


Taken: TypeAlias = tuple[bytes, float]
"""An answer, and the seconds of a processor that it took."""


class Lease:
    """A process of a pool that somebody has for a while."""

    def __init__(self, pool: ProcessPool, *, has_waited: bool) -> None:
        self._pool = pool
        self._worker: _Worker | None = None
        self.has_waited = has_waited
        """Whether there was a queue before it."""

    async def run(self, work: bytes, *, seconds: float) -> Taken:
        """The answer to `work`, and the seconds of a processor that it took.

        Raises `WorkTooLong`, `WorkerLost`, `WorkFailed`; after the first two the next work has
        another process.
        """
        worker, self._worker = self._worker, None
        if worker is None:
            worker = await self._pool.taken()
        try:
            return await self._pool.ask(worker, work, seconds)
        finally:
            if worker.is_alive:
                self._worker = worker

    def end(self) -> None:
        """Give the process back."""
        worker, self._worker = self._worker, None
        if worker is not None:
            self._pool.rest(worker)


class ProcessPool:
    """Processes for work that would keep the interpreter's lock, or that strangers' bytes may make
    endless or deadly: bytes in, bytes out.

    A process that crashes or takes too long loses the one piece of work that it had; the next work
    starts another.
    """

    def __init__(
        self, name: str, function: str, workers: int, *, waiting_max: int, per_key_max: int
    ) -> None:
        """`function` is `module:name` of what takes and gives bytes."""
        self._name, self._function = name, function
        self._places = _queue(name, workers, waiting_max=waiting_max, per_key_max=per_key_max)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._tasks = Tasks()
        self._done = self._lost = 0
        self._is_closed = False

    @property
    def figures(self) -> PoolFigures:
        places = self._places
        return PoolFigures(
            workers=len(self._all),
            busy=places.taken,
            waiting=places.waiting,
            done=self._done,
            refused=places.refused,
            lost=self._lost,
        )

    @asynccontextmanager
    async def lease(self, key: Hashable = None) -> AsyncIterator[Lease]:
        """A process for several pieces of work, one after the other; it may keep what it made of
        one for the next. 503 `OVERLOADED` where too much waits, 503 `SHUTTING_DOWN` once the pool
        is closed."""
        has_waited = await self._places.take(key)
        lease = Lease(self, has_waited=has_waited)
        try:
            yield lease
        finally:
            lease.end()
            self._places.give(key)

    async def run(self, work: bytes, *, key: Hashable = None, seconds: float) -> Taken:
        """One piece of work; see `lease` and `Lease.run`."""
        async with self.lease(key) as lease:
            return await lease.run(work, seconds=seconds)

    async def taken(self) -> _Worker:
        """A process that has nothing to do, for a lease."""
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive:
                worker.wake()
                return worker
            await self._lose(worker)  # it has ended by itself
        return await self._start()

    async def ask(self, worker: _Worker, work: bytes, seconds: float) -> Taken:
        """Have a process do it; after a failure it is gone. See `Lease.run`."""
        try:
            async with asyncio.timeout(seconds):
                failed, answer, took, worker.kibibytes = await worker.ask(work, seconds)
        except TimeoutError:
            await self._lose(worker)
            log.warning("a process of %s took more than %.0f s", self._name, seconds)
            raise WorkTooLong from None
        except (OSError, RuntimeError, asyncio.IncompleteReadError):
            # uvloop says `RuntimeError` for a pipe whose other end has gone.
            code = await self._lose(worker)
            log.warning("a process of %s ended with %d", self._name, code)
            raise WorkerLost(f"exit code {code}") from None
        except BaseException:
            await self._lose(worker)
            raise
        self._done += 1
        if failed:
            raise WorkFailed(answer.decode(errors="replace"))
        return answer, took

    async def _start(self) -> _Worker:
        self._refuse_closed()
        known = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        path = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
        try:
            process = await asyncio.create_subprocess_exec(
                # `-P`: files of the folder it is started in are no modules.
                *(sys.executable, "-P", "-m", "pylon.pool_child", self._function),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=limits.POOL_ANSWER_BUFFER_BYTES,
                # Keys of the terminal are for the service, which ends its processes itself.
                start_new_session=True,
                env={**known, "PYTHONPATH": path},
            )
        except OSError as error:  # no memory, no descriptors
            self._lost += 1
            log.warning("no process of %s could be started: %s", self._name, error)
            raise WorkerLost(str(error)) from error
        worker = _Worker(process)
        self._all.add(worker)
        try:
            self._refuse_closed()
        except PylonError:
            await self._lose(worker)
            raise
        return worker

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise PylonError(503, "SHUTTING_DOWN", "The server is stopping.")

    def rest(self, worker: _Worker) -> None:
        """A lease has ended."""
        if self._is_closed or worker.kibibytes * 1024 > limits.POOL_PROCESS_KEPT_BYTES:
            self._end(worker)
            return
        self._idle.append(worker)
        worker.rests = asyncio.get_running_loop().call_later(
            limits.POOL_IDLE_SECONDS, self._end, worker
        )

    def _end(self, worker: _Worker) -> None:
        """End one that has nothing in hand."""
        if worker in self._idle:
            self._idle.remove(worker)
        self._tasks.start("a process ends", self._gone(worker))

    async def _lose(self, worker: _Worker) -> int:
        self._lost += 1
        return await self._tasks.start("a process ends", self._gone(worker))

    async def _gone(self, worker: _Worker) -> int:
        worker.kill()
        code = await worker.ended()
        self._all.discard(worker)
        return code

    async def close(self) -> None:
        """End every process, whatever it has in hand."""
        self._is_closed = True
        workers = list(self._all)
        for worker in workers:
            if worker in self._idle:
                self._end(worker)
            else:
                worker.kill()  # whoever waits for its answer lets go of it
        for worker in workers:
            await worker.gone.wait()
