"""What a unit of others' code sees of its transaction: its own computing is bounded.

The `Tx` of `unit.py`, with the watch of the unit suspended while the database works for it. Made by
`driver.py` for units with `compute_seconds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from pylon.store.base import Row, Value
from pylon.store.overrun import NEVER
from pylon.store.sqlite.unit import Part, UnitTx
from pylon.store.watchdog import Overrun, Watch


class WatchedTx:
    """The `Tx` of a unit whose own computing is bounded: statements do not count."""

    __slots__ = ("_tx", "_watch")

    def __init__(self, tx: UnitTx, watch: Watch) -> None:
        self._tx = tx
        self._watch = watch

    @property
    def next_seq(self) -> int:
        return self._tx.next_seq

    async def fetch(
        self, sql: str, params: Sequence[Value] = (), *, seconds: float | None = None
    ) -> list[Row]:
        await self._next_step()
        self._watch.suspend()
        try:
            return await self._tx.fetch(sql, params, seconds=seconds)
        finally:
            self._watch.resume()

    async def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        await self._next_step()
        self._watch.suspend()
        try:
            return await self._tx.execute(sql, params)
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
        self._watch.deadline = NEVER
        try:
            await self._part.__aexit__(*raised)
        finally:
            self._watch.resume()
