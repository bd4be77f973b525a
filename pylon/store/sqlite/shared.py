"""Work that several callers want at the same time, done once for all of them.

When a row changes, every page that shows a sum or a search asks for it again at once, with the same
statement and the same values. Knows nothing of statements; used by `readers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from pylon.tasks import Tasks

T = TypeVar("T")


class _Work(Generic[T]):
    __slots__ = ("callers", "task")

    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.callers = 0


class Shared(Generic[T]):
    """Results by key while they are being made. Nothing is kept once they are there."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _Work[T]] = {}
        self._tasks = Tasks()

    def __len__(self) -> int:
        return len(self._under_way)

    async def get(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of `make`, of a call under way if there is one with this key.

        A caller that goes leaves the work to the others; when all have gone it is cancelled.
        """
        work = self._under_way.get(key)
        if work is None:
            task = self._tasks.start("shared work", make(), logs=False)
            work = self._under_way[key] = _Work(task)
            work.task.add_done_callback(lambda task: self._done(key, task))
        work.callers += 1
        try:
            return await asyncio.shield(work.task)
        finally:
            work.callers -= 1
            if not work.callers and not work.task.done():
                work.task.cancel()
                # Whoever comes now must not get the cancelled one.
                self._forget(key, work.task)

    async def close(self) -> None:
        """Cancel what is under way."""
        await self._tasks.stop()

    def _done(self, key: Hashable, task: asyncio.Task[T]) -> None:
        self._forget(key, task)
        if not task.cancelled():
            task.exception()  # told to whoever waits; nobody may be left

    def _forget(self, key: Hashable, task: asyncio.Task[T]) -> None:
        work = self._under_way.get(key)
        if work is not None and work.task is task:
            del self._under_way[key]
