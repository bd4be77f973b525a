"""Background work that belongs to somebody: started, watched and stopped in one place.

A service has one `Tasks` for its life, and whatever starts work of its own has one too; nobody else
makes a task. A task that fails is logged once and, when it is periodic, tried again at its next
turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from functools import partial
from types import coroutine
from typing import Any, TypeVar

log = logging.getLogger("pylon.tasks")

T = TypeVar("T")


class Tasks:
    """Tasks of one owner, which ends them with `stop`. Several may keep them in one set, `running`,
    where somebody looks at all of them (a server's requests)."""

    def __init__(self, running: set[asyncio.Task[Any]] | None = None) -> None:
        self._running: set[asyncio.Task[Any]] = set() if running is None else running

    def __len__(self) -> int:
        return len(self._running)

    def start(
        self, name: str, work: Coroutine[Any, Any, T], *, logs: bool = True
    ) -> asyncio.Task[T]:
        """Run `work` in a task. A failure is logged, unless `logs` is false because somebody awaits
        the task and hears of it there."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended if logs else self._running.discard)
        return task

    def start_brief(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run work that logs its own failures and calls `ended` with its task as its last act.

        For what comes many thousand times a second: to hear of the end from the loop costs a tenth
        of a short request.
        """
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        return task

    def begin_brief(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T] | None:
        """The same, begun at once; None where it has ended already, as most requests that read
        have: they are answered without a task, which is a tenth of what they cost.

        Until work waits for the first time it has no task: it must not ask for its own, as timeouts
        do, before it has awaited `in_task`.
        """
        context = copy_context()
        try:
            waits_for = context.run(work.send, None)
        except StopIteration:
            return None
        if waits_for is not None:
            work = _go_on(work, waits_for)
        task = asyncio.get_running_loop().create_task(work, name=name, context=context)
        self._running.add(task)
        return task

    def ended(self, task: asyncio.Task[Any]) -> None:
        """A task of `start_brief` or `begin_brief` is at its end."""
        self._running.discard(task)

    def every(self, seconds: float, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Run `work` each `seconds`, the first time after one interval."""
        self.start(name, self._repeat(seconds, name, work))

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background task %s failed", task.get_name(), exc_info=error)

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
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@coroutine
def in_task() -> Generator[None, None, None]:
    """Go on in a task of its own, where work that was begun at once has none yet."""
    if asyncio.current_task() is None:
        yield


async def _go_on(work: Coroutine[Any, Any, T], waits_for: Any) -> T:
    # From Python 3.12 on a task takes no generator, not even one that may be awaited.
    return await _waiting(work, waits_for)


@coroutine
def _waiting(work: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """The rest of work that waits for something: what a task runs that was made afterwards."""
    while True:
        try:
            value = yield waits_for
        except BaseException as error:  # It is cancelled, or closed: that is for the work to hear.
            step = partial(work.throw, error)
        else:
            step = partial(work.send, value)
        try:
            waits_for = step()
        except StopIteration as done:
            result: T = done.value
            return result
