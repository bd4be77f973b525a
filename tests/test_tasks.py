"""Background work."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

import pytest

from pylon.tasks import Tasks


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
