"""Held units: they may wait for the world outside, one at a time, within bounds; then nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path

import pytest

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import Tx
from pylon.store.sqlite.store import SqliteStore, open_store

TABLE = "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL)"
WHO: ContextVar[str] = ContextVar("WHO", default="nobody")


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteStore]:
    # Bounds far away; tests of one bound bring it near.
    monkeypatch.setattr(limits, "HELD_WAIT_SECONDS_MAX", 60.0)
    monkeypatch.setattr(limits, "HELD_SECONDS_MAX", 60.0)
    monkeypatch.setattr(limits, "WRITE_QUEUE_SECONDS_MAX", 60.0)
    monkeypatch.setattr(limits, "HELD_PAUSE_TIMES", 0)
    opened = open_store(tmp_path / "app.db", ddl=[TABLE])
    yield opened
    await opened.close()


async def insert(tx: Tx, row_id: str) -> None:
    await tx.execute("INSERT INTO t VALUES (?)", (row_id,))
    tx.publish(row_id)


async def ids(store: SqliteStore) -> list[str]:
    return [row[0] for row in await store.read("SELECT id FROM t ORDER BY rowid")]


class Holding:
    """A held unit that writes, waits for `go`, and writes again."""

    def __init__(self, store: SqliteStore, name: str) -> None:
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self._name = name
        self.task = asyncio.create_task(store.hold(self._unit))

    async def _unit(self, tx: Tx) -> str:
        await insert(tx, f"{self._name} 1")
        self.began.set()
        await self.go.wait()
        await insert(tx, f"{self._name} 2")
        return self._name


async def test_it_waits_and_everybody_else_waits_for_it(store: SqliteStore) -> None:
    heard: list[object] = []
    store.on_commit(heard.extend)
    holding = Holding(store, "held")
    await holding.began.wait()
    other = asyncio.create_task(store.write(lambda tx: insert(tx, "other")))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not other.done()
    assert await ids(store) == [], "reads see the latest commit meanwhile"
    holding.go.set()
    assert await holding.task == "held"
    await other
    assert heard == await ids(store) == ["held 1", "held 2", "other"]
    assert store.seq == 3


async def test_one_at_a_time(store: SqliteStore) -> None:
    first, second = Holding(store, "first"), Holding(store, "second")
    await first.began.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not second.began.is_set()
    first.go.set()
    await second.began.wait()
    second.go.set()
    assert [await first.task, await second.task] == ["first", "second"]
    assert await ids(store) == ["first 1", "first 2", "second 1", "second 2"]


async def sleeps(tx: Tx) -> None:
    await insert(tx, "a")
    await asyncio.Event().wait()


async def sleeps_often(tx: Tx) -> None:
    await insert(tx, "a")
    for _ in range(10**9):
        await asyncio.sleep(0.001)


async def holds_on(tx: Tx) -> None:
    await insert(tx, "a")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def returns_all_the_same(tx: Tx) -> str:
    await insert(tx, "a")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await insert(tx, "b")
    return "done"


async def waits_within_a_timeout_of_its_own(tx: Tx) -> None:
    await insert(tx, "a")
    async with asyncio.timeout(3600):
        await asyncio.Event().wait()


@pytest.mark.parametrize("bound", ["HELD_WAIT_SECONDS_MAX", "HELD_SECONDS_MAX"])
@pytest.mark.parametrize(
    "unit",
    [sleeps, sleeps_often, holds_on, returns_all_the_same, waits_within_a_timeout_of_its_own],
)
async def test_beyond_a_bound_nothing_of_it_is_kept(
    store: SqliteStore,
    monkeypatch: pytest.MonkeyPatch,
    unit: Callable[[Tx], Awaitable[object]],
    bound: str,
) -> None:
    if unit is sleeps_often and bound == "HELD_WAIT_SECONDS_MAX":
        pytest.skip("its waits are short")
    monkeypatch.setattr(limits, bound, 0.02)
    with pytest.raises(PylonError) as failure:
        await store.hold(unit)
    error = failure.value
    assert (error.status, error.code) == (503, "HELD_TOO_LONG")
    assert error.extra == {"retry_after_secs": 1}
    assert await ids(store) == []
    await store.write(lambda tx: insert(tx, "next"))
    assert (await ids(store), store.seq) == (["next"], 1)


@pytest.mark.parametrize("unit", [sleeps, holds_on, returns_all_the_same])
async def test_it_is_undone_when_its_caller_goes(
    store: SqliteStore, unit: Callable[[Tx], Awaitable[object]]
) -> None:
    began = asyncio.Event()

    async def told(tx: Tx) -> object:
        began.set()
        return await unit(tx)

    holding = asyncio.create_task(store.hold(told))
    await began.wait()
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    await store.write(lambda tx: insert(tx, "next"))
    assert await ids(store) == ["next"]


async def test_a_caller_that_goes_before_its_turn_leaves_nothing(store: SqliteStore) -> None:
    first, second = Holding(store, "first"), Holding(store, "second")
    await first.began.wait()
    second.task.cancel()
    await asyncio.gather(second.task, return_exceptions=True)
    first.go.set()
    await first.task
    await store.write(lambda tx: insert(tx, "next"))
    assert not second.began.is_set()
    assert await ids(store) == ["first 1", "first 2", "next"]


@pytest.mark.parametrize("turns", range(6))
async def test_a_caller_that_goes_in_any_turn(store: SqliteStore, turns: int) -> None:
    async def unit(tx: Tx) -> None:
        await insert(tx, "a")
        await asyncio.sleep(0)
        await insert(tx, "b")

    holding = asyncio.create_task(store.hold(unit))
    for _ in range(turns):
        await asyncio.sleep(0)
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    await store.write(lambda tx: insert(tx, "next"))
    assert await ids(store) in (["next"], ["a", "b", "next"])


async def test_its_failure_is_its_callers_alone(store: SqliteStore) -> None:
    async def broken(tx: Tx) -> None:
        await insert(tx, "a")
        await asyncio.sleep(0)
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        await store.hold(broken)
    await store.write(lambda tx: insert(tx, "next"))
    assert await ids(store) == ["next"]


async def test_it_runs_in_the_context_of_its_caller(store: SqliteStore) -> None:
    WHO.set("ann")

    async def unit(tx: Tx) -> str:
        await asyncio.sleep(0)
        return WHO.get()

    assert await store.hold(unit) == "ann"


async def test_one_that_computes_for_too_long_is_ended(store: SqliteStore) -> None:
    async def spins(tx: Tx) -> None:
        await insert(tx, "a")
        await asyncio.sleep(0)
        while True:
            pass

    with pytest.raises(PylonError) as failure:
        await store.hold(spins, compute_seconds=0.02)
    assert failure.value.code == "FN_TIMEOUT"
    await store.write(lambda tx: insert(tx, "next"))
    assert await ids(store) == ["next"]


async def test_the_others_have_four_times_as_long(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that held for long keeps the next from its turn; ordinary writes go on."""
    monkeypatch.setattr(limits, "HELD_PAUSE_TIMES", 10**9)
    first = Holding(store, "first")
    await first.began.wait()
    await asyncio.sleep(0.001)
    first.go.set()
    await first.task
    with pytest.raises(PylonError) as refused:
        await store.hold(sleeps)
    assert (refused.value.status, refused.value.code) == (503, "OVERLOADED")
    assert refused.value.extra["retry_after_secs"] > 60
    await store.write(lambda tx: insert(tx, "next"))


async def test_one_that_has_to_wait_for_its_time_gets_it(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HELD_PAUSE_TIMES", 4)
    for name in ("a", "b"):
        holding = Holding(store, name)
        await holding.began.wait()
        await asyncio.sleep(0.005)
        holding.go.set()
        await holding.task
    assert len(await ids(store)) == 4


async def test_a_store_that_closes_lets_it_end_and_refuses_those_behind(tmp_path: Path) -> None:
    store = open_store(tmp_path / "b.db", ddl=[TABLE])
    first, second = Holding(store, "first"), Holding(store, "second")
    await first.began.wait()
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    with pytest.raises(PylonError) as refused:
        await second.task
    assert refused.value.code == "SHUTTING_DOWN"
    first.go.set()
    assert await first.task == "first"
    await closing
    again = open_store(tmp_path / "b.db")
    assert await ids(again) == ["first 1", "first 2"]
    await again.close()
