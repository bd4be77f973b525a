"""Long reads: equal ones are one as long as nothing is committed, and never older than that."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest
import pytest_asyncio

from pylon import limits
from pylon.errors import PylonError
from pylon.store.sqlite.readers import Readers


class World:
    """Readers whose connections count how often a statement asks for `tick()`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ticks = 0
        self.opened: list[str] = []
        """The threads that opened a connection."""
        self.waited: set[str] = set()
        """The threads that waited for somebody else's lock."""
        self.commits = 0
        self.readers = Readers(self._connect, commits=lambda: self.commits)

    def _connect(self) -> apsw.Connection:
        self.opened.append(threading.current_thread().name.split("_")[0])
        connection = apsw.Connection(str(self.path))
        connection.set_busy_handler(self._is_waited_for)
        connection.create_scalar_function("tick", self._tick)
        return connection

    def _is_waited_for(self, tries: int) -> bool:
        self.waited.add(threading.current_thread().name.split("_")[0])
        time.sleep(0.001)
        return tries < 2_000

    def _tick(self, *_: object) -> int:
        self.ticks += 1
        return self.ticks

    async def ask(self, value: object, times: int) -> list[list[tuple[object, ...]]]:
        return await asyncio.gather(*(self.one(value) for _ in range(times)))

    async def one(self, value: Any) -> list[tuple[object, ...]]:
        return await self.readers.read("SELECT tick(), ?", (value,), heavy=True)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "a.db")
    yield made
    await made.readers.close()


async def test_equal_long_reads_are_one(world: World) -> None:
    assert await world.ask("a", 20) == [[(1, "a")]] * 20
    assert await world.ask("a", 1) == [[(2, "a")]], "an answer is not kept"


async def test_other_values_are_other_reads(world: World) -> None:
    answers = await asyncio.gather(*(world.ask(value, 2) for value in (1, 1.0, True, "1", None)))
    assert world.ticks == 5
    assert [type(first[0][1]) for first, _ in answers] == [int, float, int, str, type(None)]


async def test_a_read_that_began_before_a_commit_is_not_for_who_comes_after(world: World) -> None:
    before = asyncio.create_task(world.one("a"))
    await asyncio.sleep(0)
    world.commits += 1
    await world.one("a")
    await before
    assert world.ticks == 2


async def test_connections_for_long_reads_are_opened_on_threads_and_kept(world: World) -> None:
    for _ in range(3):
        await asyncio.gather(*(world.one(value) for value in range(20)))
    assert world.opened[0] == "MainThread"
    assert 1 <= len(world.opened[1:]) <= limits.READER_THREADS
    assert set(world.opened[1:]) == {"pylon-read"}


async def test_a_caller_that_goes_while_one_is_opened_leaves_it_to_the_next(world: World) -> None:
    leaving = asyncio.create_task(world.one("a"))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await world.one("b")
    assert len(world.opened) <= 3
    assert len(world.readers._free) == len(world.readers._opened)


async def test_an_answer_is_bounded_in_bytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_BYTES_MAX", 1_000)
    rows = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
    sql = f"{rows} SELECT i, zeroblob(?) FROM n"
    assert len(await world.readers.read(sql, (100, 10), heavy=True)) == 100
    with pytest.raises(PylonError) as caught:
        await world.readers.read(sql, (101, 10), heavy=True)
    assert (caught.value.status, caught.value.code) == (400, "ANSWER_TOO_LARGE")
    assert len(await world.readers.read(sql, (1, 1_000), heavy=True)) == 1


async def test_the_loop_waits_for_nobodys_lock(world: World) -> None:
    """A read that would have to wait is done on a thread, which does. (Of a database in WAL mode
    others keep readers out but for moments, so here it is in another.)"""
    other = apsw.Connection(str(world.path))
    other.execute("CREATE TABLE t (id)")
    other.execute("BEGIN EXCLUSIVE")
    reading = asyncio.create_task(world.readers.read("SELECT count(*) FROM t", (), heavy=False))
    for _ in range(50):
        await asyncio.sleep(0)
    while not world.waited:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert not reading.done()
    other.execute("ROLLBACK")
    assert await reading == [(0,)]
    assert world.waited == {"pylon-read"}
    other.close()
