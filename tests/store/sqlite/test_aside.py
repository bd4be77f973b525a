"""What is long in a unit is done on the commit thread, while the loop goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import ConstraintFailed, Tx
from pylon.store.sqlite.aside import only_reads
from pylon.store.sqlite.slow import SlowStatements
from pylon.store.sqlite.store import SqliteStore, open_store

TABLE = "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, n TEXT)"
COUNTED = (
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {bound})"
    " SELECT count(x) FROM c"
)
ENDLESS = COUNTED.replace(" WHERE x < {bound}", "")
THREAD = "pylon-commit"


class World:
    """A store whose SQL can ask on which thread it runs, and wait for the loop."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.turns = 0
        self.turned = threading.Event()
        """Set once the loop has gone on for some turns since it was cleared."""
        self._counting = asyncio.create_task(self._count())
        functions: dict[str, Callable[..., str | int]] = {
            "thread": lambda: threading.current_thread().name,
            "bound": self._bound,
            "loop_goes_on": self._loop_goes_on,
        }
        for name, function in functions.items():
            store.writer._connection.create_scalar_function(name, function)

    def _bound(self, *_: object) -> int:
        """Without end on the loop; elsewhere some, as soon as the loop has gone on."""
        return 1_000 if self._loop_goes_on() else 10**12

    def _loop_goes_on(self) -> int:
        if threading.current_thread() is threading.main_thread():
            return 0
        return int(self.turned.wait(20))

    async def _count(self) -> None:
        while True:
            self.turns += 1
            if self.turns % 10 == 0:
                self.turned.set()
            await asyncio.sleep(0)

    async def put(self, row_id: str, n: str = "") -> str:
        """Insert a row; the thread on which that was done."""

        async def unit(tx: Tx) -> str:
            await tx.execute("INSERT INTO t VALUES (?, thread() || substr(?, 1, 0))", (row_id, n))
            return str((await tx.fetch("SELECT n FROM t WHERE id = ?", (row_id,)))[0][0])

        return await self.store.write(unit)

    async def ids(self) -> list[str]:
        return [str(row[0]) for row in await self.store.read("SELECT id FROM t ORDER BY rowid")]

    async def close(self) -> None:
        await self.store.close()
        self._counting.cancel()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(open_store(tmp_path / "app.db", ddl=[TABLE]))
    yield made
    await made.close()


async def insert(tx: Tx, row_id: str) -> None:
    await tx.execute("INSERT INTO t VALUES (?, '')", (row_id,))


# --- reads -----------------------------------------------------------------------------------


async def test_the_loop_goes_on_while_a_unit_reads_for_long(world: World) -> None:
    """On the loop the read would have no end; on the thread it ends when the loop has gone on."""

    async def unit(tx: Tx) -> list[tuple[object, ...]]:
        await insert(tx, "mine")
        found = await tx.fetch(COUNTED.format(bound="bound()"))
        await insert(tx, "mine too")
        return found

    others = [world.store.write(lambda tx: insert(tx, "before")), world.store.write(unit)]
    _, found = await asyncio.gather(*others)
    assert found == [(1_000,)]
    assert await world.ids() == ["before", "mine", "mine too"]
    assert world.store.writer.batches == 1


async def test_a_unit_that_reads_for_too_long_is_undone_alone_and_the_loop_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UNIT_READ_SECONDS_MAX", 0.05)
    seen: list[int] = []

    async def endless(tx: Tx) -> None:
        await insert(tx, "undone")
        seen.append(world.turns)
        try:
            await tx.fetch(ENDLESS)
        finally:
            seen.append(world.turns)

    outcomes = await asyncio.gather(
        world.store.write(lambda tx: insert(tx, "before")),
        world.store.write(endless),
        world.store.write(lambda tx: insert(tx, "after")),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], PylonError)
    assert (outcomes[1].status, outcomes[1].code) == (503, "QUERY_TIMEOUT")
    assert await world.ids() == ["before", "after"]
    assert seen[1] > seen[0] + 5


async def test_a_read_that_is_long_again_and_again_is_not_begun_on_the_loop(world: World) -> None:
    """Twice it was interrupted here; then the first look at where it runs finds the thread."""
    sql = COUNTED.format(bound="bound()") + " WHERE thread() <> ''"

    async def unit(tx: Tx) -> None:
        await tx.fetch(sql)

    for _ in range(2):
        world.turned.clear()
        await world.store.write(unit)
    assert sql in world.store.writer._slow

    on: list[str] = []

    def bound(*_: object) -> int:
        on.append(threading.current_thread().name)
        return 1

    world.store.writer._connection.create_scalar_function("bound", bound)
    await world.store.write(unit)
    assert set(on) == {THREAD}


@pytest.mark.parametrize("slow_from", [1, 120])
async def test_a_long_read_has_all_its_rows(world: World, slow_from: int) -> None:
    """With a first row that is long in coming, and with a later one that is."""
    sql = (
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 500)"
        f" SELECT x FROM c WHERE x <> {slow_from} OR ({COUNTED.format(bound='bound()')}) = 1000"
    )

    async def unit(tx: Tx) -> list[tuple[object, ...]]:
        await insert(tx, "kept")
        return list(await tx.fetch(sql))

    assert await world.store.write(unit) == [(number,) for number in range(1, 501)]
    assert await world.ids() == ["kept"]


async def test_what_the_database_does_aside_is_not_the_computing_of_a_watched_unit(
    world: World,
) -> None:
    """Its own computing is ended; a statement that takes ten times as long is not."""

    async def unit(tx: Tx) -> list[tuple[object, ...]]:
        await insert(tx, "kept")
        return list(
            await tx.fetch("SELECT sleep_on_thread() + (" + COUNTED.format(bound="bound()") + ")")
        )

    def sleep(*_: object) -> int:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.2)
        return 1

    world.store.writer._connection.create_scalar_function("sleep_on_thread", sleep)
    assert await world.store.write(unit, compute_seconds=0.02) == [(1_001,)]
    assert await world.ids() == ["kept"]


async def test_nobody_else_writes_while_a_unit_reads_for_long(world: World) -> None:
    strays: list[asyncio.Task[None]] = []

    async def unit(tx: Tx) -> None:
        strays.append(asyncio.create_task(insert(tx, "stray")))
        await tx.fetch(COUNTED.format(bound="bound()"))
        await insert(tx, "mine")

    await asyncio.gather(
        world.store.write(unit), world.store.write(lambda tx: insert(tx, "another"))
    )
    with pytest.raises(PylonError) as refused:
        await strays[0]
    assert refused.value.code == "TX_CLOSED"
    assert await world.ids() == ["mine", "another"]


async def test_a_store_that_is_closed_finishes_a_long_read_first(tmp_path: Path) -> None:
    world = World(open_store(tmp_path / "app.db", ddl=[TABLE]))

    async def unit(tx: Tx) -> str:
        await tx.fetch(COUNTED.format(bound="bound()"))
        await insert(tx, "kept")
        return "done"

    writing = asyncio.create_task(world.store.write(unit))
    await asyncio.sleep(0)
    await world.close()
    assert await writing == "done"


async def test_a_held_unit_reads_for_long_too(world: World) -> None:
    async def unit(tx: Tx) -> list[tuple[object, ...]]:
        await insert(tx, "held")
        return list(await tx.fetch(COUNTED.format(bound="bound()")))

    assert await world.store.hold(unit) == [(1_000,)]
    await world.store.write(lambda tx: insert(tx, "next"))
    assert await world.ids() == ["held", "next"]


async def test_a_held_unit_that_is_cancelled_has_its_connection_back_first(world: World) -> None:
    """What it did is undone with that connection, which the thread still has."""
    begun, gate = asyncio.Event(), threading.Event()

    def bound(*_: object) -> int:
        if threading.current_thread() is threading.main_thread():
            return 10**12
        world.store.writer._loop.call_soon_threadsafe(begun.set)
        return 1_000 if gate.wait(20) else 0

    world.store.writer._connection.create_scalar_function("bound", bound)

    async def unit(tx: Tx) -> None:
        await insert(tx, "undone")
        await tx.fetch(COUNTED.format(bound="bound()"))
        await insert(tx, "never")

    holding = asyncio.create_task(world.store.hold(unit))
    await begun.wait()
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    following = asyncio.create_task(world.store.write(lambda tx: insert(tx, "next")))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not following.done()
    gate.set()
    await following
    assert await world.ids() == ["next"]


# --- writes ----------------------------------------------------------------------------------


async def test_a_very_long_text_is_written_on_the_thread(world: World) -> None:
    assert await world.put("short", "x") == "MainThread"
    assert await world.put("long", "x" * (limits.WRITE_TEXT_ON_LOOP_MAX + 1)) == THREAD
    folded = limits.WRITE_TEXT_ON_LOOP_MAX // limits.WRITE_TEXT_FOLDED_WEIGHT
    assert await world.put("folded", "気" * (folded + 1)) == THREAD
    assert await world.put("short again", "x") == "MainThread"
    assert await world.ids() == ["short", "long", "folded", "short again"]


async def test_a_statement_that_held_the_loop_twice_writes_long_texts_on_the_thread(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WRITE_SECONDS_ON_LOOP", 0.0)
    text = "x" * (limits.WRITE_TEXT_SHORT_MAX + 1)
    assert [await world.put(name, text) for name in "abc"] == ["MainThread", "MainThread", THREAD]
    assert await world.put("d", "short") == "MainThread"


async def test_a_unit_alone_writes_on_the_thread(world: World) -> None:
    async def unit(tx: Tx) -> int:
        return await tx.execute(
            "INSERT INTO t SELECT 'a', thread() WHERE loop_goes_on() UNION ALL SELECT 'b', thread()"
        )

    assert await world.store.write(unit, alone=True) == 2
    assert await world.store.read("SELECT n FROM t") == [(THREAD,), (THREAD,)]


async def test_a_failure_on_the_thread_is_the_units_own(world: World) -> None:
    long = "x" * (limits.WRITE_TEXT_ON_LOOP_MAX + 1)
    await world.put("a", long)

    async def fails(tx: Tx) -> None:
        await insert(tx, "undone")
        await tx.execute("INSERT INTO t VALUES ('a', ?)", (long,))

    outcomes = await asyncio.gather(
        world.store.write(lambda tx: insert(tx, "b")),
        world.store.write(fails),
        world.store.write(lambda tx: insert(tx, "c")),
        return_exceptions=True,
    )
    assert (outcomes[0], outcomes[2]) == (None, None)
    assert isinstance(outcomes[1], ConstraintFailed)
    assert await world.ids() == ["a", "b", "c"]


# --- decisions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT 1", True),
        ("  select 1", True),
        (ENDLESS, True),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", False),
        ("DELETE FROM t RETURNING id", False),
        ("INSERT INTO t SELECT 1, 2", False),
        ("PRAGMA synchronous", False),
        ("", False),
    ],
)
def test_what_only_reads(sql: str, reads: bool) -> None:
    assert only_reads(sql) is reads


def test_a_statement_counts_as_slow_from_its_second_time_on() -> None:
    slow = SlowStatements()
    slow.note("a")
    slow.note("b")
    assert "a" not in slow
    slow.note("a")
    assert ("a" in slow, "b" in slow, "c" in slow) == (True, False, False)
