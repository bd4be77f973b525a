"""Reads, snapshots, and how failures arrive."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import ConstraintFailed, Snapshot, Store, SumTooLarge, Tx, Value
from tests.store.contract.stores import put

ALL = "SELECT id FROM t ORDER BY id"


async def fill(store: Store, *row_ids: str) -> None:
    async def unit(tx: Tx) -> None:
        for row_id in row_ids:
            await put(row_id)(tx)

    await store.write(unit)


async def chunks(snapshot: Snapshot) -> list[list[Any]]:
    return [[row[0] for row in chunk] async for chunk in snapshot.rows(ALL)]


# --- values and reads ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "back"),
    [
        ("TEXT", "Grüße 🚀 'x' \"y\"", "Grüße 🚀 'x' \"y\""),
        ("TEXT", "", ""),
        ("BIGINT", 2**63 - 1, 2**63 - 1),
        ("BIGINT", -(2**63), -(2**63)),
        ("BIGINT", True, 1),
        ("BIGINT", False, 0),
        ("DOUBLE PRECISION", 0.1, 0.1),
        ("DOUBLE PRECISION", 3.0, 3.0),
        ("TEXT", None, None),
    ],
)
async def test_values_come_back_as_they_went(
    store: Store, column: str, value: Value, back: Value
) -> None:
    async def unit(tx: Tx) -> None:
        await tx.execute(f"CREATE TABLE v (x {column})")
        await tx.execute("INSERT INTO v (x) VALUES (?)", (value,))

    await store.write(unit)
    ((found,),) = await store.read("SELECT x FROM v")
    assert (found, type(found)) == (back, type(back))


async def test_heavy_reads_answer_alike(store: Store) -> None:
    await fill(store, "a", "b")
    assert await store.read(ALL, heavy=True) == await store.read(ALL) == [("a",), ("b",)]
    assert await store.read("SELECT id FROM t WHERE id > ?", ("a",), heavy=True) == [("b",)]


async def test_a_read_cannot_write(store: Store) -> None:
    await fill(store, "a")
    for heavy in (False, True):
        with pytest.raises(PylonError):
            await store.read("DELETE FROM t", heavy=heavy)
    assert await store.read(ALL) == [("a",)]
    await fill(store, "b")  # and the store goes on


# --- snapshots -------------------------------------------------------------------------------


async def test_a_snapshot_is_one_moment(store: Store) -> None:
    await fill(store, "a", "b")
    async with aclosing(await store.snapshot()) as snapshot:
        await fill(store, "c")
        assert snapshot.seq == 2
        assert await chunks(snapshot) == [["a", "b"]]
        assert await chunks(snapshot) == [["a", "b"]]
        found = [row async for rows in snapshot.rows(f"{ALL} LIMIT ?", (1,)) for row in rows]
        assert found == [("a",)]
    assert store.seq == 3


async def test_its_chunks_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_CHUNK_ROWS", 2)
    await fill(store, *"abcde")
    async with aclosing(await store.snapshot()) as snapshot:
        assert await chunks(snapshot) == [["a", "b"], ["c", "d"], ["e"]]
        monkeypatch.setattr(limits, "SNAPSHOT_CHUNK_BYTES", 1)
        assert await chunks(snapshot) == [["a"], ["b"], ["c"], ["d"], ["e"]]


async def test_snapshots_are_few(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SNAPSHOTS_MAX", 1)
    first = await store.snapshot()
    with pytest.raises(PylonError) as caught:
        await store.snapshot()
    assert (caught.value.status, caught.value.code) == (503, "OVERLOADED")
    await first.aclose()
    await first.aclose()
    await (await store.snapshot()).aclose()


async def test_one_that_is_closed_or_late_gives_no_rows(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, "a")
    closed = await store.snapshot()
    await closed.aclose()
    monkeypatch.setattr(limits, "SNAPSHOT_SECONDS_MAX", 0.0)
    async with aclosing(await store.snapshot()) as late:
        for snapshot in (closed, late):
            with pytest.raises(PylonError) as caught:
                await chunks(snapshot)
            assert (caught.value.status, caught.value.code) == (503, "QUERY_TIMEOUT")


# --- failures --------------------------------------------------------------------------------


async def test_statements_that_mean_nothing(store: Store) -> None:
    for failing in (
        store.read("SELECT nothing FROM nowhere"),
        store.read("SELECT nothing FROM nowhere", heavy=True),
        store.write(lambda tx: tx.fetch("SELECT nothing FROM nowhere")),
        store.write(lambda tx: tx.execute("UPDATE nowhere SET a = 1")),
    ):
        with pytest.raises(PylonError) as caught:
            await failing
        assert (caught.value.status, caught.value.code) == (500, "QUERY_FAILED")


async def test_rules_of_a_table_say_which_columns_failed(store: Store) -> None:
    async def tables(tx: Tx) -> None:
        await tx.execute("CREATE TABLE u (id TEXT PRIMARY KEY NOT NULL, a TEXT, b TEXT NOT NULL)")
        await tx.execute("CREATE UNIQUE INDEX u_a_b ON u (a, b)")
        await tx.execute("INSERT INTO u (id, a, b) VALUES ('1', 'x', 'y')")

    await store.write(tables)
    for values, kind, columns in (
        (("1", "p", "q"), "UNIQUE", ("u.id",)),
        (("2", "x", "y"), "UNIQUE", ("u.a", "u.b")),
        (("3", "x", None), "NOT NULL", ("u.b",)),
    ):
        with pytest.raises(ConstraintFailed) as caught:
            await store.write(
                lambda tx, values=values: tx.execute(  # type: ignore[misc]
                    "INSERT INTO u (id, a, b) VALUES (?, ?, ?)", values
                )
            )
        assert (caught.value.kind, caught.value.columns) == (kind, columns)


async def test_a_sum_beyond_64_bits_is_told(store: Store) -> None:
    await store.write(put("a", 2**63 - 1))
    await store.write(put("b", 1))
    for heavy in (False, True):
        with pytest.raises(SumTooLarge):
            await store.read("SELECT sum(n) FROM t", heavy=heavy)


async def test_an_answer_is_as_large_as_who_asks_can_do_with(store: Store) -> None:
    two = "SELECT ? UNION ALL SELECT ?"
    texts = ("x" * 600, "y" * 300)
    assert len(await store.read(two, texts, heavy=True, bytes_max=900)) == 2
    with pytest.raises(PylonError) as caught:
        await store.read(two, texts, heavy=True, bytes_max=899)
    assert (caught.value.status, caught.value.code) == (400, "ANSWER_TOO_LARGE")
    # A value that is made beyond it is not made to its end; one row is given whatever its size.
    with pytest.raises(PylonError) as caught:
        await store.read("SELECT string_agg(?, ?)", ("x" * 600, ""), heavy=True, bytes_max=500)
    assert caught.value.code == "ANSWER_TOO_LARGE"
    assert len(await store.read("SELECT ?, ?", texts, heavy=True, bytes_max=700)) == 1
    assert len(await store.read(two, texts, heavy=True)) == 2
