"""Background work that belongs to a running server: started, watched and stopped in one place.

A task that fails is logged once and, when it is periodic, tried again at its next turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("pylon.tasks")


class Tasks:
    """The tasks of one server."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def every(self, seconds: float, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Run `work` each `seconds`, the first time after one interval."""
        task = asyncio.create_task(self._repeat(seconds, name, work), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _repeat(
        self, seconds: float, name: str, work: Callable[[], Awaitable[object]]
    ) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except Exception:
                log.exception("background task %s failed; it will run again", name)

    async def stop(self) -> None:
        """Cancel everything and wait until it has ended."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
