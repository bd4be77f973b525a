"""Drives units through their transaction: one at a time, each in a savepoint, step by step.

A unit is a coroutine that awaits nothing but its `Tx`. Here it is sent on until it has ended, its
step is over or it wants the commit thread (`PAUSED`), or it awaited something else. Called by the
turns of `writer.py`; knows neither queue nor loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

import apsw

from pylon.errors import PylonError
from pylon.store.base import Unit
from pylon.store.sqlite.aside import Aside
from pylon.store.sqlite.turns import Wish
from pylon.store.sqlite.unit import CLOSED, PAUSE, UnitTx
from pylon.store.sqlite.watched import WatchedTx
from pylon.store.watchdog import Overrun, Watch, Watchdog

log = logging.getLogger("pylon.store")

PAUSED: Final = object()
"""Instead of a result: the unit goes on with `Driver.go_on` in another turn, after
`Driver.aside` where there is one."""

T = TypeVar("T")

Work: TypeAlias = Coroutine[Any, Any, Any]


class Driver:
    """The units of one transaction after the other. What a unit raises comes out after it was
    undone; the transaction goes on, unless the database has undone all of it."""

    __slots__ = ("_dog", "_execute", "_mark", "_seq", "_watch", "_work", "aside", "is_sole", "tx")

    def __init__(self, cursor: apsw.Cursor, tx: UnitTx, dog: Watchdog) -> None:
        self.tx = tx
        """Of the open transaction."""
        self.is_sole = False
        """Whether it has one unit, which needs no savepoint: all is undone if it fails."""
        self.aside: Aside[Any] | None = None
        """What the paused unit waits for; whoever takes it up sets None."""
        self._dog = dog
        self._execute = cursor.execute
        self._work: Work | None = None
        self._watch: Watch | None = None
        self._mark = self._seq = 0

    def run(self, unit: Unit[Any], wish: Wish) -> Any:
        """Begin a unit; its result, or `PAUSED`."""
        tx = self.tx
        self._mark, self._seq = len(tx.changes), tx.next_seq
        if not self.is_sole:
            self._execute("SAVEPOINT unit")
        try:
            if wish.compute_seconds is None:
                self._watch = None
                work: Work = unit(tx)  # type: ignore[assignment]
            else:
                self._watch, work = begin_watched(unit, wish.compute_seconds, tx, self._dog)
        except BaseException:
            self._undo(None)
            raise
        return self._send(work)

    def go_on(self) -> Any:
        """Let the paused unit go on; its result, or `PAUSED` again."""
        work, self._work = self._work, None
        assert work is not None
        return self._send(work)

    def stop(self) -> NoReturn:
        """End the paused unit, which has had its time."""
        work, self._work = self._work, None
        self._undo(work)
        raise timed_out()

    def _send(self, work: Work) -> Any:
        watch = self._watch
        try:
            if watch is None:
                waits_for = work.send(None)
            else:
                waits_for = watched(watch, partial(work.send, None))
        except StopIteration as stop:
            if not self.is_sole:
                self._execute("RELEASE unit")
            elif self.tx.step_until == CLOSED:
                # The unit has swallowed a failure with which the database undid everything.
                raise PylonError(500, "TX_COMMIT_FAILED", "The write was undone.") from None
            return stop.value
        except BaseException:
            self._undo(work)
            raise
        if waits_for is PAUSE:
            self._work = work
            return PAUSED
        if isinstance(waits_for, Aside):
            self._work, self.aside = work, waits_for
            return PAUSED
        self._undo(work)
        raise awaited_io()

    def _undo(self, work: Work | None) -> None:
        """Undo the unit, whose coroutine has ended or is ended here."""
        tx = self.tx
        if work is not None:
            # Its clean-up has no transaction: what it did after this would not be undone.
            until, tx.step_until = tx.step_until, CLOSED
            abandon(work, self._watch)
            tx.step_until = until
        undo = ("ROLLBACK",) if self.is_sole else ("ROLLBACK TO unit", "RELEASE unit")
        tx.undo(self._mark, self._seq, *undo)


def begin_watched(
    unit: Unit[Any], compute_seconds: float, tx: UnitTx, dog: Watchdog
) -> tuple[Watch, Work]:
    """The coroutine of a unit of others' code, and the watch under which its steps are to run."""
    watch = dog.watch(compute_seconds)
    seen = WatchedTx(tx, watch)
    return watch, watched(watch, lambda: unit(seen))  # type: ignore[arg-type,return-value]


def watched(watch: Watch, call: Callable[[], T]) -> T:
    """A step of a watched unit; 400 `FN_TIMEOUT` when it computed for too long."""
    try:
        return watch.step(call)
    except BaseException as error:
        if watch.is_over:
            raise timed_out() from error
        raise


def abandon(work: Work, watch: Watch | None) -> None:
    """Close a coroutine that is not sent on; its clean-up may fail, loop or want more."""
    close: Callable[[], None] = work.close
    try:
        if watch is None:
            close()
        else:
            watch.step(close)
    except (Exception, Overrun) as error:  # the unit has failed for a better reason
        log.debug("a unit failed while it was closed: %r", error)


def awaited_io() -> PylonError:
    """The failure of a unit that awaited the world outside."""
    return PylonError(
        500,
        "MUTATION_AWAITED_IO",
        "Code inside a transaction may await only its context.",
        "Move network calls, sleeps and other waiting into an action.",
    )


def timed_out() -> PylonError:
    """The failure of a unit that was ended because it computed for too long."""
    return PylonError(
        400,
        "FN_TIMEOUT",
        "The function took too long inside its transaction.",
        "Move long work into an action, or do it in smaller parts.",
    )
