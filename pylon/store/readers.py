"""Reads: at once on the loop while they are short, on a reader thread when they are not.

A read that exceeds its time budget is abandoned and run again on a thread, so no query stalls
the loop; statements seen to be long go to a thread directly for a while.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import apsw

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import Row, Value
from pylon.store.failures import translate

SLOW_SECONDS = 30.0
"""How long a statement that outgrew the budget goes straight to a thread."""

SLOW_STATEMENTS_MAX = 256
"""Statements remembered as slow."""


class TimedConnection:
    """A read connection whose statements are interrupted when their time is over."""

    __slots__ = ("_connection", "_stop_at")

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._stop_at = 0.0
        connection.set_progress_handler(self._is_late, limits.READ_PROGRESS_STEPS)

    def _is_late(self) -> bool:
        return perf_counter() > self._stop_at

    def fetch(self, sql: str, params: Sequence[Value], seconds: float) -> list[Row]:
        """The rows, or `apsw.InterruptError` once `seconds` have passed."""
        self._stop_at = perf_counter() + seconds
        return self._connection.execute(sql, params).fetchall()

    def close(self) -> None:
        self._connection.close()


class Readers:
    """One connection on the loop and a few on threads."""

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self._connect = connect
        self._inline = TimedConnection(connect())
        self._slow: dict[str, float] = {}
        self._local = threading.local()
        self._opened: list[TimedConnection] = []
        self._pool: ThreadPoolExecutor | None = None
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Reads on or before the reader threads."""
        return self._waiting

    async def read(self, sql: str, params: Sequence[Value], *, heavy: bool) -> list[Row]:
        if not heavy and (not self._slow or self._slow.get(sql, 0.0) < perf_counter()):
            try:
                return self._inline.fetch(sql, params, limits.READ_BUDGET_SECONDS)
            except apsw.InterruptError:
                self._remember_slow(sql)
            except apsw.Error as error:
                raise translate(error) from error
        return await self._on_thread(sql, params)

    def _remember_slow(self, sql: str) -> None:
        if len(self._slow) >= SLOW_STATEMENTS_MAX:
            self._slow.clear()
        self._slow[sql] = perf_counter() + SLOW_SECONDS

    async def _on_thread(self, sql: str, params: Sequence[Value]) -> list[Row]:
        if self._waiting >= limits.READS_WAITING_MAX:
            raise PylonError(503, "OVERLOADED", "Too many long reads are waiting.", "Try again.")
        if self._pool is None:
            self._pool = ThreadPoolExecutor(limits.READER_THREADS, "pylon-read")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, self._fetch_on_thread, sql, params
            )
        except apsw.InterruptError as error:
            raise PylonError(
                503,
                "QUERY_TIMEOUT",
                f"The query took longer than {limits.READ_SECONDS_MAX:g} seconds.",
                "Add an index for its filter and order, or ask for less.",
            ) from error
        except apsw.Error as error:
            raise translate(error) from error
        finally:
            self._waiting -= 1

    def _fetch_on_thread(self, sql: str, params: Sequence[Value]) -> list[Row]:
        connection: TimedConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = TimedConnection(self._connect())
            self._opened.append(connection)
        return connection.fetch(sql, params, limits.READ_SECONDS_MAX)

    async def close(self) -> None:
        """Wait for reads on threads, then close every connection."""
        if self._pool is not None:
            pool = self._pool
            await asyncio.get_running_loop().run_in_executor(None, pool.shutdown)
        for connection in self._opened:
            connection.close()
        self._inline.close()
