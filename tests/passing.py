"""A `Store` that passes everything on to another: for tests that change one thing about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pylon.store.base import CommitListener, Row, Snapshot, Store, Unit, Value
from pylon.store.dialect import Dialect

T = TypeVar("T")


class PassingStore:
    """The other one, `inner`, by another name."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    @property
    def dialect(self) -> Dialect:
        return self.inner.dialect

    async def read(
        self,
        sql: str,
        params: Sequence[Value] = (),
        *,
        heavy: bool = False,
        seconds: float | None = None,
        bytes_max: int | None = None,
    ) -> list[Row]:
        return await self.inner.read(sql, params, heavy=heavy, seconds=seconds, bytes_max=bytes_max)

    async def write(
        self, unit: Unit[T], *, alone: bool = False, compute_seconds: float | None = None
    ) -> T:
        return await self.inner.write(unit, alone=alone, compute_seconds=compute_seconds)

    async def hold(self, unit: Unit[T], *, compute_seconds: float | None = None) -> T:
        return await self.inner.hold(unit, compute_seconds=compute_seconds)

    async def snapshot(self) -> Snapshot:
        return await self.inner.snapshot()

    async def give_back(self) -> int:
        return await self.inner.give_back()

    def on_commit(self, listener: CommitListener) -> None:
        self.inner.on_commit(listener)

    @property
    def seq(self) -> int:
        return self.inner.seq

    async def close(self) -> None:
        await self.inner.close()
