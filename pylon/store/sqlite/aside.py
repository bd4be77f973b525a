"""Work of a unit that would hold the loop: the commit thread does it, with the write connection.

A unit awaits an `Aside`, which comes out at whoever drives the unit (`driver.py`, `held.py`);
`writer.py` hands it to the commit thread, and the unit goes on once it is done. Also here: what
SQLite asks while a statement runs (`Bound`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from time import perf_counter
from typing import Generic, TypeVar

import apsw

from pylon import limits
from pylon.store.overrun import NEVER

T = TypeVar("T")


class Aside(Generic[T]):
    """One piece of such work, to be awaited once. What it raises is raised in the unit."""

    __slots__ = ("_failure", "_result", "_work")

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._result: T
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Do it; on the commit thread."""
        try:
            self._result = self._work()
        except BaseException as error:  # goes on where the unit waits
            self._failure = error

    def __await__(self) -> Generator[object, None, T]:
        yield self
        if self._failure is not None:
            raise self._failure
        return self._result


class Bound:
    """When the statement under way on the write connection is ended.

    Only reads are, and what is alone in its transaction: an interrupted INSERT, UPDATE or DELETE
    would undo the units of everybody.
    """

    __slots__ = ("_connection", "reads", "until")

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.until = NEVER
        self.reads = ""
        """The statement that is to be ended then, if it does not write."""
        self._look_each(limits.READ_PROGRESS_STEPS)

    def _look_each(self, steps: int) -> None:
        self._connection.set_progress_handler(self._is_late, steps)

    def _is_late(self) -> bool:
        """Asked by SQLite every so many steps; true interrupts the statement."""
        if perf_counter() < self.until:
            return False
        if self.reads and not only_reads(self.reads):
            self.until = NEVER
            return False
        return True

    def on_thread(self, work: Callable[[], T], seconds: float) -> T:
        """Do work whose statement is ended after so long; on the commit thread."""
        # Each look waits for the interpreter's lock, which the loop may have.
        self._look_each(limits.ASIDE_PROGRESS_STEPS)
        self.until = perf_counter() + seconds
        try:
            return work()
        finally:
            self.until = NEVER
            self._look_each(limits.READ_PROGRESS_STEPS)


def only_reads(sql: str) -> bool:
    """Whether a statement surely changes nothing."""
    words = sql.split(None, 1)
    if not words:
        return False
    verb = words[0].upper()
    if verb == "WITH":
        return not any(word in sql.upper() for word in ("INSERT", "UPDATE", "DELETE", "REPLACE"))
    return verb == "SELECT"
