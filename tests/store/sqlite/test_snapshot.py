"""Snapshots of the SQLite store: one moment, in bounded chunks, and given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import pytest

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import Tx
from pylon.store.sqlite.snapshot import SqliteSnapshot
from pylon.store.sqlite.store import SqliteStore, open_store

DDL = ("CREATE TABLE T (id INTEGER PRIMARY KEY, body TEXT)",)
ALL = "SELECT id, body FROM T ORDER BY id"


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    opened = open_store(None, ddl=DDL)
    yield opened
    await opened.close()


async def fill(store: SqliteStore, count: int, body: str = "x") -> None:
    async def unit(tx: Tx) -> None:
        for _ in range(count):
            await tx.execute("INSERT INTO T (body) VALUES (?)", (body,))
        tx.publish(None)

    await store.write(unit)


async def sizes(snapshot: SqliteSnapshot) -> list[int]:
    return [len(chunk) async for chunk in snapshot.rows(ALL)]


async def test_it_sees_one_moment(store: SqliteStore) -> None:
    await fill(store, 3 * limits.SNAPSHOT_CHUNK_ROWS)
    async with aclosing(await store.snapshot()) as snapshot:
        assert snapshot.seq == store.seq
        ids: list[int] = []
        async for chunk in snapshot.rows(ALL):
            ids += [row[0] for row in chunk]
            await fill(store, 10)
        assert ids == list(range(1, 3 * limits.SNAPSHOT_CHUNK_ROWS + 1))
        assert snapshot.seq < store.seq
        assert len(await sizes(snapshot)) == 3  # a second query sees the same


async def test_chunks_are_bounded_in_rows(store: SqliteStore) -> None:
    rows = limits.SNAPSHOT_CHUNK_ROWS
    await fill(store, 4 * rows + 7)
    async with aclosing(await store.snapshot()) as snapshot:
        assert await sizes(snapshot) == [rows] * 4 + [7]
        assert [chunk async for chunk in snapshot.rows("SELECT 1 WHERE 0")] == []


async def test_chunks_are_bounded_in_bytes(store: SqliteStore) -> None:
    await fill(store, 20, "x" * (limits.SNAPSHOT_CHUNK_BYTES // 2))
    async with aclosing(await store.snapshot()) as snapshot:
        assert await sizes(snapshot) == [2] * 10


async def test_rows_are_fetched_when_they_are_asked_for(store: SqliteStore) -> None:
    await fill(store, 5 * limits.SNAPSHOT_CHUNK_ROWS)
    async with aclosing(await store.snapshot()) as snapshot:
        seen: list[int] = []
        connection = snapshot._connection
        assert connection is not None

        def note(*numbers: Any) -> None:
            seen.extend(numbers)

        connection.create_scalar_function("note", note)
        counts: list[int] = []
        async for _ in snapshot.rows("SELECT note(id) FROM T"):
            await asyncio.sleep(0)
            counts.append(len(seen))
    steps = [after - before for before, after in pairwise([0, *counts])]
    assert all(step <= limits.SNAPSHOT_CHUNK_ROWS + 1 for step in steps)


async def test_only_so_many_at_once(store: SqliteStore) -> None:
    opened = await asyncio.gather(*[store.snapshot() for _ in range(limits.SNAPSHOTS_MAX)])
    with pytest.raises(PylonError) as refused:
        await store.snapshot()
    assert (refused.value.status, refused.value.code) == (503, "OVERLOADED")
    for snapshot in opened:
        await snapshot.aclose()
        await snapshot.aclose()
    await (await store.snapshot()).aclose()


async def test_one_that_is_open_for_too_long_ends(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, 3 * limits.SNAPSHOT_CHUNK_ROWS)
    monkeypatch.setattr(limits, "SNAPSHOT_SECONDS_MAX", 0.0)
    with pytest.raises(PylonError) as ended:
        await sizes(await store.snapshot())
    assert ended.value.code == "QUERY_TIMEOUT"
    monkeypatch.undo()
    await asyncio.sleep(0.01)  # the loop gets round to timers that are due
    for _ in range(limits.SNAPSHOTS_MAX):
        await store.snapshot()


async def test_the_store_closes_what_is_open() -> None:
    store = open_store(None, ddl=DDL)
    await fill(store, 10)
    snapshot = await store.snapshot()
    await store.close()
    with pytest.raises(PylonError):
        await sizes(snapshot)


async def test_a_query_that_fails_is_translated(store: SqliteStore) -> None:
    async with aclosing(await store.snapshot()) as snapshot:
        with pytest.raises(PylonError) as failed:
            await anext(snapshot.rows("SELECT * FROM nowhere"))
        assert failed.value.code == "QUERY_FAILED"
