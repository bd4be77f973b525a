"""Background work."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pylon.tasks import Tasks, in_task

T = TypeVar("T")


async def test_work_that_fails_is_logged_and_runs_again(caplog: pytest.LogCaptureFixture) -> None:
    tasks, runs = Tasks(), 0
    done = asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            done.set()
        raise ValueError("of its own making")

    with caplog.at_level(logging.ERROR, "pylon.tasks"):
        tasks.every(0.001, "sweep", work)
        await asyncio.wait_for(done.wait(), 60)
        await tasks.stop()
    assert "background task sweep failed" in caplog.text


async def test_a_stop_waits_until_everything_has_ended() -> None:
    tasks, ended = Tasks(), []
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.sleep(3_600)
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    tasks.every(0, "long", work)
    tasks.every(3_600, "not yet", work)
    await asyncio.wait_for(started.wait(), 60)
    await tasks.stop()
    assert ended == [True]
    await tasks.stop()


@pytest.mark.parametrize("logs", [True, False])
async def test_work_done_once_is_logged_when_it_fails(
    caplog: pytest.LogCaptureFixture, logs: bool
) -> None:
    tasks = Tasks()

    async def work() -> None:
        raise ValueError("of its own making")

    with caplog.at_level(logging.ERROR, "pylon.tasks"):
        task = tasks.start("fetch", work(), logs=logs)
        assert len(tasks) == 1
        with pytest.raises(ValueError, match="own making"):
            await task
    assert ("background task fetch failed" in caplog.text) == logs
    assert len(tasks) == 0


async def test_brief_work_leaves_by_itself_and_several_may_share_a_set() -> None:
    shared: set[asyncio.Task[None]] = set()
    first, second = Tasks(shared), Tasks(shared)

    async def work() -> None:
        await asyncio.sleep(0)
        first.ended(task)

    task = first.start_brief("brief", work())
    assert shared == {task}
    assert len(second) == 1
    await task
    assert shared == set()


seen: ContextVar[str] = ContextVar("seen", default="outside")


async def test_work_that_is_begun_at_once_and_waits_for_nothing_has_no_task() -> None:
    tasks = Tasks()

    async def work() -> None:
        assert asyncio.current_task() is not outer
        seen.set("inside")

    outer = asyncio.current_task()
    assert await begun_by_the_loop(tasks, work) is None
    assert len(tasks) == 0
    assert seen.get() == "outside"


async def test_work_that_is_begun_at_once_goes_on_in_a_task_when_it_waits() -> None:
    tasks = Tasks()
    door: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    had_task: list[bool] = []

    async def work() -> str:
        seen.set("inside")
        had_task.append(asyncio.current_task() is not None)
        said = await door
        had_task.append(asyncio.current_task() is not None)
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        assert seen.get() == "inside"
        return said

    task = await begun_by_the_loop(tasks, work)
    assert task is not None
    assert len(tasks) == 1
    door.set_result("open")
    assert await task == "open"
    assert had_task == [False, True]
    tasks.ended(task)
    assert len(tasks) == 0


async def test_work_that_was_begun_at_once_hears_that_it_is_cancelled_and_of_failures() -> None:
    tasks = Tasks()
    heard: list[str] = []
    doors = [asyncio.get_running_loop().create_future() for _ in range(2)]

    async def work() -> None:
        try:
            await doors[0]
        except ValueError:
            heard.append("failure")
        try:
            await doors[1]
        finally:
            heard.append("end")

    task = await begun_by_the_loop(tasks, work)
    assert task is not None
    doors[0].set_exception(ValueError())
    while not heard:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await tasks.stop()
    assert task.cancelled()
    assert heard == ["failure", "end"]


async def test_who_asks_for_a_task_has_one() -> None:
    tasks = Tasks()

    async def work() -> bool:
        await in_task()
        first = asyncio.current_task()
        await in_task()
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        return first is not None and asyncio.current_task() is first

    task = await begun_by_the_loop(tasks, work)
    assert task is not None
    assert await task


async def begun_by_the_loop(
    tasks: Tasks, work: Callable[[], Coroutine[Any, Any, T]]
) -> asyncio.Task[T] | None:
    """Begin work where no task runs, as a protocol does that hears of bytes."""
    loop = asyncio.get_running_loop()
    begun: asyncio.Future[asyncio.Task[T] | None] = loop.create_future()
    loop.call_soon(lambda: begun.set_result(tasks.begin_brief("brief", work())))
    return await begun


PACKAGE = Path(__file__).resolve().parents[1] / "pylon"

STARTS_A_TASK = re.compile(r"create_task\(|ensure_future\(|TaskGroup\(")

APART = {
    "tasks.py",
    "server.py",  # waits for its own end beside a second signal
}
"""Where tasks are made that belong to nobody's `Tasks`."""


def test_every_task_has_an_owner() -> None:
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if STARTS_A_TASK.search(path.read_text(encoding="utf-8"))
    }
    assert found == APART, "start it with `Tasks.start`, and stop those where their owner ends"
