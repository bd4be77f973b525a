"""Pools: turns among keys, bounds, and processes that are lost with no more than their work."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pylon import limits
from pylon.errors import PylonError
from pylon.pools import (
    Pools,
    ProcessPool,
    ThreadPool,
    WorkerLost,
    WorkFailed,
    WorkTooLong,
)

SECONDS = 60.0


async def settle() -> None:
    """Let everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def processes(workers: int = 1) -> AsyncIterator[ProcessPool]:
    pool = ProcessPool("test", "tests.pool_work:work", workers, waiting_max=50, per_key_max=50)
    try:
        yield pool
    finally:
        await pool.close()
        assert pool.figures.workers == 0


async def test_a_pool_that_is_full_refuses_for_now() -> None:
    pool, go_on = ThreadPool("test", 1, waiting_max=5, per_key_max=1), threading.Event()
    calls = [asyncio.create_task(pool.run(go_on.wait, key=key)) for key in ("a", "a", "b")]
    await settle()
    with pytest.raises(PylonError) as caught:
        await pool.run(go_on.wait, key="a")
    assert (caught.value.status, caught.value.code) == (503, "OVERLOADED")
    assert caught.value.extra == {"retry_after_secs": limits.POOL_RETRY_SECONDS}
    figures = pool.figures
    assert (figures.busy, figures.waiting, figures.refused) == (1, 2, 1)
    go_on.set()
    await asyncio.gather(*calls)
    assert (pool.figures.busy, pool.figures.waiting, pool.figures.done) == (0, 0, 3)
    await pool.close()


# --- threads ---------------------------------------------------------------------------------


async def test_threads_do_calls_beside_the_loop_and_raise_what_they_raise() -> None:
    pool = ThreadPool("test", 2, waiting_max=10)
    assert pool.figures.workers == 0
    names = await asyncio.gather(
        *(pool.run(lambda: threading.current_thread().name) for _ in "abc")
    )
    assert all(name.startswith("pylon-test") for name in names)
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 // 0)
    assert (pool.figures.done, pool.figures.busy) == (4, 0)
    await pool.close()


async def test_a_thread_keeps_its_place_when_its_caller_has_gone() -> None:
    pool, go_on = ThreadPool("test", 1, waiting_max=10), threading.Event()
    caller = asyncio.create_task(pool.run(go_on.wait))
    await settle()
    caller.cancel()
    await settle()
    assert pool.figures.busy == 1
    go_on.set()
    assert await pool.run(lambda: 7) == 7
    await pool.close()


# --- processes -------------------------------------------------------------------------------


async def test_processes_answer_and_are_used_again() -> None:
    async with processes() as pool:
        assert pool.figures.workers == 0, "started by the first work"
        pids = {(await pool.run(b"pid", seconds=SECONDS))[0] for _ in range(3)}
        assert len(pids) == 1
        large = bytes(5_000_000)
        assert (await pool.run(large, seconds=SECONDS))[0] == large
        assert (pool.figures.workers, pool.figures.busy, pool.figures.done) == (1, 0, 4)


async def test_a_process_of_a_large_service_is_used_again() -> None:
    """It begins as a copy of the service, whose memory is not its own."""
    mine = bytearray(b"x") * (limits.POOL_PROCESS_KEPT_BYTES + 1)
    async with processes() as pool:
        pids = {(await pool.run(b"pid", seconds=SECONDS))[0] for _ in range(2)}
    assert len(pids) == 1
    del mine


async def test_a_process_that_dies_or_hangs_loses_its_work_alone() -> None:
    async with processes() as pool:
        with pytest.raises(WorkerLost):
            await pool.run(b"die", seconds=SECONDS)
        with pytest.raises(WorkTooLong):
            await pool.run(b"hang", seconds=0.5)
        assert (await pool.run(b"hello", seconds=SECONDS))[0] == b"hello"
        assert (pool.figures.lost, pool.figures.done, pool.figures.busy) == (2, 1, 0)


@pytest.mark.skipif(not hasattr(signal, "alarm"), reason="no alarms")
async def test_the_kernel_ends_a_process_that_nobody_ends() -> None:
    async with processes() as pool:
        with pytest.raises(WorkerLost):
            await pool.run(b"alarm", seconds=SECONDS)


async def test_what_the_work_raises_is_told_and_the_process_stays() -> None:
    async with processes() as pool:
        before = await pool.run(b"pid", seconds=SECONDS)
        with pytest.raises(WorkFailed, match="as told"):
            await pool.run(b"raise", seconds=SECONDS)
        assert (await pool.run(b"pid", seconds=SECONDS))[0] == before[0]


async def test_processes_know_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYLON_ADMIN_TOKEN", "correct-horse")
    async with processes() as pool:
        environment, _ = await pool.run(b"environment", seconds=SECONDS)
        assert b"PYLON_" not in environment
        assert b"correct-horse" not in environment


async def test_what_a_library_prints_is_no_answer() -> None:
    async with processes() as pool:
        assert (await pool.run(b"print", seconds=SECONDS))[0] == b"print"


async def test_processes_without_work_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POOL_IDLE_SECONDS", 0.01)
    async with processes() as pool:
        await pool.run(b"x", seconds=SECONDS)
        async with asyncio.timeout(SECONDS):
            while pool.figures.workers:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await pool.run(b"y", seconds=SECONDS))[0] == b"y"


async def test_one_that_has_grown_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POOL_PROCESS_KEPT_BYTES", 1)
    async with processes() as pool:
        pids = {(await pool.run(b"pid", seconds=SECONDS))[0] for _ in range(2)}
        assert len(pids) == 2


async def test_a_closed_pool_takes_nothing() -> None:
    async with processes() as pool:
        hanging = asyncio.create_task(pool.run(b"hang", seconds=SECONDS))
        while not pool.figures.workers:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await pool.close()
        with pytest.raises((WorkerLost, OSError)):
            await hanging
        with pytest.raises(PylonError) as caught:
            await pool.run(b"x", seconds=SECONDS)
        assert caught.value.code == "SHUTTING_DOWN"


async def test_the_pools_of_a_service_are_counted_and_end_together() -> None:
    pools = Pools()
    threads = ThreadPool("threads", 1, waiting_max=1)
    async with processes() as others:
        pools.add("threads", threads)
        pools.add("processes", others)
        await threads.run(lambda: None)
        await others.run(b"x", seconds=SECONDS)
        assert {name: each.done for name, each in pools.figures.items()} == {
            "threads": 1,
            "processes": 1,
        }
        await pools.close()
        assert others.figures.workers == 0
