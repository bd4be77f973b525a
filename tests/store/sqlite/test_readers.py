"""Long reads: equal ones are one as long as nothing is committed, and never older than that; what
cannot be interrupted is not done on the loop; and callers share the threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
import pytest_asyncio

from pylon import limits
from pylon.asking import ASKER
from pylon.errors import PylonError
from pylon.identity import ANONYMOUS
from pylon.store.sqlite.dialect import SQLITE, is_for_threads, looks_into_texts
from pylon.store.sqlite.functions import add_functions
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
        add_functions(connection)
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
        return await self.readers.read_long("SELECT tick(), ?", (value,))


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
    assert len(await world.readers.read_long(sql, (100, 10))) == 100
    with pytest.raises(PylonError) as caught:
        await world.readers.read_long(sql, (101, 10))
    assert (caught.value.status, caught.value.code) == (400, "ANSWER_TOO_LARGE")
    assert len(await world.readers.read_long(sql, (1, 1_000))) == 1


async def test_a_refused_answer_leaves_no_moment_behind(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads that follow on the same connection see what was committed since."""
    monkeypatch.setattr(limits, "READ_BUDGET_SECONDS", 0.0)
    monkeypatch.setattr(limits, "READ_ON_LOOP_STEPS", 1)  # so that all is done on the thread
    other = apsw.Connection(str(tmp_path / "a.db"))
    other.execute("PRAGMA journal_mode = WAL").fetchall()
    other.execute("CREATE TABLE t (text)").fetchall()
    other.executemany("INSERT INTO t VALUES (?)", [("x" * 100,)] * 1_000)
    world.commits += 1
    with pytest.raises(PylonError) as caught:
        await world.readers.read_long("SELECT text FROM t", (), bytes_max=10_000)
    assert caught.value.code == "ANSWER_TOO_LARGE"
    other.execute("DELETE FROM t")
    world.commits += 1
    assert await world.readers.read_long("SELECT count(*) FROM t", ()) == [(0,)]
    other.close()


# --- on the loop, and off it -----------------------------------------------------------------


class Texts:
    """A table of texts whose reads can tell on which thread each row was made."""

    def __init__(self, path: Path, *sizes: int) -> None:
        self.path = path
        self.gate = threading.Event()
        self.held = 0
        connection = apsw.Connection(str(path))
        connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, b TEXT)")
        for size in sizes:
            connection.execute("INSERT INTO t (b) VALUES (?)", ("a" * size,))
        connection.close()
        self.readers = Readers(self._connect, commits=lambda: 0)

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path))
        add_functions(connection)
        connection.create_scalar_function(
            "on_loop", lambda *_: threading.current_thread() is threading.main_thread()
        )
        connection.create_scalar_function("hold", self._hold)
        return connection

    def _hold(self, *_: object) -> int:
        self.held += 1
        return int(self.gate.wait(20))

    async def places(self, expression: str, *params: Any) -> list[bool]:
        """Of each row, whether it was made on the loop."""
        sql = f"SELECT {expression}, on_loop(n) FROM t ORDER BY n"
        return [row[-1] == 1 for row in await self.readers.read(sql, params)]


@pytest.fixture
def texts(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Texts]]:
    @asynccontextmanager
    async def made(*sizes: int) -> AsyncIterator[Texts]:
        world = Texts(tmp_path / f"{len(list(tmp_path.iterdir()))}.db", *sizes)
        try:
            yield world
        finally:
            world.gate.set()
            await world.readers.close()

    return made


LIKE = SQLITE.like("b", "%a%")[0]
CONTAINS = SQLITE.contains("b", is_folded=True)
LARGE = limits.READ_ON_LOOP_BYTES_MAX + 1


async def test_a_large_value_is_read_on_a_thread(texts: Any) -> None:
    async with texts(10, LARGE, 10) as world:
        assert await world.places("length('x')") == [True] * 3
        for expression in ("length(b)", "json_quote(b)", "b = 'x'", "b || 'x'"):
            assert await world.places(expression) == [False] * 3, expression
        first, *_ = await world.places("length(?)", "a" * LARGE)
        assert first is False


async def test_texts_are_looked_into_on_a_thread_but_for_the_small_rest(texts: Any) -> None:
    for expression in (LIKE, CONTAINS):
        sql = f"SELECT {expression} FROM t"
        assert looks_into_texts(sql), sql
        assert is_for_threads(sql), sql
    async with texts(10, 10, 10) as small:
        for expression in (LIKE, CONTAINS):
            places = await small.places(expression, *["%a%"] * expression.count("?"))
            assert places[0] is False
    async with texts(10, limits.LOOK_ON_LOOP_BYTES_MAX * 2, 10) as world:
        for expression in (LIKE, CONTAINS):
            values = ["%a%"] * expression.count("?")
            assert await world.places(expression, *values) == [False] * 3


async def test_the_index_is_asked_on_a_thread(texts: Any) -> None:
    async with texts(10) as world:
        table = SQLITE.search_source("Note").sql
        assert is_for_threads(f"SELECT 1 FROM {table}")
        assert not is_for_threads("SELECT 1 FROM Note")
        with pytest.raises(PylonError):
            await world.readers.read(f"SELECT 1 FROM {table}", ("x",))
        assert world.readers.waiting == 0


ENDLESS = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


async def test_a_read_that_goes_on_is_ended_and_its_thread_free_again(texts: Any) -> None:
    async with texts(10) as world:
        for _ in range(limits.READER_THREADS + 1):
            with pytest.raises(PylonError) as caught:
                await world.readers.read_long(ENDLESS, (), seconds=0.01)
            assert (caught.value.status, caught.value.code) == (503, "QUERY_TIMEOUT")
        for number in range(limits.READER_THREADS + 1):
            gone = asyncio.create_task(world.readers.read_long(ENDLESS, (), seconds=3_600))
            await asyncio.sleep(0.001 * number)
            gone.cancel()
            await asyncio.wait((gone,))
        assert await world.readers.read_long("SELECT 1", ()) == [(1,)]
        waiting = asyncio.create_task(world.readers.read_long(ENDLESS, (), seconds=3_600))
        await asyncio.sleep(0.01)
    assert waiting.cancelled(), "a stop does not wait for long reads"


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - what is awaited happens on threads
            await asyncio.sleep(0.001)


async def ask_as(caller: str, readers: Readers, sql: str, *params: Any) -> Any:
    ASKER.set((caller, ANONYMOUS))
    return await readers.read_long(sql, params)


async def test_one_caller_does_not_have_all_threads(texts: Any) -> None:
    async with texts(10) as world:
        asked = [
            asyncio.create_task(ask_as("ann", world.readers, "SELECT hold(?)", number))
            for number in range(limits.READERS_PER_CALLER_MAX + 5)
        ]
        await until(lambda: world.held == limits.READERS_PER_CALLER_MAX)
        for number in range(3):
            answer = await asyncio.create_task(ask_as("bob", world.readers, "SELECT ?", number))
            assert answer == [(number,)]
        assert world.held == limits.READERS_PER_CALLER_MAX
        world.gate.set()
        assert await asyncio.gather(*asked) == [[(1,)]] * len(asked)


async def test_one_caller_does_not_have_all_of_the_queue(texts: Any) -> None:
    most = limits.READERS_PER_CALLER_MAX + limits.READS_WAITING_PER_CALLER_MAX
    async with texts(10) as world:
        asked = [
            asyncio.create_task(ask_as("ann", world.readers, "SELECT hold(?)", number))
            for number in range(most)
        ]
        await until(lambda: world.readers.waiting == most)
        with pytest.raises(PylonError) as caught:
            await asyncio.create_task(ask_as("ann", world.readers, "SELECT hold(?)", -1))
        assert (caught.value.status, caught.value.code) == (503, "OVERLOADED")
        bob = asyncio.create_task(ask_as("bob", world.readers, "SELECT 1"))
        assert await bob == [(1,)]
        world.gate.set()
        await asyncio.gather(*asked)


async def test_the_loop_waits_for_nobodys_lock(world: World) -> None:
    """A read that would have to wait is done on a thread, which does. (Of a database in WAL mode
    others keep readers out but for moments, so here it is in another.)"""
    other = apsw.Connection(str(world.path))
    other.execute("CREATE TABLE t (id)")
    other.execute("BEGIN EXCLUSIVE")
    reading = asyncio.create_task(world.readers.read("SELECT count(*) FROM t", ()))
    for _ in range(50):
        await asyncio.sleep(0)
    while not world.waited:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert not reading.done()
    other.execute("ROLLBACK")
    assert await reading == [(0,)]
    assert world.waited == {"pylon-read"}
    other.close()
