"""The writer: units that arrive in one turn of the loop share one transaction and one fsync.

Units run on the loop, one after another, each in a savepoint (`driver.py`), a few milliseconds a
turn; what is long in them, and the commit, runs on a thread of its own (`committer.py`) while the
next batch gathers. Whose turn it is, is decided in `turns.py`. Nobody else writes to the database.

After a commit the results are settled and the listeners told in one go on the loop, in the order of
the log; whoever awaited a result goes on in a later turn, when all listeners have run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from time import perf_counter
from typing import Any

import apsw

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import CommitListener, Tx, Unit
from pylon.store.health import COMMIT_STUCK, GONE, Health
from pylon.store.meta import PROBE
from pylon.store.sqlite.aside import Aside, Bound
from pylon.store.sqlite.committer import Committer
from pylon.store.sqlite.driver import PAUSED, Driver
from pylon.store.sqlite.failures import gone, not_durable, translate
from pylon.store.sqlite.files import Files
from pylon.store.sqlite.held import Held
from pylon.store.sqlite.index_later import IndexLater
from pylon.store.sqlite.slow import SlowStatements
from pylon.store.sqlite.turns import ORDINARY, Queued, State, Turns, Wish, waited_too_long
from pylon.store.sqlite.unit import CLOSED, UnitTx
from pylon.store.watchdog import Watchdog
from pylon.tasks import Tasks

log = logging.getLogger("pylon.store")

Done = list[tuple[asyncio.Future[Any], Any]]
"""Units that have run, with the futures of their results."""


class Writer:
    """Owns the write connection, the queue before it and the counter of the log."""

    def __init__(
        self,
        connection: apsw.Connection,
        *,
        seq: int,
        watchdog: Watchdog,
        files: Files | None = None,
    ) -> None:
        """`files` are looked at after each commit; None where what is lost with them may be."""
        self.seq = seq
        self.health = Health()
        self.guard: Callable[[apsw.Connection], Exception | None] | None = None
        """Asked at the beginning of each transaction why it may not go on; None: it may."""
        self.batches = 0
        self.units = 0
        self._connection = connection
        self._cursor = connection.cursor()
        self._dog = watchdog
        self._listeners: list[CommitListener] = []
        self._turns = Turns()
        self._files = files
        self.later = IndexLater(self._cursor)
        self._committer = Committer(self._cursor, self.later)
        self._ordered_at: float | None = None
        """Since when the commit thread has the connection (`perf_counter`)."""
        self._tasks = Tasks()
        self._is_closed = False
        self._idle: asyncio.Event | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._held_timer: asyncio.TimerHandle | None = None
        # Of the open transaction:
        self._bound = Bound(connection)
        self._slow = SlowStatements()
        self._driver = Driver(self._cursor, self._new_tx(), watchdog)
        self._running: Queued | None = None
        self._running_until = 0.0
        self._done: Done = []
        self._spent = 0.0
        # No wait for a lock on the loop: the commit thread has a timeout while it waits for one.
        connection.set_busy_timeout(0)

    def add_listener(self, listener: CommitListener) -> None:
        self._listeners.append(listener)

    @property
    def waiting(self) -> int:
        """Units in the queue."""
        return self._turns.waiting

    # --- how it is ---------------------------------------------------------------------------

    @property
    def trouble(self) -> str | None:
        """See `HealthyStore.trouble`."""
        since = self._ordered_at
        if since is not None and perf_counter() - since >= limits.COMMIT_SECONDS_MAX:
            return COMMIT_STUCK
        return self.health.trouble

    def lose(self) -> None:
        """The files are gone: from now on nothing is written."""
        if not self.health.is_gone:
            log.critical(
                "%s was removed or replaced under the server: nothing is written any more, until it"
                " is put back and the server started again",
                self._connection.filename,
            )
            self.health.failed(GONE)

    async def probe(self) -> None:
        """Where writes fail, try one: it ends the trouble, or says that it lasts."""
        if self.health.trouble is None or self.health.is_gone or self._is_closed:
            return
        with suppress(PylonError):
            await self.submit(_touch)

    # --- coming ------------------------------------------------------------------------------

    def submit(self, unit: Unit[Any], wish: Wish = ORDINARY) -> asyncio.Future[Any]:
        """Queue a unit; the future resolves after its commit."""
        if self._is_closed:
            raise _stopping()
        loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        until = loop.time() + limits.WRITE_QUEUE_SECONDS_MAX
        is_first = self._turns.admit((unit, future, until, wish))
        if self._expiry is None:
            self._expiry = loop.call_at(until, self._expire)
        if is_first:
            self._turns.state = State.SCHEDULED
            loop.call_soon(self._turn)
        return future

    def hold(self, unit: Unit[Any], compute_seconds: float | None) -> asyncio.Future[Any]:
        """Queue a held unit, see `Store.hold`; it ends when the future is cancelled."""
        if self._is_closed:
            raise _stopping()
        loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        now = loop.time()
        until = now + limits.WRITE_QUEUE_SECONDS_MAX
        wish = Wish(compute_seconds=compute_seconds, context=copy_context())
        is_first = self._turns.admit_held((unit, future, until, wish), now)
        if self._expiry is None:
            self._expiry = loop.call_at(until, self._expire)
        if is_first:
            self._schedule()
        return future

    async def close(self) -> None:
        """Commit what is queued, then end the commit thread. Of held units the one that has begun
        may go on, within its bounds."""
        self._is_closed = True
        self._refuse(_stopping(), only_held=True)
        if self._turns.state is not State.IDLE:
            self._idle = asyncio.Event()
            await self._idle.wait()
        for timer in (self._expiry, self._held_timer):
            if timer is not None:
                timer.cancel()
        await self._tasks.stop()
        await self._committer.close()

    # --- before a transaction ----------------------------------------------------------------

    def _schedule(self) -> None:
        """Nothing is open: begin the next transaction when it is due, or rest."""
        delay = self._turns.due(self._loop.time)
        if delay == 0.0:
            self._turns.state = State.SCHEDULED
            self._loop.call_soon(self._turn)
            return
        if delay is not None and self._held_timer is None:
            self._held_timer = self._loop.call_later(delay, self._held_due)
        if self._idle is not None:
            self._idle.set()

    def _held_due(self) -> None:
        self._held_timer = None
        if self._turns.state is State.IDLE:
            self._schedule()

    def _expire(self) -> None:
        """Refuse those that have waited for too long."""
        turns = self._turns
        over = turns.expire(self._loop.time())
        if over:
            failure: Exception = waited_too_long()
            if turns.state is State.LOCKING:
                failure = self._told(apsw.BusyError())
            log.warning("%d writes waited too long: %s", len(over), failure)
            for queued in over:
                _settle(queued[1], failure)
        end = turns.next_expiry
        self._expiry = None if end is None else self._loop.call_at(end, self._expire)

    def _refuse(self, refused: Exception, *, only_held: bool = False) -> None:
        """Answer everybody in the queue with the same failure."""
        for queued in self._turns.drain(only_held=only_held):
            _settle(queued[1], refused)

    # --- a transaction -----------------------------------------------------------------------

    def _turn(self) -> None:
        """Open a transaction for what is queued."""
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            self._turns.state = State.LOCKING
            self._committer.begin(self._loop, self._opened)
        except apsw.Error as error:
            self._opened(error)
        else:
            self._opened(None)

    def _new_tx(self) -> UnitTx:
        return UnitTx(self._cursor, self.seq + 1, self._bound, self._slow, self.later)

    def _opened(self, failure: apsw.Error | None) -> None:
        refused = None if failure is None else self._told(failure)
        if refused is None and self.health.is_gone:
            refused = gone()
        if refused is None and self.guard is not None:
            refused = self.guard(self._connection)
        if refused is not None:
            self._refuse(refused)
            self._roll_back()
            return
        self.later.begin()
        tx = self._driver.tx = self._new_tx()
        self._spent = 0.0
        held = self._turns.begin(self._loop.time)
        tx.bounds_writes = self._turns.is_alone
        self._driver.is_sole = len(self._turns.batch) == 1
        if held is None:
            self._run()
        else:
            self._run_held(held)

    def _run(self) -> None:
        """Run units of the batch for one step; then go on in the next turn, or commit."""
        driver, batch, done = self._driver, self._turns.batch, self._done
        tx = driver.tx
        began = now = perf_counter()
        stop_at = began + limits.WRITE_BATCH_SECONDS_MAX - self._spent
        tx.step_until = step_until = began + limits.WRITE_STEP_SECONDS
        queued = self._running
        while now < step_until:
            try:
                if queued is not None:
                    result = driver.go_on() if now < self._running_until else driver.stop()
                elif batch and now < stop_at:
                    queued = batch.popleft()
                    unit, future, _, wish = queued
                    if future.done():  # its caller has gone
                        queued = None
                        continue
                    self._running_until = now + limits.UNIT_SECONDS_MAX
                    result = driver.run(unit, wish)
                else:
                    break
            except BaseException as error:  # the unit's own failure, for its caller only
                self._unit_failed(queued, error)
                if self._turns.state is not State.RUNNING:
                    return
            else:
                if result is PAUSED:
                    break
                done.append((queued[1], result))
            queued = None
            now = perf_counter()
        tx.step_until = CLOSED
        self._spent += perf_counter() - began
        self._running = queued
        if driver.aside is not None:
            self._run_aside(driver.aside)
        elif queued is None and (not batch or now >= stop_at):
            self._finish()
        else:
            self._loop.call_soon(self._run)

    def _run_aside(self, aside: Aside[Any]) -> None:
        """Have the commit thread do what would hold the loop; then the unit goes on. Its time
        counts for the batch, since everybody's writes wait."""
        self._driver.aside = None
        self._turns.state = State.ASIDE
        began = self._ordered_at = perf_counter()

        def back(_: apsw.Error | None) -> None:
            self._ordered_at = None
            self._spent += perf_counter() - began
            self._turns.state = State.RUNNING
            self._run()

        self._committer.run(self._loop, aside, back)

    def _unit_failed(self, queued: Queued | None, error: BaseException) -> None:
        """A unit of the batch was undone; the others go on, unless the database undid all."""
        assert queued is not None
        _settle(queued[1], self._told(error))
        # Disk full or I/O failure; a unit that has the transaction to itself has undone it.
        is_lost = not (self._connection.in_transaction or self._driver.is_sole)
        ends_process = isinstance(error, KeyboardInterrupt | SystemExit)
        if is_lost or ends_process:
            self._driver.tx.step_until = CLOSED
            self._running = None
        if is_lost:
            self._fail_batch(error)
            self._next()
        elif ends_process:
            self._loop.call_soon(self._run)
        if ends_process:
            raise error

    def _run_held(self, queued: Queued) -> None:
        """Start the task of a held unit, which has the transaction until it ends."""
        unit, future, _, wish = queued
        held = Held(unit, wish.compute_seconds, self._driver.tx, self._dog, self._run_held_aside)
        began = self._loop.time()

        async def hold() -> Any:
            return await held

        def ended(task: asyncio.Task[Any]) -> None:
            now = self._loop.time()
            self._turns.held_for(now - began, now)
            if task.cancelled():
                future.cancel()
            elif (error := task.exception()) is not None:
                _settle(future, self._told(error))
            elif not future.cancelled():
                self._done.append((future, task.result()))
            self._finish()

        assert wish.context is not None
        task = wish.context.run(self._tasks.start, "held unit", hold(), logs=False)
        task.add_done_callback(ended)
        future.add_done_callback(lambda _: task.cancel() if future.cancelled() else None)

    def _run_held_aside(self, aside: Aside[Any]) -> asyncio.Future[None]:
        """The same for a held unit, whose task awaits it."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._committer.run(self._loop, aside, lambda _: done.set_result(None))
        return done

    def _finish(self) -> None:
        """All units have run: commit what they did, if anybody did anything."""
        if not self._done:
            self._roll_back()
            return
        self._turns.state = State.COMMITTING
        self._ordered_at = perf_counter()
        seq = self._driver.tx.next_seq - 1
        self._committer.commit(self._loop, None if seq == self.seq else seq, self._committed)

    # --- after a transaction -----------------------------------------------------------------

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._cursor.execute("ROLLBACK")
        self._next()

    def _committed(self, failure: apsw.Error | None) -> None:
        self._ordered_at = None
        if failure is not None:
            self._fail_batch(failure)
        elif self._files is not None and not self._files.hold_commits():
            # Looked at here, where it takes microseconds: on the thread it would wait for the
            # interpreter's lock once more for each of them.
            self._fail_batch(gone())
        else:
            if self.health.trouble is not None:
                self.health.succeeded(has_room=self._files is None or self._files.have_room())
            tx = self._driver.tx
            self.batches += 1
            self.units += len(self._done)
            self.seq = tx.next_seq - 1
            for future, result in self._done:
                if not future.done():
                    future.set_result(result)
            if tx.changes:
                for listener in self._listeners:
                    listener(tx.changes)
        self._next()

    def _told(self, error: BaseException) -> Exception:
        """A failure as its caller sees it; what it says of the store is noted."""
        if isinstance(error, apsw.Error):
            error = translate(error)
        elif not isinstance(error, Exception):
            # What ends a task or the process must not do so to whoever waits for a result.
            log.error("a unit was ended by %r", error)
            error = PylonError(500, "INTERNAL", "The write was interrupted.")
        if isinstance(error, PylonError):
            if error.code == GONE:
                self.lose()
            self.health.failed(error.code)
        return error

    def _fail_batch(self, error: BaseException) -> None:
        """Tell those whose units had run that nothing of them was kept."""
        log.error("a batch of %d units was not committed: %s", len(self._done), error)
        cause = self._told(error)
        is_kept = isinstance(cause, PylonError) and (
            cause.status in {503, 507} or cause.code == GONE
        )
        if not is_kept:
            cause = not_durable()
            if self.health.trouble is None:  # else it says more
                self.health.failed(cause.code)
        for future, _ in self._done:
            _settle(future, cause)

    def _next(self) -> None:
        # The next batch may be long in coming, and these hold all that was written and answered.
        self._done = []
        self._driver.tx.changes = []
        self._turns.end()
        self._schedule()


async def _touch(tx: Tx) -> None:
    """The smallest write."""
    await tx.execute(PROBE)


def _stopping() -> PylonError:
    return PylonError(503, "SHUTTING_DOWN", "The server is stopping.")


def _settle(future: asyncio.Future[Any], error: BaseException) -> None:
    """Fail a future whose caller may have gone away meanwhile."""
    if not future.done():
        future.set_exception(error)
