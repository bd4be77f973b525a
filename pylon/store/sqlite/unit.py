"""What a unit of work sees of its transaction: the `Tx` of SQLite.

A unit that has run for a step waits here, at its next statement, for the next turn of the loop: it
yields `PAUSE` to whoever drives it (`driver.py`, `held.py`). Not here: when a transaction begins
and ends (`writer.py`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from time import perf_counter
from types import TracebackType
from typing import Final

import apsw

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import Row, Value
from pylon.store.overrun import NEVER
from pylon.store.sqlite.failures import timed_out, translate

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

    __slots__ = (
        *("_connection", "_cursor", "_read_until", "_reads"),
        *("bounds_writes", "changes", "next_seq", "step_until"),
    )

    def __init__(self, cursor: apsw.Cursor, next_seq: int) -> None:
        self._connection = cursor.connection
        self._cursor = cursor  # one for all statements: making one takes as long as a short one
        self._reads = ""
        self._read_until = NEVER
        self.next_seq = next_seq
        self.changes: list[object] = []
        self.step_until = CLOSED
        self.bounds_writes = False
        """Whether writing statements may be interrupted too: the unit is alone."""

    async def fetch(
        self, sql: str, params: Sequence[Value] = (), *, seconds: float | None = None
    ) -> list[Row]:
        if perf_counter() >= self.step_until:
            await self.wait()
        self._reads = sql
        if seconds is not None:
            self._read_until = perf_counter() + seconds
        try:
            rows = self._cursor.execute(sql, params).fetchall()
        except apsw.InterruptError as error:
            if seconds is None:
                raise self._failed(error) from error
            raise timed_out(seconds) from error
        except apsw.Error as error:
            raise self._failed(error) from error
        finally:
            self._reads = ""
            self._read_until = NEVER
        return rows

    async def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        if perf_counter() >= self.step_until:
            await self.wait()
        try:
            self._cursor.execute(sql, params)
        except apsw.Error as error:
            raise self._failed(error) from error
        return self._connection.changes()

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
        if until == CLOSED:
            return False
        now = perf_counter()
        if now >= self._read_until:
            return True
        if now < until + limits.UNIT_READ_SECONDS_MAX:
            return False
        return self.bounds_writes or _only_reads(self._reads)

    def undo(self, mark: int, seq: int, *statements: str) -> None:
        """Go back to when there were `mark` changes and `seq` was next, by these statements unless
        the database has undone everything already."""
        del self.changes[mark:]
        self.next_seq = seq
        if self._connection.in_transaction:
            for statement in statements:
                self._cursor.execute(statement)

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
        tx._cursor.execute("SAVEPOINT part")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tx = self._tx
        if error is None:
            tx._cursor.execute("RELEASE part")
        elif tx.step_until != CLOSED:
            tx.undo(self._mark, self._seq, "ROLLBACK TO part", "RELEASE part")


def _only_reads(sql: str) -> bool:
    """Whether a statement surely changes nothing."""
    words = sql.split(None, 1)
    if not words:
        return False
    verb = words[0].upper()
    if verb == "WITH":
        return not any(word in sql.upper() for word in ("INSERT", "UPDATE", "DELETE", "REPLACE"))
    return verb == "SELECT"
