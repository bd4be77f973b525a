"""Code that computes for too long is ended, and nobody else is hit; by real threads and signals."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from pylon import limits
from pylon.errors import PylonError
from pylon.store import overrun
from pylon.store.base import Tx
from pylon.store.sqlite.store import open_store
from pylon.store.watchdog import SIGNAL, Overrun, Watchdog

BOUND = 0.02
TABLE = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)"


@pytest.fixture
def dog() -> Iterator[Watchdog]:
    made = Watchdog()
    yield made
    made.close()


# --- code that does not end ------------------------------------------------------------------


def spin() -> None:
    while True:
        pass


def sleep() -> None:
    time.sleep(3_600)


def receive() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.recv(1)


def go_on_after_exceptions() -> None:
    while True:
        try:
            spin()
        except Exception:
            continue


def clean_up_without_end() -> None:
    try:
        spin()
    finally:
        spin()


def swallow() -> None:
    try:
        spin()
    except BaseException:
        return


ENDLESS: list[Callable[[], None]] = [
    spin,
    sleep,
    receive,
    go_on_after_exceptions,
    clean_up_without_end,
    swallow,
]


@pytest.mark.parametrize("code", ENDLESS)
def test_it_is_ended(dog: Watchdog, code: Callable[[], None]) -> None:
    watch = dog.watch(BOUND)
    with pytest.raises(Overrun):
        watch.step(code)
    assert watch.is_over
    assert dog.watch(60.0).step(lambda: "next") == "next"


@pytest.mark.parametrize("code", [spin, go_on_after_exceptions, clean_up_without_end, swallow])
def test_it_is_ended_on_another_thread(dog: Watchdog, code: Callable[[], None]) -> None:
    """Where the interpreter can be asked only; what blocks in C ends there with its call."""
    outcome: list[object] = []

    def work() -> None:
        try:
            dog.watch(BOUND).step(code)
        except BaseException as error:
            outcome.append(type(error))
        outcome.append(dog.watch(60.0).step(lambda: sum(range(100_000))))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert outcome == [Overrun, sum(range(100_000))]


def test_what_the_work_waits_for_does_not_count(dog: Watchdog) -> None:
    def work() -> str:
        for _ in range(3):
            watch.suspend()
            time.sleep(0.3)
            watch.resume()
        return "done"

    watch = dog.watch(0.2)
    assert watch.step(work) == "done"


def test_code_that_is_quick_is_left_alone_for_long(dog: Watchdog) -> None:
    """The bound is for a step, not for all of them together."""
    watch = dog.watch(0.25)
    for _ in range(100):
        watch.step(lambda: time.sleep(0.004))
    assert not watch.is_over


def test_nothing_outside_is_hit(dog: Watchdog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that end at about their bound, so that strikes come at their very end or too late."""
    monkeypatch.setattr(limits, "COMPUTE_AGAIN_SECONDS", 0.0005)
    monkeypatch.setattr(overrun, "GRACE_TIMES_MAX", 0)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    try:
        ended = hammer(dog)
    finally:
        sys.setswitchinterval(interval)
    assert ended > 0, "some were over their bound"


def hammer(dog: Watchdog) -> int:
    """Run many steps; how many were ended."""
    ended = 0
    for number in range(400):
        watch = dog.watch(0.002)
        until = time.perf_counter() + 0.0015 + (number % 10) / 5_000

        def work(until: float = until) -> int:
            while time.perf_counter() < until:
                pass
            return 1

        result = 0
        try:
            result = watch.step(work)
        except Overrun:
            ended += 1
        # Outside: a strike here would fail the test.
        assert result == (not watch.is_over)
        sum(range(200))
    return ended


def test_a_signal_without_a_reason_does_nothing(dog: Watchdog) -> None:
    assert SIGNAL is not None

    def work() -> str:
        signal.raise_signal(SIGNAL)
        return "done"

    assert dog.watch(60.0).step(work) == "done"
    signal.raise_signal(SIGNAL)


def test_the_signal_is_given_back() -> None:
    assert SIGNAL is not None
    before = signal.getsignal(SIGNAL)
    one, other = Watchdog(), Watchdog()
    for dog in (one, other):
        dog.watch(1.0).step(lambda: None)
    assert signal.getsignal(SIGNAL) != before
    one.close()
    with pytest.raises(Overrun):
        other.watch(BOUND).step(spin)
    other.close()
    assert signal.getsignal(SIGNAL) == before
    assert all(thread.name != "pylon-watchdog" for thread in threading.enumerate())


def test_a_watch_inside_a_watch(dog: Watchdog) -> None:
    def work() -> str:
        with pytest.raises(Overrun):
            dog.watch(BOUND).step(spin)
        return "went on"

    assert dog.watch(60.0).step(work) == "went on"


def test_code_that_looks_at_no_signal_is_named_and_makes_the_process_unready(
    dog: Watchdog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Stands for C code: signals are blocked for its thread until the log has named it."""
    monkeypatch.setattr(limits, "COMPUTE_NAMED_SECONDS", 0.02)
    monkeypatch.setattr(limits, "COMPUTE_STUCK_SECONDS", 0.04)
    assert SIGNAL is not None
    seen: list[bool] = []

    def deaf() -> None:
        try:
            while not (caplog.records and dog.is_stuck):
                time.sleep(0.001)
            seen.append(dog.is_stuck)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGNAL})

    # Before the step, since a machine that is busy may strike it before its first line.
    signal.pthread_sigmask(signal.SIG_BLOCK, {SIGNAL})
    with caplog.at_level(logging.ERROR, "pylon.watchdog"), pytest.raises(Overrun):
        dog.watch(BOUND).step(deaf)
    assert seen in ([], [True])
    assert "deaf" in caplog.text
    assert Path(__file__).name in caplog.text
    while dog.is_stuck:  # until its next look
        time.sleep(0.001)


# --- in units ----------------------------------------------------------------------------------


def on_loop(factory: Callable[[], asyncio.AbstractEventLoop], work: Awaitable[Any]) -> None:
    async def run() -> None:
        await work

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("code", ENDLESS)
def test_a_unit_is_ended_and_the_others_of_its_batch_commit(
    factory: Callable[[], asyncio.AbstractEventLoop], code: Callable[[], None], tmp_path: Path
) -> None:
    async def scenario() -> None:
        store = open_store(tmp_path / "app.db", ddl=[TABLE])
        heard: list[object] = []
        store.on_commit(heard.extend)

        async def insert(tx: Tx, name: str) -> None:
            await tx.execute("INSERT INTO t (name) VALUES (?)", (name,))
            tx.publish(name)

        async def runaway(tx: Tx) -> None:
            await insert(tx, "runaway")
            async with tx.savepoint():
                await insert(tx, "runaway")
                code()

        before, failed, after = await asyncio.gather(
            store.write(lambda tx: insert(tx, "before")),
            store.write(runaway, compute_seconds=BOUND),
            store.write(lambda tx: insert(tx, "after"), compute_seconds=60.0),
            return_exceptions=True,
        )
        assert (before, after) == (None, None)
        assert isinstance(failed, PylonError)
        assert failed.code == "FN_TIMEOUT"
        assert heard == ["before", "after"]
        assert await store.read("SELECT name FROM t ORDER BY id") == [("before",), ("after",)]
        # And one that is alone in its transaction.
        with pytest.raises(PylonError):
            await store.write(runaway, compute_seconds=BOUND)
        await store.write(lambda tx: insert(tx, "last"))
        assert heard == ["before", "after", "last"]
        await store.close()

    on_loop(factory, scenario())


def test_statements_do_not_count_and_the_time_begins_anew_after_each(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = open_store(tmp_path / "app.db", ddl=[TABLE])

        async def unit(tx: Tx) -> int:
            for _ in range(3):
                await tx.fetch("SELECT nap()")
                async with tx.savepoint():
                    await tx.execute("INSERT INTO t (name) VALUES ('a')")
            tx.publish("a")
            return tx.next_seq

        def nap(*_: object) -> None:
            time.sleep(0.3)

        store._connection.create_scalar_function("nap", nap)
        assert await store.write(unit, compute_seconds=0.2) == 2
        assert await store.read("SELECT count(*) FROM t") == [(3,)]
        await store.close()

    asyncio.run(scenario())


def test_a_unit_is_ended_on_a_loop_of_another_thread(tmp_path: Path) -> None:
    failures: list[object] = []

    async def scenario() -> None:
        store = open_store(tmp_path / "app.db", ddl=[TABLE])

        async def runaway(tx: Tx) -> None:
            await tx.execute("INSERT INTO t (name) VALUES ('a')")
            spin()

        try:
            await store.write(runaway, compute_seconds=BOUND)
        except PylonError as error:
            failures.append(error.code)
        failures.append(await store.read("SELECT * FROM t"))
        await store.close()

    thread = threading.Thread(target=lambda: asyncio.run(scenario()))
    thread.start()
    thread.join()
    assert failures == ["FN_TIMEOUT", []]
