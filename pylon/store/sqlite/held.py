"""A held unit: one that may await the world outside while it has the transaction to itself.

Runs in a task of its own, which this awaits through: each wait, and all of it, has a bound, beyond
which the unit is cancelled. The last resort of what cannot be a unit; all other writes wait. When
it may begin is decided in `turns.py`; what becomes of its transaction in `writer.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from functools import partial
from time import perf_counter
from typing import Any, TypeAlias

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import Unit
from pylon.store.sqlite.aside import Aside
from pylon.store.sqlite.driver import Work, abandon, begin_watched, watched
from pylon.store.sqlite.unit import CLOSED, PAUSE, UnitTx
from pylon.store.watchdog import Watch, Watchdog

OnThread: TypeAlias = Callable[[Aside[Any]], asyncio.Future[None]]
"""Has the commit thread do something; the future ends with it."""


class Held:
    """One held unit, to be awaited once, in the task that it is to run in."""

    def __init__(
        self,
        unit: Unit[Any],
        compute_seconds: float | None,
        tx: UnitTx,
        dog: Watchdog,
        on_thread: OnThread,
    ) -> None:
        self._unit = unit
        self._compute_seconds = compute_seconds
        self._tx = tx
        self._on_thread = on_thread
        self._dog = dog
        self._watch: Watch | None = None
        self._expired = False

    def __await__(self) -> Generator[Any, Any, Any]:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def expire() -> None:
            self._expired = True
            task.cancel()

        end = loop.call_later(limits.HELD_SECONDS_MAX, expire)
        try:
            return (yield from self._drive(loop, expire))
        except asyncio.CancelledError:
            if self._expired:
                task.uncancel()
                raise held_too_long() from None
            raise
        finally:
            end.cancel()

    def _drive(
        self, loop: asyncio.AbstractEventLoop, expire: Callable[[], None]
    ) -> Generator[Any, Any, Any]:
        work = self._begin()
        go_on: Callable[[], Any] = partial(work.send, None)
        leaving: BaseException | None = None
        while True:
            try:
                waits_for = self._step(go_on)
            except StopIteration as stop:
                if leaving is not None:
                    raise leaving from None
                return stop.value
            except BaseException:
                abandon(work, self._watch)
                raise
            if leaving is not None:
                # It was told to go and waits for something else.
                abandon(work, self._watch)
                raise leaving
            # A pause is over with the next turn of the loop, by itself; what is done aside in its
            # own time.
            wait = None
            if waits_for is not PAUSE and not isinstance(waits_for, Aside):
                wait = loop.call_later(limits.HELD_WAIT_SECONDS_MAX, expire)
            try:
                if isinstance(waits_for, Aside):
                    yield from self._wait_for_thread(waits_for)
                else:
                    yield None if waits_for is PAUSE else waits_for
            except GeneratorExit:
                abandon(work, self._watch)
                raise
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError):
                    leaving = error
                go_on = partial(work.throw, error)
            else:
                go_on = partial(work.send, None)
            finally:
                if wait is not None:
                    wait.cancel()

    def _wait_for_thread(self, aside: Aside[Any]) -> Generator[Any, Any, None]:
        """Until the thread has given the connection back, even if the task is cancelled: it is
        undone with that connection. What the thread does is bounded."""
        running = self._on_thread(aside)
        cancelled: asyncio.CancelledError | None = None
        while not running.done():
            try:
                yield from asyncio.shield(running).__await__()
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def _begin(self) -> Work:
        seconds = self._compute_seconds
        if seconds is None:
            work: Work = self._unit(self._tx)  # type: ignore[assignment]
            return work
        self._watch, work = begin_watched(self._unit, seconds, self._tx, self._dog)
        return work

    def _step(self, go_on: Callable[[], Any]) -> Any:
        watch = self._watch
        return self._driven(go_on if watch is None else partial(watched, watch, go_on))

    def _driven(self, go_on: Callable[[], Any]) -> Any:
        """Run a step; the transaction is open to the unit as long as it runs."""
        self._tx.step_until = perf_counter() + limits.WRITE_STEP_SECONDS
        try:
            return go_on()
        finally:
            self._tx.step_until = CLOSED


def held_too_long() -> PylonError:
    """The failure of a held unit that was over its bounds."""
    return PylonError(
        503,
        "HELD_TOO_LONG",
        "The function kept the database for itself for too long.",
        "Try again; or move what it waits for into an action.",
        retry_after_secs=limits.WRITE_RETRY_SECONDS,
    )
