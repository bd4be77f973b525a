"""The writer: units that arrive in one turn of the loop share one transaction and one fsync.

Units run on the loop, one after another, each in a savepoint; the commit runs on a thread of
its own while the next batch gathers. Results are delivered and listeners told after the commit,
in order. Nobody else writes to the database.

States: idle -> (a unit arrives) scheduled -> running -> committing -> idle, or scheduled again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import apsw

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import CommitListener, Row, Unit, Value
from pylon.store.sqlite.failures import timed_out, translate

log = logging.getLogger("pylon.store")

SAVE_SEQ = "UPDATE _pylon_meta SET value = ? WHERE key = 'seq'"


class UnitTx:
    """The `Tx` that units of one batch share; on SQLite nothing here ever suspends."""

    __slots__ = ("_connection", "changes", "next_seq")

    def __init__(self, connection: apsw.Connection, next_seq: int) -> None:
        self._connection = connection
        self.next_seq = next_seq
        self.changes: list[object] = []

    async def fetch(
        self, sql: str, params: Sequence[Value] = (), *, seconds: float | None = None
    ) -> list[Row]:
        try:
            if seconds is not None:
                return self._fetch_within(seconds, sql, params)
            return self._connection.execute(sql, params).fetchall()
        except apsw.Error as error:
            raise translate(error) from error

    def _fetch_within(self, seconds: float, sql: str, params: Sequence[Value]) -> list[Row]:
        """A read that is interrupted when its time is over; the transaction goes on."""
        stop_at = perf_counter() + seconds
        set_handler = self._connection.set_progress_handler
        set_handler(lambda: perf_counter() >= stop_at, limits.READ_PROGRESS_STEPS)
        try:
            return self._connection.execute(sql, params).fetchall()
        except apsw.InterruptError as error:
            raise timed_out(seconds) from error
        finally:
            set_handler(None)

    async def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        try:
            self._connection.execute(sql, params)
        except apsw.Error as error:
            raise translate(error) from error
        return self._connection.changes()

    def publish(self, change: object) -> None:
        self.changes.append(change)
        self.next_seq += 1

    def tell(self, fact: object) -> None:
        self.changes.append(fact)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        execute = self._connection.execute
        mark, seq = len(self.changes), self.next_seq
        execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            del self.changes[mark:]
            self.next_seq = seq
            if self._connection.in_transaction:
                execute("ROLLBACK TO part")
                execute("RELEASE part")
            raise
        execute("RELEASE part")


def drive(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that must not suspend to its end and return its result."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    work.close()
    raise PylonError(
        500,
        "MUTATION_AWAITED_IO",
        "Code inside a transaction may await only its context.",
        "Move network calls, sleeps and other waiting into an action.",
    )


class Writer:
    """Owns the write connection, the queue before it and the counter of the log."""

    def __init__(self, connection: apsw.Connection, *, seq: int) -> None:
        self._connection = connection
        self._queue: deque[tuple[Unit[Any], asyncio.Future[Any]]] = deque()
        self._listeners: list[CommitListener] = []
        self._busy = False
        self._closed = False
        self._idle: asyncio.Event | None = None
        self.seq = seq
        self.guard: Callable[[apsw.Connection], Exception | None] | None = None
        """Asked at the beginning of each transaction why it may not go on; None: it may."""
        self.batches = 0
        self.units = 0
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=self._commit_thread, name="pylon-commit", daemon=True
        )
        self._thread.start()

    def add_listener(self, listener: CommitListener) -> None:
        self._listeners.append(listener)

    @property
    def waiting(self) -> int:
        """Units in the queue."""
        return len(self._queue)

    def submit(self, unit: Unit[Any]) -> asyncio.Future[Any]:
        """Queue a unit; the future resolves after its commit."""
        if self._closed:
            raise PylonError(503, "SHUTTING_DOWN", "The server is stopping.")
        if len(self._queue) >= limits.WRITES_WAITING_MAX:
            raise PylonError(
                503, "OVERLOADED", "Too many writes are waiting.", "Try again shortly."
            )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._queue.append((unit, future))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._turn, loop)
        return future

    async def close(self) -> None:
        """Commit what is queued, then end the commit thread."""
        self._closed = True
        if self._busy:
            self._idle = asyncio.Event()
            await self._idle.wait()
        self._orders.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    # --- a turn ------------------------------------------------------------------------------

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the queued units in one transaction and send it to be committed."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            self._refuse(translate(error))
            return
        refused_by_guard = None if self.guard is None else self.guard(self._connection)
        if refused_by_guard is not None:
            self._connection.execute("ROLLBACK")
            self._refuse(refused_by_guard)
            return
        tx = UnitTx(self._connection, self.seq + 1)
        done: list[tuple[asyncio.Future[Any], Any]] = []
        stop_at = perf_counter() + limits.WRITE_BATCH_SECONDS_MAX
        while self._queue and len(done) < limits.WRITE_BATCH_MAX and perf_counter() < stop_at:
            unit, future = self._queue.popleft()
            if future.cancelled():
                continue
            try:
                done.append((future, self._run_unit(tx, unit)))
            except Exception as error:  # the unit's own failure, for its caller only
                _settle(future, error=translate(error) if isinstance(error, apsw.Error) else error)
                if not self._connection.in_transaction:
                    # Disk full or I/O failure: SQLite undid the whole batch.
                    self._fail(done, error)
                    self._next(loop)
                    return
        self._orders.put(lambda: self._commit(loop, tx, done))

    def _refuse(self, refused: Exception) -> None:
        """Answer everybody in the queue with the same failure."""
        while self._queue:
            _settle(self._queue.popleft()[1], error=refused)
        self._rest()

    def _run_unit(self, tx: UnitTx, unit: Unit[Any]) -> Any:
        execute = self._connection.execute
        mark, seq = len(tx.changes), tx.next_seq
        execute("SAVEPOINT unit")
        try:
            result = drive(unit(tx))  # type: ignore[arg-type]
        except BaseException:
            del tx.changes[mark:]
            tx.next_seq = seq
            if self._connection.in_transaction:
                execute("ROLLBACK TO unit")
                execute("RELEASE unit")
            raise
        execute("RELEASE unit")
        return result

    # --- on the commit thread ----------------------------------------------------------------

    def _commit_thread(self) -> None:
        while (order := self._orders.get()) is not None:
            order()

    def _commit(
        self, loop: asyncio.AbstractEventLoop, tx: UnitTx, done: list[tuple[Any, Any]]
    ) -> None:
        failure: apsw.Error | None = None
        try:
            if tx.next_seq - 1 != self.seq:
                self._connection.execute(SAVE_SEQ, (tx.next_seq - 1,))
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            failure = error
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        loop.call_soon_threadsafe(self._committed, loop, tx, done, failure)

    # --- back on the loop --------------------------------------------------------------------

    def _committed(
        self,
        loop: asyncio.AbstractEventLoop,
        tx: UnitTx,
        done: list[tuple[asyncio.Future[Any], Any]],
        failure: apsw.Error | None,
    ) -> None:
        if failure is not None:
            self._fail(done, failure)
        else:
            self.batches += 1
            self.units += len(done)
            self.seq = tx.next_seq - 1
            for future, result in done:
                _settle(future, result=result)
            if tx.changes:
                for listener in self._listeners:
                    listener(tx.changes)
        self._next(loop)

    def _fail(self, done: list[tuple[asyncio.Future[Any], Any]], error: Exception) -> None:
        log.error("a batch of %d units was not committed: %s", len(done), error)
        cause = translate(error) if isinstance(error, apsw.Error) else error
        if not (isinstance(cause, PylonError) and cause.status in {503, 507}):
            cause = PylonError(500, "TX_COMMIT_FAILED", "The write could not be made durable.")
        for future, _ in done:
            _settle(future, error=cause)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._queue:
            loop.call_soon(self._turn, loop)
        else:
            self._rest()

    def _rest(self) -> None:
        self._busy = False
        if self._idle is not None:
            self._idle.set()


def _settle(
    future: asyncio.Future[Any], *, result: Any = None, error: Exception | None = None
) -> None:
    """Resolve a future whose caller may have gone away meanwhile."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
