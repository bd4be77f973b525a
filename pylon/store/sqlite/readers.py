"""Reads: at once on the loop while they are short, off it as far as they are not.

A read has a budget of a few milliseconds on the loop. One that exceeds it is abandoned and run
again: its first row, for which SQLite may have to scan and sort, is made on a thread; the other
rows are then taken on the loop in short slices. (Rows taken on a thread would cost a handover of
the interpreter's lock each, which under load is milliseconds a row.) Where rows are long in coming
too, the whole read is done on the thread. Statements seen to be long start there for a while.
Equal long reads that come while nothing is committed are one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from time import perf_counter, thread_time
from typing import TypeVar

import apsw

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import Row, Value
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


class Answer:
    """The rows of one read; 400 `ANSWER_TOO_LARGE` when they hold more than may be kept."""

    __slots__ = ("_bytes", "rows")

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._bytes = 0

    def add(self, chunk: list[Row]) -> None:
        """Take a few rows more."""
        self.rows += chunk
        try:
            self._bytes += sum(map(len, chain.from_iterable(chunk)))  # rows that are one text each
        except TypeError:
            self._bytes += sum(
                [len(value) for row in chunk for value in row if isinstance(value, str | bytes)]
            )
        if self._bytes > limits.ANSWER_BYTES_MAX:
            raise PylonError(
                400,
                "ANSWER_TOO_LARGE",
                f"The answer has more than {limits.ANSWER_BYTES_MAX} bytes.",
                "Ask for fewer rows at a time.",
            )


class TimedConnection:
    """A read connection whose statements are interrupted when their time is over."""

    __slots__ = ("_connection", "_extensions", "_processor_at", "_stop_at")

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._stop_at = 0.0
        self._extensions = 0
        self._processor_at = 0.0
        connection.set_progress_handler(self._is_late, limits.READ_PROGRESS_STEPS)

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

    def fetch_briefly(self, sql: str, params: Sequence[Value]) -> list[Row]:
        """All rows within the budget of the loop, or `apsw.InterruptError`."""
        began = perf_counter()
        self._extensions = BUDGET_EXTENSIONS
        self._stop_at = began + limits.READ_BUDGET_SECONDS
        rows = self._connection.execute(sql, params).fetchall()
        if perf_counter() - began > limits.READ_BUDGET_SECONDS:
            # SQLite asks every so many steps only: these may be few rows, but huge.
            Answer().add(rows)
        return rows

    def open(self, sql: str, params: Sequence[Value], seconds: float) -> apsw.Cursor:
        """Begin a read: its first row is made, within `seconds`, or `apsw.InterruptError`."""
        self._extensions = 0
        self._stop_at = perf_counter() + seconds
        return self._connection.execute(sql, params)

    def fetch(self, sql: str, params: Sequence[Value], seconds: float) -> list[Row]:
        """All rows, or `apsw.InterruptError` once `seconds` have passed."""
        cursor = self.open(sql, params, seconds)
        answer = Answer()
        while chunk := list(islice(cursor, SLICE_ROWS)):
            answer.add(chunk)
        return answer.rows

    def take(self, cursor: apsw.Cursor, answer: Answer) -> bool:
        """Take rows for one slice; whether there may be more."""
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
        self._free: list[TimedConnection] = []
        self._opened: list[TimedConnection] = []
        self._places = asyncio.Semaphore(limits.READER_THREADS)
        self._pool: ThreadPoolExecutor | None = None
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Long reads under way or before their turn."""
        return self._waiting

    async def read(
        self, sql: str, params: Sequence[Value], *, heavy: bool, seconds: float | None = None
    ) -> list[Row]:
        if not heavy and sql not in self._slow:
            try:
                return self._inline.fetch_briefly(sql, params)
            except apsw.InterruptError:
                self._slow.note(sql)
            except apsw.BusyError:
                pass  # As while another process puts the log in order that a killed one left.
            except apsw.Error as error:
                raise translate(error) from error
        # What began before a commit may not have seen it, so it is only for those who came before.
        most = limits.READ_SECONDS_MAX if seconds is None else seconds
        key = (self._commits(), sql, tuple([(type(value), value) for value in params]), most)
        return await self._shared.get(key, lambda: self._long(sql, params, most))

    async def _long(self, sql: str, params: Sequence[Value], seconds: float) -> list[Row]:
        if self._waiting >= limits.READS_WAITING_MAX:
            raise PylonError(503, "OVERLOADED", "Too many long reads are waiting.", "Try again.")
        self._waiting += 1
        try:
            async with self._places:
                while not self._free:
                    await self._run(self._open, "", (), seconds)
                connection = self._free.pop()
                try:
                    return await self._long_on(connection, sql, params, seconds)
                finally:
                    self._free.append(connection)
        except apsw.InterruptError as error:
            raise timed_out(seconds) from error
        except apsw.Error as error:
            raise translate(error) from error
        finally:
            self._waiting -= 1

    async def _long_on(
        self, connection: TimedConnection, sql: str, params: Sequence[Value], seconds: float
    ) -> list[Row]:
        answer = Answer()
        cursor = await self._run(connection.open, sql, params, seconds)
        try:
            while connection.take(cursor, answer):  # noqa: ASYNC110
                await asyncio.sleep(0)
            return answer.rows
        except apsw.InterruptError:
            cursor.close(True)
            return await self._run(connection.fetch, sql, params, seconds)
        finally:
            cursor.close(True)

    def _open(self, *_: object) -> None:
        """One connection more, on a thread: it opens files, and may wait for another process."""
        connection = TimedConnection(self._connect())
        self._opened.append(connection)
        self._free.append(connection)

    async def _run(
        self,
        work: Callable[[str, Sequence[Value], float], T],
        sql: str,
        params: Sequence[Value],
        seconds: float,
    ) -> T:
        """Run on a reader thread, to its end even if the caller goes: it holds the connection."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(limits.READER_THREADS, "pylon-read")
        running = asyncio.get_running_loop().run_in_executor(self._pool, work, sql, params, seconds)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait((running,))
            if not running.cancelled():
                running.exception()
            raise

    async def close(self) -> None:
        """End reads that are under way, wait for their threads, then close every connection."""
        await self._shared.close()
        if self._pool is not None:
            pool = self._pool
            await asyncio.get_running_loop().run_in_executor(None, pool.shutdown)
        for connection in self._opened:
            connection.close()
        self._inline.close()
