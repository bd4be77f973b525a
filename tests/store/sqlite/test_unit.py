"""What a unit may do with its transaction, and how its steps leave the loop to others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import ConstraintFailed, Tx
from pylon.store.sqlite.dialect import SQLITE
from pylon.store.sqlite.store import SqliteStore, open_store

TABLE = "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, n INTEGER)"
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(x) FROM c"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = open_store(tmp_path / "app.db", ddl=[TABLE])
    yield opened
    await opened.close()


@pytest.fixture
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is over as soon as it has begun: a unit pauses at each statement."""
    monkeypatch.setattr(limits, "WRITE_STEP_SECONDS", 1e-9)


async def insert(tx: Tx, row_id: str) -> None:
    await tx.execute("INSERT INTO t VALUES (?, ?)", (row_id, tx.next_seq))
    tx.publish(row_id)


async def ids(store: SqliteStore) -> list[str]:
    return [row[0] for row in await store.read("SELECT id FROM t ORDER BY rowid")]


async def test_the_loop_goes_on_inside_a_unit_and_no_other_unit_does(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit of many statements takes many turns; one that was queued with it waits."""
    monkeypatch.setattr(limits, "WRITE_BATCH_SECONDS_MAX", 60.0)
    done = asyncio.Event()
    turns = 0
    ran: list[str] = []

    async def tick() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    async def long(tx: Tx) -> int:
        ran.append("long begins")
        # It ends when the loop has had some turns, so never if it holds the loop.
        begun = turns
        count = 0
        while turns < begun + 5:
            await tx.execute("INSERT INTO t VALUES (?, 0)", (f"long {count}",))
            count += 1
        ran.append("long ends")
        return count

    async def short(tx: Tx) -> None:
        ran.append("short")
        await insert(tx, "short")

    ticking = asyncio.create_task(tick())
    count, _ = await asyncio.gather(store.write(long), store.write(short))
    done.set()
    await ticking
    assert ran == ["long begins", "long ends", "short"]
    assert (await ids(store)) == [f"long {number}" for number in range(count)] + ["short"]
    assert store.writer.batches == 1


@pytest.mark.usefixtures("short_steps")
async def test_units_in_steps_are_atomic_and_in_order(store: SqliteStore) -> None:
    heard: list[object] = []
    store.on_commit(heard.extend)

    async def unit(tx: Tx, name: str, fails: bool) -> list[int]:
        await insert(tx, f"{name} 1")
        with suppress(ConstraintFailed):
            async with tx.savepoint():
                await insert(tx, f"{name} undone")
                await insert(tx, f"{name} 1")
        await insert(tx, f"{name} 2")
        if fails:
            raise ValueError(name)
        return [row[0] for row in await tx.fetch("SELECT n FROM t ORDER BY n")]

    results = await asyncio.gather(
        store.write(lambda tx: unit(tx, "a", False)),
        store.write(lambda tx: unit(tx, "b", True)),
        store.write(lambda tx: unit(tx, "c", False)),
        return_exceptions=True,
    )
    assert results[0] == [1, 2]
    assert isinstance(results[1], ValueError)
    assert results[2] == [1, 2, 3, 4]
    assert heard == ["a 1", "a 2", "c 1", "c 2"]
    assert await ids(store) == heard
    assert (store.seq, store.writer.batches) == (4, 1)


@pytest.mark.usefixtures("short_steps")
async def test_a_unit_that_awaits_something_else_after_a_pause_is_undone(
    store: SqliteStore,
) -> None:
    async def waits(tx: Tx) -> None:
        await insert(tx, "a")
        await insert(tx, "b")
        try:
            await asyncio.sleep(0)
        finally:
            await insert(tx, "its clean-up has no transaction any more")

    with pytest.raises(PylonError) as failure:
        await store.write(waits)
    assert failure.value.code == "MUTATION_AWAITED_IO"
    assert await ids(store) == []
    assert store.seq == 0


@pytest.mark.usefixtures("short_steps")
async def test_a_caller_that_goes_while_its_unit_pauses_stops_nothing(store: SqliteStore) -> None:
    paused = asyncio.Event()

    async def unit(tx: Tx) -> None:
        await insert(tx, "a")
        paused.set()
        await insert(tx, "b")

    writing = asyncio.create_task(store.write(unit))
    await paused.wait()
    writing.cancel()
    await store.write(lambda tx: insert(tx, "c"))
    assert await ids(store) == ["a", "b", "c"]


async def test_a_task_that_a_unit_left_behind_writes_into_nobodys_transaction(
    store: SqliteStore,
) -> None:
    left: list[asyncio.Task[None]] = []

    async def unit(tx: Tx) -> None:
        await insert(tx, "mine")
        left.append(asyncio.create_task(insert(tx, "stray")))

    async def savepoint(tx: Tx) -> None:
        async with tx.savepoint():
            await insert(tx, "stray")

    async def again(tx: Tx) -> None:
        left.append(asyncio.create_task(savepoint(tx)))
        await insert(tx, "mine too")

    await store.write(unit)
    await asyncio.gather(store.write(again), store.write(lambda tx: insert(tx, "another")))
    for task in left:
        with pytest.raises(PylonError) as refused:
            await task
        assert refused.value.code == "TX_CLOSED"
    assert await ids(store) == ["mine", "mine too", "another"]


@pytest.mark.parametrize("count", [0, 2])
async def test_a_unit_that_goes_on_without_end_is_ended(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Alone in its transaction, and with others; its clean-up may not go on either."""
    monkeypatch.setattr(limits, "UNIT_SECONDS_MAX", 0.02)

    async def endless(tx: Tx) -> None:
        await insert(tx, "endless")
        try:
            while True:
                await tx.fetch("SELECT 1")
        finally:
            while True:
                await tx.fetch("SELECT 1")

    async def named(name: str, tx: Tx) -> None:
        await insert(tx, name)

    *others, failed = await asyncio.gather(
        *(store.write(partial(named, f"r{number}")) for number in range(count)),
        store.write(endless),
        return_exceptions=True,
    )
    assert isinstance(failed, PylonError)
    assert failed.code == "FN_TIMEOUT"
    assert others == [None] * count
    await store.write(lambda tx: insert(tx, "next"))
    assert await ids(store) == [*(f"r{number}" for number in range(count)), "next"]


@pytest.mark.parametrize("count", [1, 3])
async def test_rows_that_nobody_takes_keep_no_commit_back(store: SqliteStore, count: int) -> None:
    """The statement of each unit is left open, also that of the last one."""

    async def unit(tx: Tx, number: int) -> None:
        await tx.execute("SELECT 1 UNION SELECT 2")
        await tx.execute(
            "INSERT INTO t VALUES (?, 0), (?, 1) RETURNING id", (f"{number} a", f"{number} b")
        )

    async def one(number: int) -> None:
        await store.write(lambda tx: unit(tx, number))

    await asyncio.gather(*(one(number) for number in range(count)))
    assert len(await ids(store)) == 2 * count
    assert store.writer.batches == 1


async def test_a_read_in_a_unit_is_ended_and_only_its_unit_undone(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UNIT_READ_SECONDS_MAX", 0.02)

    async def endless(tx: Tx) -> None:
        await insert(tx, "endless")
        await tx.fetch(ENDLESS)

    before, failed, after = await asyncio.gather(
        store.write(lambda tx: insert(tx, "before")),
        store.write(endless),
        store.write(lambda tx: insert(tx, "after")),
        return_exceptions=True,
    )
    assert isinstance(failed, PylonError)
    assert (failed.status, failed.code) == (503, "QUERY_TIMEOUT")
    assert (before, after) == (None, None)
    assert await ids(store) == ["before", "after"]


async def test_no_text_is_looked_into_on_the_loop_by_a_unit_either(store: SqliteStore) -> None:
    places: list[bool] = []

    def tell(*_: object) -> int:
        places.append(threading.current_thread() is threading.main_thread())
        return 1

    store._connection.create_scalar_function("tell", tell)

    async def look(tx: Tx) -> object:
        for row_id in ("a", "b", "c"):
            await insert(tx, row_id)
        like, values = SQLITE.like("id", "%b%")
        return await tx.fetch(f"SELECT id FROM t WHERE {like} AND tell(id)", values)

    assert await store.write(look) == [("b",)]
    assert places == [False]
