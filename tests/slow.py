"""A store behind a slow network: every read suspends before it is asked and before it is answered,
in units too. What holds over it holds over a database that is somewhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from pylon.errors import PylonError
from pylon.store.base import Row, Store, Tx, Unit, Value
from tests.passing import PassingStore

T = TypeVar("T")


class SlowStore(PassingStore):
    """A `Store` on another one. `turns` is how often the loop turns before and after each read;
    `hold_back` keeps the answers to reads that begin with a text."""

    def __init__(self, inner: Store, *, turns: int = 2) -> None:
        super().__init__(inner)
        self.turns = turns
        self.asked: list[str] = []
        """The statements of all reads outside of units."""
        self.failure: PylonError | None = None
        """What reads that are held end with."""
        self._held: tuple[str, asyncio.Event] | None = None

    def hold_back(self, beginning: str) -> asyncio.Event:
        """Such reads wait until the event is set."""
        self._held = (beginning, asyncio.Event())
        return self._held[1]

    async def read(
        self,
        sql: str,
        params: Sequence[Value] = (),
        *,
        heavy: bool = False,
        seconds: float | None = None,
        bytes_max: int | None = None,
    ) -> list[Row]:
        self.asked.append(sql)
        await self._wait()
        if self._held is not None and sql.startswith(self._held[0]):
            await self._held[1].wait()
            if self.failure is not None:
                raise self.failure
        found = await self.inner.read(
            sql, params, heavy=heavy, seconds=seconds, bytes_max=bytes_max
        )
        await self._wait()
        return found

    async def _wait(self) -> None:
        for _ in range(self.turns):
            await asyncio.sleep(0)

    async def write(
        self, unit: Unit[T], *, alone: bool = False, compute_seconds: float | None = None
    ) -> T:
        return await self.inner.write(
            self._stepped(unit), alone=alone, compute_seconds=compute_seconds
        )

    def _stepped(self, unit: Unit[T]) -> Unit[T]:
        async def stepped(tx: Tx) -> T:
            # The writer takes no unit that suspends, so this one is taken up again here.
            steps = unit(_SlowTx(tx)).__await__()
            try:
                while True:
                    next(steps)
            except StopIteration as stop:
                result: T = stop.value
                return result

        return stepped


class _SlowTx:
    def __init__(self, inner: Tx) -> None:
        self._inner = inner

    @property
    def next_seq(self) -> int:
        return self._inner.next_seq

    @next_seq.setter
    def next_seq(self, seq: int) -> None:
        self._inner.next_seq = seq

    async def fetch(
        self, sql: str, params: Sequence[Value] = (), *, seconds: float | None = None
    ) -> list[Row]:
        await _Pause()
        found = await self._inner.fetch(sql, params, seconds=seconds)
        await _Pause()
        return found

    async def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        await _Pause()
        return await self._inner.execute(sql, params)

    def publish(self, change: object) -> None:
        self._inner.publish(change)

    def tell(self, fact: object) -> None:
        self._inner.tell(fact)

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        return self._inner.savepoint()


class _Pause(Awaitable[None]):
    """Suspends once."""

    def __await__(self) -> Generator[Any, None, None]:
        yield
