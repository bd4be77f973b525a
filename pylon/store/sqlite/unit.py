"""What a unit of work sees of its transaction: the `Tx` of SQLite.

A unit that has run for a step waits here, at its next statement, for the next turn of the loop: it
yields `PAUSE` to whoever drives it (`driver.py`, `held.py`). Not here: when a transaction begins
and ends (`writer.py`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any, Final

import apsw

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import Row, Value
from pylon.store.sqlite.failures import translate
from pylon.store.watchdog import Overrun, Watch

PAUSE: Final = object()
"""Yielded by a unit whose step is over."""

CLOSED: Final = 0.0
"""`step_until` while nobody drives the unit: whoever then asks is not the unit."""


class _Pause:
    """Awaited to go on in the next turn of the loop."""

    def __await__(self) -> Generator[object, None, None]:
        yield PAUSE


_PAUSE: Final = _Pause()


class UnitTx:
    """The `Tx` that the units of one transaction share.

    `step_until` is the time at which the running step is over, set by who drives; `CLOSED` between
    two steps, so that a task which a unit left behind writes into nobody's transaction.
    """

    __slots__ = ("_connection", "_reads", "bounds_writes", "changes", "next_seq", "step_until")

    def __init__(self, connection: apsw.Connection, next_seq: int) -> None:
        self._connection = connection
        self._reads = ""
        self.next_seq = next_seq
        self.changes: list[object] = []
        self.step_until = CLOSED
        self.bounds_writes = False
        """Whether writing statements may be interrupted too: the unit is alone."""

    async def fetch(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        if perf_counter() >= self.step_until:
            await self.wait()
        self._reads = sql
        try:
            rows = self._connection.execute(sql, params).fetchall()
        except apsw.Error as error:
            raise self._failed(error) from error
        self._reads = ""
        return rows

    async def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        if perf_counter() >= self.step_until:
            await self.wait()
        try:
            self._connection.execute(sql, params)
        except apsw.Error as error:
            raise self._failed(error) from error
        return self._connection.changes()

    def probe(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        try:
            return self._connection.execute(sql, params).fetchall()
        except apsw.Error as error:
            raise self._failed(error) from error

    def publish(self, change: object) -> None:
        self.changes.append(change)
        self.next_seq += 1

    def tell(self, fact: object) -> None:
        self.changes.append(fact)

    def savepoint(self) -> Part:
        return Part(self)

    # --- for who drives ----------------------------------------------------------------------

    async def wait(self) -> None:
        """Go on in the next turn; refused to who is not driven."""
        if self.step_until == CLOSED:
            raise PylonError(
                500,
                "TX_CLOSED",
                "The transaction was used after its end, or from a task of its own.",
                "Await each call of the context inside the function, one after another.",
            )
        await _PAUSE

    def is_late(self) -> bool:
        """Asked by SQLite every so many steps: whether to interrupt the running statement.

        Reads only: an interrupted INSERT, UPDATE or DELETE would undo the units of everybody.
        """
        until = self.step_until
        if until == CLOSED or perf_counter() < until + limits.UNIT_READ_SECONDS_MAX:
            return False
        return self.bounds_writes or _only_reads(self._reads)

    def undo(self, mark: int, seq: int, *statements: str) -> None:
        """Go back to when there were `mark` changes and `seq` was next, by these statements unless
        the database has undone everything already."""
        del self.changes[mark:]
        self.next_seq = seq
        if self._connection.in_transaction:
            for statement in statements:
                self._connection.execute(statement)

    def _failed(self, error: apsw.Error) -> Exception:
        self._reads = ""
        if not self._connection.in_transaction:
            # SQLite undid everything; what came now would be committed statement by statement.
            self.step_until = CLOSED
        if isinstance(error, apsw.InterruptError):
            return PylonError(
                503,
                "QUERY_TIMEOUT",
                "A statement inside a transaction took too long.",
                "Add an index for its filter and order, or do less at a time.",
            )
        return translate(error)


class Part:
    """A savepoint inside a unit, from `async with tx.savepoint()`."""

    __slots__ = ("_mark", "_seq", "_tx")

    def __init__(self, tx: UnitTx) -> None:
        self._tx = tx
        self._mark = self._seq = 0

    async def __aenter__(self) -> None:
        tx = self._tx
        if perf_counter() >= tx.step_until:
            await tx.wait()
        self._mark, self._seq = len(tx.changes), tx.next_seq
        tx._connection.execute("SAVEPOINT part")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tx = self._tx
        if error is None:
            tx._connection.execute("RELEASE part")
        elif tx.step_until != CLOSED:
            tx.undo(self._mark, self._seq, "ROLLBACK TO part", "RELEASE part")


class WatchedTx:
    """The `Tx` of a unit whose own computing is bounded: statements do not count."""

    __slots__ = ("_tx", "_watch")

    def __init__(self, tx: UnitTx, watch: Watch) -> None:
        self._tx = tx
        self._watch = watch

    @property
    def next_seq(self) -> int:
        return self._tx.next_seq

    async def fetch(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        await self._next_step()
        self._watch.suspend()
        try:
            return await self._tx.fetch(sql, params)
        finally:
            self._watch.resume()

    async def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        await self._next_step()
        self._watch.suspend()
        try:
            return await self._tx.execute(sql, params)
        finally:
            self._watch.resume()

    def probe(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        self._watch.suspend()
        try:
            return self._tx.probe(sql, params)
        finally:
            self._watch.resume()

    def publish(self, change: object) -> None:
        self._tx.publish(change)

    def tell(self, fact: object) -> None:
        self._tx.tell(fact)

    def savepoint(self) -> WatchedPart:
        return WatchedPart(self._tx.savepoint(), self, self._watch)

    async def _next_step(self) -> None:
        # Before the watch is suspended: who drives takes it up again with the next step.
        if self._watch.is_over:
            raise Overrun
        if perf_counter() >= self._tx.step_until:
            await self._tx.wait()


class WatchedPart:
    """A savepoint inside a watched unit."""

    __slots__ = ("_part", "_tx", "_watch")

    def __init__(self, part: Part, tx: WatchedTx, watch: Watch) -> None:
        self._part = part
        self._tx = tx
        self._watch = watch

    async def __aenter__(self) -> None:
        await self._tx._next_step()
        self._watch.suspend()
        try:
            await self._part.__aenter__()
        finally:
            self._watch.resume()

    async def __aexit__(self, *raised: Any) -> None:
        # A unit that was struck may leave, so that its part is undone.
        self._watch.deadline = float("inf")
        try:
            await self._part.__aexit__(*raised)
        finally:
            self._watch.resume()


def _only_reads(sql: str) -> bool:
    """Whether a statement surely changes nothing."""
    words = sql.split(None, 1)
    if not words:
        return False
    verb = words[0].upper()
    if verb == "WITH":
        return not any(word in sql.upper() for word in ("INSERT", "UPDATE", "DELETE", "REPLACE"))
    return verb == "SELECT"
