"""What a unit of work sees of its transaction: the `Tx` of SQLite.

A unit that has run for a step waits here, at its next statement, for the next turn of the loop: it
yields `PAUSE` to whoever drives it (`driver.py`, `held.py`). A read that outgrows its budget, and
a write that is known to be long, are awaited here as an `Aside`. Not here: when a transaction
begins and ends (`writer.py`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from itertools import islice
from time import perf_counter
from types import TracebackType
from typing import Final

import apsw

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import Row, Value
from pylon.store.overrun import NEVER
from pylon.store.sqlite.aside import Aside, Bound
from pylon.store.sqlite.dialect import asks_an_index, looks_into_texts
from pylon.store.sqlite.failures import timed_out, translate
from pylon.store.sqlite.index_later import IndexLater
from pylon.store.sqlite.slow import SlowStatements

PAUSE: Final = object()
"""Yielded by a unit whose step is over."""

CLOSED: Final = 0.0
"""`step_until` while nobody drives the unit: whoever then asks is not the unit."""

_TEXT_SHORT_MAX: Final = limits.WRITE_TEXT_SHORT_MAX

SLICE_ROWS: Final = 50
"""Rows of a long read that are taken between two looks at the clock."""


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
        *("_bound", "_connection", "_cursor", "_later", "_slow"),
        *("bounds_writes", "changes", "next_seq", "step_until"),
    )

    def __init__(
        self,
        cursor: apsw.Cursor,
        next_seq: int,
        bound: Bound,
        slow: SlowStatements,
        later: IndexLater,
    ) -> None:
        self._connection = cursor.connection
        self._cursor = cursor  # one for all statements: making one takes as long as a short one
        self._bound = bound
        self._slow = slow
        self._later = later
        self.next_seq = next_seq
        self.changes: list[object] = []
        self.step_until = CLOSED
        self.bounds_writes = False
        """Whether writing statements are ended as reads are: the unit is alone."""

    async def fetch(
        self, sql: str, params: Sequence[Value] = (), *, seconds: float | None = None
    ) -> list[Row]:
        now = perf_counter()
        if now >= self.step_until:
            await self.wait()
            now = perf_counter()
        slow = self._slow
        if sql not in slow.brief and not slow.may_be_brief(sql):
            return await self._fetch_aside(sql, params, seconds)
        bound = self._bound
        bound.reads = sql
        bound.until = now + limits.READ_BUDGET_SECONDS
        if seconds is not None and seconds < limits.READ_BUDGET_SECONDS:
            bound.until = now + seconds
        try:
            return self._cursor.execute(sql, params).fetchall()
        except apsw.InterruptError as error:
            if seconds is not None and seconds <= limits.READ_BUDGET_SECONDS:
                raise timed_out(seconds) from error
        except apsw.Error as error:
            raise self._failed(error) from error
        finally:
            bound.until = NEVER
            bound.reads = ""
        self._slow.note(sql)
        return await self._fetch_aside(sql, params, seconds)

    async def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        if perf_counter() >= self.step_until:
            await self.wait()
        try:
            if self.bounds_writes:
                return await self._write_much(sql, params)
            for value in params:  # no function, since this is asked for each statement
                if value.__class__ is str and len(value) > _TEXT_SHORT_MAX:
                    return await self._write_much(sql, params)
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

    def undo(self, mark: int, seq: int, *statements: str) -> None:
        """Go back to when there were `mark` changes and `seq` was next, by these statements unless
        the database has undone everything already."""
        del self.changes[mark:]
        self.next_seq = seq
        if self._connection.in_transaction:
            for statement in statements:
                self._cursor.execute(statement)
            self._later.undone()

    # --- what would hold the loop ------------------------------------------------------------

    async def _fetch_aside(
        self, sql: str, params: Sequence[Value], seconds: float | None
    ) -> list[Row]:
        """A read that outgrew its budget, once more: its first row, for which SQLite may have to
        scan and sort, on the commit thread, and then the others here in slices. (Rows taken on a
        thread would cost a handover of the interpreter's lock each.) Where those are long in coming
        too, or texts are looked into for each, all of it on the thread."""
        most = limits.UNIT_READ_SECONDS_MAX if seconds is None else seconds
        execute, bound = self._cursor.execute, self._bound
        whole = partial(bound.on_thread, lambda: execute(sql, params).fetchall(), most)
        try:
            if self._later.is_waiting and asks_an_index(sql):
                await Aside(self._later.settle)
            if looks_into_texts(sql):
                return await Aside(whole)
            cursor = await Aside(partial(bound.on_thread, partial(execute, sql, params), most))
            rows: list[Row] = []
            while True:
                try:
                    chunk = self._take(cursor)
                except apsw.InterruptError:
                    break
                rows += chunk
                if len(chunk) < SLICE_ROWS:
                    return rows
                if perf_counter() >= self.step_until:
                    await _PAUSE
            return await Aside(whole)
        except apsw.InterruptError as error:
            raise (self._failed(error) if seconds is None else timed_out(seconds)) from error
        except apsw.Error as error:
            raise self._failed(error) from error

    def _take(self, cursor: apsw.Cursor) -> list[Row]:
        """A few rows of an open read, or `apsw.InterruptError` beyond the budget of the loop."""
        self._bound.until = perf_counter() + limits.READ_BUDGET_SECONDS
        try:
            return list(islice(cursor, SLICE_ROWS))
        finally:
            self._bound.until = NEVER

    async def _write_much(self, sql: str, params: Sequence[Value]) -> int:
        """A write of long texts, which are perhaps indexed word by word: on the commit thread if
        one is very long, or such a statement has held the loop before (now and then an index is
        put in order by a write), and if it is to be ended in time."""
        write = partial(self._cursor.execute, sql, params)
        if self.bounds_writes:
            await Aside(partial(self._bound.on_thread, write, limits.UNIT_READ_SECONDS_MAX))
        elif sql in self._slow or _longest(params) > limits.WRITE_TEXT_ON_LOOP_MAX:
            await Aside(partial(self._bound.on_thread, write, NEVER))
        else:
            began = perf_counter()
            write()
            if perf_counter() - began > limits.WRITE_SECONDS_ON_LOOP:
                self._slow.note(sql)
        return self._connection.changes()

    def _failed(self, error: apsw.Error) -> Exception:
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


def _longest(params: Sequence[Value]) -> int:
    """Characters of the longest text among them, as long as it would be in ASCII: beyond that a
    text is folded, and in scripts without spaces taken apart, before it is indexed."""
    weights = [
        len(value) if value.isascii() else len(value) * limits.WRITE_TEXT_FOLDED_WEIGHT
        for value in params
        if isinstance(value, str)
    ]
    return max(weights, default=0)
