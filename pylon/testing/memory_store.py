"""A `Store` in memory: no file, no thread, no lock, nothing left behind.

For tests of what is written against a store. It keeps the promises of `pylon.store.base` (the
contract suite runs over it and over the real one), costs a millisecond to make, and a commit can be
made to fail. It speaks the SQL of SQLite. It does not keep reads off the loop: a long one holds the
test up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, TypeVar

import apsw

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import CommitListener, Row, Unit, Value, answer_too_large
from pylon.store.sqlite.dialect import SQLITE, SqliteDialect
from pylon.store.sqlite.failures import translate
from pylon.store.sqlite.functions import add_functions
from pylon.store.sqlite.held import held_too_long
from pylon.store.sqlite.system_tables import fit_system_tables
from pylon.store.system import NO_TABLES, SystemTables

T = TypeVar("T")


class MemoryStore:
    """A `Store` for tests. Make it anywhere, use it inside a running loop.

    `tables` are the system tables of parts, `ddl` makes others. `fail_next_commit`: the next batch
    that would be committed is undone and each of its callers gets this error instead, once.
    """

    def __init__(self, ddl: Iterable[str] = (), *, tables: SystemTables = NO_TABLES) -> None:
        self.fail_next_commit: PylonError | None = None
        self.seq = 0
        self._connection = apsw.Connection(":memory:")
        add_functions(self._connection)
        fit_system_tables(self._connection, tables, "in memory")
        for statement in ddl:
            self._connection.execute(statement)
        self._keep_from_writing(True)
        self._queue: deque[tuple[Unit[Any], asyncio.Future[Any]]] = deque()
        self._listeners: list[CommitListener] = []
        self._snapshots: set[MemorySnapshot] = set()
        self._is_scheduled = False
        self._is_closed = False
        self._holding = asyncio.Lock()
        self._not_held = asyncio.Event()
        self._not_held.set()

    @property
    def dialect(self) -> SqliteDialect:
        return SQLITE

    # --- reads -------------------------------------------------------------------------------

    async def read(
        self,
        sql: str,
        params: Sequence[Value] = (),
        *,
        heavy: bool = False,
        seconds: float | None = None,
        bytes_max: int | None = None,
    ) -> list[Row]:
        await self._not_held.wait()  # there is one connection, and reads see commits only
        rows = _fetch(self._connection, sql, params, seconds or limits.READ_SECONDS_MAX)
        values = [value for row in rows for value in row if isinstance(value, str | bytes)]
        most = limits.ANSWER_BYTES_MAX if bytes_max is None else bytes_max
        is_larger = sum(map(len, values)) > most and len(rows) > 1
        if is_larger or (bytes_max is not None and any(len(value) > most for value in values)):
            raise answer_too_large(bytes_max)
        return rows

    async def snapshot(self) -> MemorySnapshot:
        if len(self._snapshots) >= limits.SNAPSHOTS_MAX:
            raise PylonError(503, "OVERLOADED", "Too many snapshots are open.")
        snapshot = MemorySnapshot(self._connection, self.seq, self._snapshots.discard)
        self._snapshots.add(snapshot)
        return snapshot

    # --- writes ------------------------------------------------------------------------------

    async def write(
        self, unit: Unit[T], *, alone: bool = False, compute_seconds: float | None = None
    ) -> T:
        """What the unit computes is not bounded here."""
        if self._is_closed:
            raise PylonError(503, "SHUTTING_DOWN", "The store is closed.")
        if len(self._queue) >= limits.WRITES_WAITING_MAX:
            raise PylonError(503, "OVERLOADED", "Too many writes are waiting.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.append((unit, future))
        self._schedule()
        return await future

    async def hold(self, unit: Unit[T], *, compute_seconds: float | None = None) -> T:
        """Only all that it takes is bounded here, not each wait nor what it computes."""
        async with self._holding:
            self._turn()  # whoever came before
            tx = self._begin()
            self._not_held.clear()
            try:
                async with asyncio.timeout(limits.HELD_SECONDS_MAX):
                    result = await unit(tx)
                failure = self._commit(tx)
            except BaseException as error:
                self._end("ROLLBACK")
                raise held_too_long() if isinstance(error, TimeoutError) else error from None
            finally:
                self._not_held.set()
                self._schedule()
            if failure is not None:
                raise failure
            self._tell(tx)
            return result

    async def give_back(self) -> int:
        return 0

    def on_commit(self, listener: CommitListener) -> None:
        self._listeners.append(listener)

    async def close(self) -> None:
        self._is_closed = True
        self._turn()
        for snapshot in list(self._snapshots):
            await snapshot.aclose()
        self._connection.close()

    def _turn(self) -> None:
        """Everything that is queued in one transaction; then results, then listeners."""
        self._is_scheduled = False
        if not (self._queue and self._not_held.is_set()):
            return
        tx = self._begin()
        done: list[tuple[asyncio.Future[Any], Any]] = []
        while self._queue:
            unit, future = self._queue.popleft()
            if future.cancelled():
                continue
            try:
                done.append((future, _run(tx, unit)))
            except Exception as error:  # the unit's own failure, for its caller only
                future.set_exception(error)
        failure = self._commit(tx)
        for future, result in done:
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)
        if failure is None:
            self._tell(tx)

    def _schedule(self) -> None:
        if self._queue and not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _begin(self) -> _MemoryTx:
        self._keep_from_writing(False)
        self._connection.execute("BEGIN")
        return _MemoryTx(self._connection, self.seq + 1)

    def _commit(self, tx: _MemoryTx) -> PylonError | None:
        """Commit, or undo everything where this commit is to fail, and say why."""
        failure, self.fail_next_commit = self.fail_next_commit, None
        if failure is None:
            self.seq = tx.next_seq - 1
            self._connection.execute(
                "UPDATE _pylon_meta SET value = ? WHERE key = 'seq'", (self.seq,)
            )
        self._end("COMMIT" if failure is None else "ROLLBACK")
        return failure

    def _end(self, statement: str) -> None:
        self._connection.execute(statement)
        self._keep_from_writing(True)

    def _tell(self, tx: _MemoryTx) -> None:
        if tx.told:
            for listener in self._listeners:
                listener(tx.told)

    def _keep_from_writing(self, is_kept: bool) -> None:
        self._connection.execute(f"PRAGMA query_only = {int(is_kept)}").fetchall()


class _MemoryTx:
    """The `Tx` of one batch."""

    def __init__(self, connection: apsw.Connection, next_seq: int) -> None:
        self._connection = connection
        self.next_seq = next_seq
        self.told: list[object] = []

    async def fetch(
        self, sql: str, params: Sequence[Value] = (), *, seconds: float | None = None
    ) -> list[Row]:
        return _fetch(self._connection, sql, params, seconds)

    async def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        _fetch(self._connection, sql, params)
        return self._connection.changes()

    def publish(self, change: object) -> None:
        self.told.append(change)
        self.next_seq += 1

    def tell(self, fact: object) -> None:
        self.told.append(fact)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        execute = self._connection.execute
        count, seq = len(self.told), self.next_seq
        execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            del self.told[count:]
            self.next_seq = seq
            execute("ROLLBACK TO part")
            raise
        finally:
            execute("RELEASE part")


def _fetch(
    connection: apsw.Connection, sql: str, params: Sequence[Value], seconds: float | None = None
) -> list[Row]:
    """The rows of a statement, or 503 `QUERY_TIMEOUT` once `seconds` have passed."""
    if seconds is not None:
        stop_at = perf_counter() + seconds
        connection.set_progress_handler(
            lambda: perf_counter() > stop_at, limits.READ_PROGRESS_STEPS
        )
    try:
        return connection.execute(sql, params).fetchall()
    except apsw.InterruptError as error:
        message = f"The query took longer than {seconds:g} seconds."
        raise PylonError(503, "QUERY_TIMEOUT", message) from error
    except apsw.Error as error:
        raise translate(error) from error
    finally:
        connection.set_progress_handler(None)


def _run(tx: _MemoryTx, unit: Unit[T]) -> T:
    """The result of a unit, undone when it raises. It awaits its `Tx` only, which never waits."""

    async def work() -> T:
        async with tx.savepoint():
            return await unit(tx)

    running: Coroutine[Any, Any, T] = work()
    try:
        running.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    running.close()
    raise PylonError(500, "MUTATION_AWAITED_IO", "A unit may await only its transaction.")


class MemorySnapshot:
    """A `Snapshot`: a copy of the database."""

    def __init__(
        self, source: apsw.Connection, seq: int, on_close: Callable[[MemorySnapshot], None]
    ) -> None:
        self.seq = seq
        self._on_close = on_close
        self._stop_at = perf_counter() + limits.SNAPSHOT_SECONDS_MAX
        self._expiry = asyncio.get_running_loop().call_later(
            limits.SNAPSHOT_SECONDS_MAX, self._close
        )
        self._connection: apsw.Connection | None = apsw.Connection(":memory:")
        add_functions(self._connection)
        with self._connection.backup("main", source, "main") as copying:
            copying.step()

    async def rows(self, sql: str, params: Sequence[Value] = ()) -> AsyncIterator[list[Row]]:
        """The rows in chunks bounded in rows and bytes; none of them is empty."""
        try:
            cursor = self._open().execute(sql, params)
            while chunk := _chunk(cursor):
                yield chunk
                self._open()
        except apsw.Error as error:
            raise translate(error) from error

    async def aclose(self) -> None:
        """Let go of the copy; again is nothing."""
        self._close()

    def _close(self) -> None:
        self._expiry.cancel()
        if self._connection is not None:
            self._connection.close(True)
            self._connection = None
            self._on_close(self)

    def _open(self) -> apsw.Connection:
        if self._connection is None or perf_counter() > self._stop_at:
            raise PylonError(503, "QUERY_TIMEOUT", "The snapshot was closed before its end.")
        return self._connection


def _chunk(cursor: apsw.Cursor) -> list[Row]:
    chunk: list[Row] = []
    size = 0
    for row in cursor:
        chunk.append(row)
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(chunk) >= limits.SNAPSHOT_CHUNK_ROWS or size >= limits.SNAPSHOT_CHUNK_BYTES:
            break
    return chunk
