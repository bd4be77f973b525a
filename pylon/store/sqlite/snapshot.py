"""Snapshots: a read transaction of its own for whoever reads the whole database in one go.

Each has a connection and a thread, and hands over rows when asked, so a slow reader holds the
thread back and nothing piles up. Used by exports through `SqliteStore.snapshot`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TypeVar

import apsw

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import Row, Value
from pylon.store.meta import NEWEST_SEQ
from pylon.store.sqlite.failures import translate

T = TypeVar("T")


class SqliteSnapshot:
    """A `Snapshot` of one SQLite file. Call `start`, and in every case `aclose`."""

    def __init__(self, on_close: Callable[[SqliteSnapshot], None]) -> None:
        self.seq = 0
        self._thread = ThreadPoolExecutor(1, "pylon-snapshot")
        self._on_close = on_close
        self._connection: apsw.Connection | None = None
        self._is_closed = False
        self._stop_at = perf_counter() + limits.SNAPSHOT_SECONDS_MAX
        loop = asyncio.get_running_loop()
        # Whoever forgets or never starts to read must not hold the WAL back for ever.
        self._expiry = loop.call_later(limits.SNAPSHOT_SECONDS_MAX, self._close_soon)

    async def start(self, connect: Callable[[], apsw.Connection]) -> None:
        """Begin the transaction: what is committed later is not seen."""
        self.seq = await self._run(lambda: self._begin(connect()))

    async def rows(self, sql: str, params: Sequence[Value] = ()) -> AsyncIterator[list[Row]]:
        """The rows of a query in chunks bounded in rows and bytes; none of them is empty."""
        cursor = await self._run(lambda: self._execute(sql, params))
        while chunk := await self._run(lambda: _take(cursor)):
            yield chunk

    async def aclose(self) -> None:
        """End the transaction and let go of the connection; again is nothing."""
        self._close_soon()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    def _close_soon(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._expiry.cancel()
        self._thread.submit(self._end)
        self._thread.shutdown(wait=False)
        self._on_close(self)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._is_closed:
            raise _too_long()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except apsw.InterruptError as error:
            raise _too_long() from error
        except apsw.Error as error:
            raise translate(error) from error

    # --- on the thread -----------------------------------------------------------------------

    def _begin(self, connection: apsw.Connection) -> int:
        self._connection = connection
        connection.set_progress_handler(self._is_late, limits.READ_PROGRESS_STEPS)
        connection.execute("BEGIN")
        # The transaction sees the moment of its first read, so that is made here.
        found = connection.execute(NEWEST_SEQ).fetchall()
        return int(found[0][0] or 0)

    def _execute(self, sql: str, params: Sequence[Value]) -> apsw.Cursor:
        assert self._connection is not None
        return self._connection.execute(sql, params)

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _is_late(self) -> bool:
        return self._is_closed or perf_counter() > self._stop_at


def _take(cursor: apsw.Cursor) -> list[Row]:
    chunk: list[Row] = []
    size = 0
    for row in cursor:
        chunk.append(row)
        size += sum([len(value) for value in row if isinstance(value, str | bytes)])
        if len(chunk) >= limits.SNAPSHOT_CHUNK_ROWS or size >= limits.SNAPSHOT_CHUNK_BYTES:
            break
    return chunk


def _too_long() -> PylonError:
    return PylonError(
        503,
        "QUERY_TIMEOUT",
        "The snapshot was closed before it was read to its end.",
        f"It may be open for {limits.SNAPSHOT_SECONDS_MAX:g} seconds.",
    )
