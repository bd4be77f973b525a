"""Work shared by several callers: done once, left by those who go, never kept."""

from __future__ import annotations

import asyncio

import pytest

from pylon.store.sqlite.shared import Shared


class Maker:
    """Work that waits until it is let go, and counts."""

    def __init__(self) -> None:
        self.began = 0
        self.cancelled = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def make(self) -> int:
        self.began += 1
        number = self.began
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return number


async def started(
    shared: Shared[int], maker: Maker, key: str, count: int
) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(shared.get(key, maker.make)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_equal_work_is_done_once_and_other_work_apart() -> None:
    shared: Shared[int] = Shared()
    maker = Maker()
    same = await started(shared, maker, "a", 5)
    other = await started(shared, maker, "b", 1)
    maker.go.set()
    assert await asyncio.gather(*same) == [1] * 5
    assert await asyncio.gather(*other) == [2]
    assert len(shared) == 0
    assert await shared.get("a", maker.make) == 3


async def test_a_failure_is_told_to_everybody() -> None:
    shared: Shared[int] = Shared()
    maker = Maker()
    maker.error = ValueError("no")
    tasks = await started(shared, maker, "a", 3)
    maker.go.set()
    for task in tasks:
        with pytest.raises(ValueError, match="no"):
            await task
    assert len(shared) == 0


async def test_who_goes_leaves_the_work_to_the_others() -> None:
    shared: Shared[int] = Shared()
    maker = Maker()
    first, second = await started(shared, maker, "a", 2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    maker.go.set()
    assert await second == 1
    assert not maker.cancelled


async def test_work_that_nobody_waits_for_ends_and_is_not_given_to_whoever_comes_next() -> None:
    shared: Shared[int] = Shared()
    maker = Maker()
    (only,) = await started(shared, maker, "a", 1)
    only.cancel()
    await asyncio.gather(only, return_exceptions=True)
    (next_one,) = await started(shared, maker, "a", 1)
    assert (maker.began, maker.cancelled) == (2, 1)
    maker.go.set()
    assert await next_one == 2
    assert len(shared) == 0
