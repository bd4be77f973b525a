"""What holds the loop is found, told apart, and named."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.loop_watch import LoopWatch, Spent, judge

SECONDS = 0.05


def test_what_a_late_timer_means() -> None:
    def cause(late: float, computed: float, queued: float = 0.0) -> str | None:
        spent = Spent(passed=late + 0.02, computed=computed, queued=queued)
        return judge(late, spent, SECONDS)

    assert cause(0.049, 0.06) is None
    assert cause(0.06, 0.055) == "computing"
    assert cause(5.0, 0.001) == "waiting"
    assert cause(5.0, 4.9) == "computing"
    # The machine ran others: not the fault of what runs here.
    assert cause(0.06, 0.01, queued=0.05) == "starved"
    assert cause(0.2, 0.03, queued=0.16) == "starved"
    # It waited for both.
    assert cause(0.2, 0.01, queued=0.1) == "waiting"


@given(st.floats(0, 10), st.floats(0, 1), st.floats(0, 1))
def test_only_what_is_late_is_a_hold(late: float, computed: float, queued: float) -> None:
    passed = late + 0.02
    spent = Spent(
        passed=passed, computed=computed * passed, queued=queued * (1 - computed) * passed
    )
    assert (judge(late, spent, SECONDS) is None) == (late < SECONDS)
    if spent.computed >= SECONDS and late >= SECONDS:
        assert judge(late, spent, SECONDS) == "computing"


def spin(seconds: float) -> None:
    """Compute for so much time of the processor."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def in_c_with_the_lock(seconds: float) -> None:
    """The same in one call that lets no other thread run meanwhile."""
    end = time.thread_time() + seconds
    size = 100_000
    while time.thread_time() < end:
        size *= 2
        begun = time.thread_time()
        str("x" * size).count("y") + len((b"ab" * size).replace(b"a", b"bb"))
        if time.thread_time() - begun >= seconds:
            return


def turn(work: object = None, seconds: float = SECONDS) -> LoopWatch:
    """What a watch has seen of a loop that did `work` in one go."""

    async def run() -> LoopWatch:
        watch = LoopWatch(seconds, beat_seconds=0.005)
        watch.start()
        await asyncio.sleep(0.02)
        if callable(work):
            work()
        await asyncio.sleep(0.02)
        watch.stop()
        return watch

    return asyncio.run(run())


def test_code_that_computes_is_counted_and_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="pylon.loop"):
        watch = turn(lambda: spin(0.2))
    assert watch.holds["computing"] >= 1
    assert watch.lengths.count >= 1
    assert "spin" in caplog.text
    assert "test_loop_watch.py" in caplog.text


def test_a_call_that_lets_no_thread_run_is_counted() -> None:
    assert turn(lambda: in_c_with_the_lock(0.2)).holds["computing"] >= 1


def test_code_that_waits_is_counted_and_named(caplog: pytest.LogCaptureFixture) -> None:
    lock = threading.Lock()
    lock.acquire()
    with caplog.at_level(logging.WARNING, logger="pylon.loop"):
        watch = turn(lambda: lock.acquire(timeout=0.3))
    assert watch.holds["waiting"] == 1
    assert watch.holds["computing"] == 0
    assert "(waiting)" in caplog.text
    assert "test_loop_watch.py" in caplog.text


def test_a_loop_that_turns_is_not_counted() -> None:
    watch = turn()
    assert (watch.holds["computing"], watch.holds["waiting"]) == (0, 0)


def test_a_place_is_named_once_and_counted_each_time(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> LoopWatch:
        watch = LoopWatch(SECONDS, beat_seconds=0.005)
        watch.start()
        for _ in range(3):
            await asyncio.sleep(0.02)
            time.sleep(0.2)  # noqa: ASYNC251 - this is what is found
        await asyncio.sleep(0.02)
        watch.stop()
        return watch

    with caplog.at_level(logging.WARNING, logger="pylon.loop"):
        watch = asyncio.run(run())
    assert watch.holds["waiting"] == 3
    assert len(caplog.records) == 1


def test_a_hold_without_end_is_told_while_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    told = threading.Event()

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "so far" in record.getMessage():
                told.set()

    logger = logging.getLogger("pylon.loop")
    handler = Heard()
    logger.addHandler(handler)
    try:
        turn(lambda: told.wait(60))
    finally:
        logger.removeHandler(handler)
    assert told.is_set()


def test_a_watch_can_be_off_and_leaves_nothing_behind() -> None:
    before = set(threading.enumerate())
    watch = turn(lambda: spin(0.1), seconds=0)
    assert sum(watch.holds.values()) == 0
    turn()
    assert set(threading.enumerate()) <= before
