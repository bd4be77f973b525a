"""Reads: at once on the loop while they are short, off it as far as they are not.

A read has a budget of a few milliseconds on the loop, looked at between the steps of SQLite; and
since no step can be interrupted, no value of it may be large there. One that exceeds either, and
every one that asks the full-text index or looks for texts in texts, is run on a thread as far as
its first row, for which SQLite may have to scan and sort; the other rows are then taken on the loop
in short slices, under the same bounds. (Rows taken on a thread would cost a handover of the
interpreter's lock each, which under load is milliseconds a row.) Where rows are long in coming too,
the whole read is done on the thread. Statements seen to be long start there for a while. Equal long
reads that come while nothing is committed are one; who has a thread next, `fair_queue` decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from time import perf_counter, thread_time
from typing import Any, TypeVar

import apsw

from pylon import asking, limits
from pylon.errors import PylonError
from pylon.fair_queue import FairQueue
from pylon.store.base import Row, Value, answer_too_large
from pylon.store.sqlite.dialect import looks_into_texts
from pylon.store.sqlite.failures import timed_out, translate
from pylon.store.sqlite.shared import Shared
from pylon.store.sqlite.slow import SlowStatements

T = TypeVar("T")

BUDGET_EXTENSIONS = 4
"""How often a read that was kept from the processor may have its budget again."""

SLICE_ROWS = 50
"""Rows taken between two looks at the clock."""

SLICE_SECONDS = 0.001
"""How long rows are taken before the loop gets its turn."""

INTERRUPT_AGAIN_SECONDS = 0.05
"""A read whose time is over is interrupted so often until it has ended: it may be in the middle of
one function over one text."""

TOO_MUCH = (apsw.InterruptError, apsw.TooBigError)
"""What a read on the loop ends with when it belongs on a thread."""


class Answer:
    """The rows of one read; 400 `ANSWER_TOO_LARGE` when several hold more than may be kept."""

    __slots__ = ("_bytes", "_bytes_max", "rows")

    def __init__(self, bytes_max: int | None = None) -> None:
        self.rows: list[Row] = []
        self._bytes = 0
        self._bytes_max = limits.ANSWER_BYTES_MAX if bytes_max is None else bytes_max

    def add(self, chunk: list[Row]) -> None:
        """Take a few rows more."""
        self.rows += chunk
        try:
            self._bytes += sum(map(len, chain.from_iterable(chunk)))  # rows that are one text each
        except TypeError:
            self._bytes += sum(
                [len(value) for row in chunk for value in row if isinstance(value, str | bytes)]
            )
        if self._bytes > self._bytes_max and len(self.rows) > 1:
            raise answer_too_large(self._bytes_max)


class TimedConnection:
    """A read connection that is used on the loop, under its bounds, or on a thread without.

    Whoever runs it on a thread calls `interrupt` when its time is over. (To be asked every so many
    steps, as on the loop, would take the interpreter's lock each time.)
    """

    __slots__ = ("_bytes_max", "_connection", "_extensions", "_processor_at", "_stop_at")

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._bytes_max = connection.limit(apsw.SQLITE_LIMIT_LENGTH)
        self._stop_at = 0.0
        self._extensions = 0
        self._processor_at = 0.0
        self._bound(limits.READ_ON_LOOP_BYTES_MAX)

    def _bound(self, bytes_max: int) -> None:
        """From here on it is used on the loop."""
        self._connection.limit(apsw.SQLITE_LIMIT_LENGTH, bytes_max)
        self._connection.set_progress_handler(self._is_late, limits.READ_ON_LOOP_STEPS)

    def _unbound(self, bytes_max: int | None) -> None:
        """From here on it is used on a thread, where no value has more than `bytes_max`."""
        most = self._bytes_max if bytes_max is None else bytes_max
        self._connection.limit(apsw.SQLITE_LIMIT_LENGTH, most)
        self._connection.set_progress_handler(None)

    def _is_late(self) -> bool:
        """Asked by SQLite every so many steps; true interrupts the statement.

        A budget on the loop that has run out is extended a few times while the processor was
        somebody else's: such a read is short, and would wait for it on a thread just as well.
        """
        now = perf_counter()
        if now < self._stop_at:
            return False
        if self._extensions == 0:
            return True
        used = thread_time()
        is_first = self._extensions == BUDGET_EXTENSIONS
        if not is_first and used - self._processor_at > limits.READ_BUDGET_SECONDS / 2:
            return True
        self._extensions -= 1
        self._processor_at = used
        self._stop_at = now + limits.READ_BUDGET_SECONDS
        return False

    def interrupt(self) -> None:
        """End the statement under way as soon as its step is over; from any thread."""
        self._connection.interrupt()

    # --- on the loop -------------------------------------------------------------------------

    def fetch_briefly(self, sql: str, params: Sequence[Value]) -> list[Row]:
        """All rows within the bounds of the loop, or one of `TOO_MUCH`."""
        began = perf_counter()
        self._extensions = BUDGET_EXTENSIONS
        self._stop_at = began + limits.READ_BUDGET_SECONDS
        rows = self._connection.execute(sql, params).fetchall()
        if perf_counter() - began > limits.READ_BUDGET_SECONDS:
            # SQLite asks every so many steps only: these may be few rows, but huge.
            Answer().add(rows)
        return rows

    def begin_taking(self, *, bytes_max: int) -> None:
        """The rows that `open` has begun are taken on the loop from here, with no larger value."""
        self._bound(bytes_max)

    def take(self, cursor: apsw.Cursor, answer: Answer) -> bool:
        """Take rows for one slice; whether there may be more. Or one of `TOO_MUCH`."""
        now = perf_counter()
        self._extensions = BUDGET_EXTENSIONS
        self._stop_at = now + limits.READ_BUDGET_SECONDS
        until = now + SLICE_SECONDS
        while perf_counter() < until:
            chunk = list(islice(cursor, SLICE_ROWS))
            answer.add(chunk)
            if len(chunk) < SLICE_ROWS:
                return False
        return True

    # --- on a thread -------------------------------------------------------------------------

    def open(self, sql: str, params: Sequence[Value], bytes_max: int | None) -> apsw.Cursor:
        """Begin a read: its first row is made. `apsw.InterruptError` when its time is over,
        `apsw.TooBigError` for a value beyond `bytes_max`."""
        self._unbound(bytes_max)
        return self._connection.execute(sql, params)

    def fetch(self, sql: str, params: Sequence[Value], bytes_max: int | None) -> list[Row]:
        """All rows, or the same errors."""
        cursor = self.open(sql, params, bytes_max)
        answer = Answer(bytes_max)
        try:
            while chunk := list(islice(cursor, SLICE_ROWS)):
                answer.add(chunk)
        finally:
            # One left open by a refusal would keep the connection, and later reads, at its moment.
            cursor.close(True)
        return answer.rows

    def close(self) -> None:
        self._connection.close()


class Readers:
    """One connection on the loop and a few for long reads."""

    def __init__(
        self, connect: Callable[[], apsw.Connection], *, commits: Callable[[], int]
    ) -> None:
        """`commits` tells how many commits have been acknowledged."""
        self._connect = connect
        self._commits = commits
        self._shared: Shared[list[Row]] = Shared()
        inline = connect()
        inline.set_busy_timeout(0)  # no wait for another process on the loop
        self._inline = TimedConnection(inline)
        self._slow = SlowStatements()
        self._brief = self._slow.brief
        self._free: list[TimedConnection] = []
        self._opened: list[TimedConnection] = []
        self._places = FairQueue(
            limits.READER_THREADS,
            each=limits.READERS_PER_CALLER_MAX,
            waiting_max=limits.READS_WAITING_MAX,
            waiting_each_max=limits.READS_WAITING_PER_CALLER_MAX,
            refusal=_too_many,
        )
        self._pool: ThreadPoolExecutor | None = None

    @property
    def waiting(self) -> int:
        """Long reads under way or before their turn."""
        return len(self._places)

    def at_once(self, sql: str, params: Sequence[Value]) -> list[Row] | None:
        """The rows of a read that is brief enough for the loop; None where it is to be awaited."""
        if sql in self._brief or self._slow.may_be_brief(sql):
            try:
                return self._inline.fetch_briefly(sql, params)
            except TOO_MUCH:
                self._slow.note(sql)
            except apsw.BusyError:
                pass  # As while another process puts the log in order that a killed one left.
            except apsw.Error as error:
                raise translate(error) from error
        return None

    async def read(self, sql: str, params: Sequence[Value]) -> list[Row]:
        """The rows, at once where that can be."""
        rows = self.at_once(sql, params)
        return await self.read_long(sql, params) if rows is None else rows

    async def read_long(
        self,
        sql: str,
        params: Sequence[Value],
        *,
        seconds: float | None = None,
        bytes_max: int | None = None,
    ) -> list[Row]:
        """The rows of a read that is known not to be brief."""
        # What began before a commit may not have seen it, so it is only for those who came before.
        most = limits.READ_SECONDS_MAX if seconds is None else seconds
        values = tuple([(type(value), value) for value in params])
        key = (self._commits(), sql, values, most, bytes_max)
        return await self._shared.get(key, lambda: self._long(sql, params, most, bytes_max))

    async def _long(
        self, sql: str, params: Sequence[Value], seconds: float, bytes_max: int | None
    ) -> list[Row]:
        caller = asking.caller()
        await self._places.take(caller)
        try:
            while not self._free:
                await asyncio.shield(self._on_thread(self._open))
            connection = self._free.pop()
            try:
                return await self._long_on(connection, sql, params, seconds, bytes_max)
            finally:
                self._free.append(connection)
        except apsw.TooBigError as error:
            raise answer_too_large(bytes_max) from error
        except apsw.InterruptError as error:
            raise timed_out(seconds) from error
        except apsw.Error as error:
            raise translate(error) from error
        finally:
            self._places.give(caller)

    async def _long_on(
        self,
        connection: TimedConnection,
        sql: str,
        params: Sequence[Value],
        seconds: float,
        bytes_max: int | None,
    ) -> list[Row]:
        answer = Answer(bytes_max)
        cursor = await self._run(connection, connection.open, sql, params, seconds, bytes_max)
        looks = looks_into_texts(sql)
        connection.begin_taking(
            bytes_max=limits.LOOK_ON_LOOP_BYTES_MAX if looks else limits.READ_ON_LOOP_BYTES_MAX
        )
        try:
            while connection.take(cursor, answer):  # noqa: ASYNC110
                await asyncio.sleep(0)
            return answer.rows
        except TOO_MUCH:
            cursor.close(True)
            return await self._run(connection, connection.fetch, sql, params, seconds, bytes_max)
        finally:
            cursor.close(True)

    def _open(self) -> None:
        """One connection more, on a thread: it opens files, and may wait for another process."""
        connection = TimedConnection(self._connect())
        self._opened.append(connection)
        self._free.append(connection)

    async def _run(
        self,
        connection: TimedConnection,
        work: Callable[[str, Sequence[Value], int | None], T],
        sql: str,
        params: Sequence[Value],
        seconds: float,
        bytes_max: int | None,
    ) -> T:
        """Run on a reader thread; `apsw.InterruptError` after `seconds`. Comes back when the thread
        has let go of the connection, also to a caller who is cancelled."""
        running = self._on_thread(partial(work, sql, params, bytes_max))
        try:
            await asyncio.wait((running,), timeout=seconds)
        finally:
            while not running.done():
                connection.interrupt()
                with suppress(asyncio.CancelledError):  # the thread still has the connection
                    await asyncio.wait((running,), timeout=INTERRUPT_AGAIN_SECONDS)
        return running.result()

    def _on_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(limits.READER_THREADS, "pylon-read")
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)
        running.add_done_callback(_is_heard)
        return running

    async def close(self) -> None:
        """End reads that are under way, wait for their threads, then close every connection."""
        await self._shared.close()
        if self._pool is not None:
            pool = self._pool
            await asyncio.get_running_loop().run_in_executor(None, pool.shutdown)
        for connection in self._opened:
            connection.close()
        self._inline.close()


def _too_many() -> PylonError:
    return PylonError(503, "OVERLOADED", "Too many long reads are waiting.", "Try again.")


def _is_heard(running: asyncio.Future[Any]) -> None:
    """Who waited may have gone, and then nobody asks for the failure."""
    if not running.cancelled():
        running.exception()
