"""Rows that are indexed at the end of their transaction: found as if they had been at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.errors import PylonError
from pylon.identity import ADMIN, Identity
from pylon.store.base import Tx
from pylon.store.sqlite.functions import add_functions
from pylon.store.sqlite.index_later import IndexLater
from tests.data.searching import PRODUCT, World, manifest_of, searching
from tests.policy.worlds import effort

OWNER = "data.ownerId == auth.userId"
MANIFEST = manifest_of(PRODUCT, policies={"Product": OWNER})
FOUND = 'SELECT count(*) FROM "_pylon_search.Product.text"(?)'


class Undone(Exception):
    """Ends a unit or a part of one."""


async def put(tx: Tx, row_id: str, name: str | None = "all", owner: str = "ann") -> None:
    sql = 'INSERT INTO "Product" (id, name, "ownerId") VALUES (?, ?, ?)'
    await tx.execute(sql, (row_id, name, owner))


async def found(world: World, text: str = "all") -> int:
    return int((await world.rows.store.read(FOUND, [text]))[0][0])


def later_of(world: World) -> IndexLater:
    store: Any = world.rows.store
    later: IndexLater = store.writer.later
    return later


async def words_of(world: World) -> list[Any]:
    """Every word with the rows that have it."""
    return await world.rows.store.read(
        'SELECT p.term, p.col, p.offset, i.row_id FROM "_pylon_search.Product.places" p'
        ' JOIN "_pylon_search.Product.ids" i ON i.docid = p.doc ORDER BY 1, 2, 3, 4'
    )


async def test_rows_wait_and_are_indexed_with_the_commit() -> None:
    waited: list[bool] = []

    async def unit(tx: Tx) -> None:
        for number in range(3):
            await put(tx, f"r{number}")
            waited.append(later.is_waiting)

    async with searching(MANIFEST) as world:
        later = later_of(world)
        await world.rows.store.write(unit)
        # The first of a transaction may be the only one.
        assert waited == [False, True, True]
        assert not later.is_waiting
        assert await found(world) == 3
        assert await world.is_whole()


async def test_a_unit_finds_what_it_has_written() -> None:
    async def unit(tx: Tx) -> list[int]:
        counts = []
        for number in range(4):
            await put(tx, f"r{number}")
            counts.append(int((await tx.fetch(FOUND, ["all"]))[0][0]))
        return counts

    async with searching(MANIFEST) as world:
        assert await world.rows.store.write(unit) == [1, 2, 3, 4]
        assert await world.is_whole()


async def test_what_is_undone_is_not_indexed_and_its_number_is_another_ones() -> None:
    async def unit(tx: Tx) -> None:
        await put(tx, "first")
        try:
            async with tx.savepoint():
                await put(tx, "undone", "gone")
                raise Undone
        except Undone:
            pass
        await put(tx, "kept", "all " + "x" * limits.WRITE_TEXT_SHORT_MAX)  # at once
        await put(tx, "deleted", "gone")
        await tx.execute("DELETE FROM \"Product\" WHERE id = 'deleted'")
        await put(tx, "last")
        await tx.execute("UPDATE \"Product\" SET id = 'renamed' WHERE id = 'last'")

    async with searching(MANIFEST) as world:
        await world.rows.store.write(unit)
        assert (await found(world, "all"), await found(world, "gone")) == (3, 0)
        assert await world.is_whole()
        rows = await world.search({"query": "all"}, by=Identity(user_id="ann"))
        assert {row["id"] for row in rows.rows} == {"first", "kept", "renamed"}


async def test_rows_that_were_indexed_in_a_part_that_is_undone_wait_once_more() -> None:
    async def unit(tx: Tx) -> None:
        await put(tx, "first")
        await put(tx, "waits")
        with suppress(Undone):
            async with tx.savepoint():
                assert (await tx.fetch(FOUND, ["all"]))[0][0] == 2
                raise Undone

    async with searching(MANIFEST) as world:
        await world.rows.store.write(unit)
        assert await found(world) == 2
        assert await world.is_whole()


async def test_a_unit_that_fails_leaves_nothing_behind() -> None:
    async def fails(tx: Tx) -> None:
        await put(tx, "a")
        await put(tx, "b", "gone")
        raise Undone

    async def works(tx: Tx) -> None:
        await put(tx, "c")

    async with searching(MANIFEST) as world:
        with pytest.raises(Undone):
            await world.rows.store.write(fails)
        results = await asyncio.gather(
            *[world.rows.store.write(each) for each in (fails, works, fails)],
            return_exceptions=True,
        )
        assert [type(each) for each in results] == [Undone, type(None), Undone]
        assert (await found(world, "all"), await found(world, "gone")) == (1, 0)
        assert await world.is_whole()


async def test_what_is_beyond_the_bound_is_indexed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEARCH_LATER_BYTES_MAX", 40)
    waited: list[int] = []

    async def unit(tx: Tx) -> None:
        for number in range(20):
            await put(tx, f"r{number}")
            waited.append(sum(map(len, later._waiting.values())))

    async with searching(MANIFEST) as world:
        later = later_of(world)
        await world.rows.store.write(unit)
        assert max(waited) == 40 // len("allann")
        assert await found(world) == 20


async def test_an_index_that_is_damaged_fails_the_write_and_nothing_is_kept() -> None:
    async def unit(tx: Tx) -> None:
        for number in range(3):
            await put(tx, f"r{number}")

    async with searching(MANIFEST) as world:
        later = later_of(world)
        later.learn({"Product": "INSERT INTO missing SELECT value FROM json_each(?)"})
        with pytest.raises(PylonError) as told:
            await world.rows.store.write(unit)
        assert told.value.code == "TX_COMMIT_FAILED"
        assert await world.rows.list(ADMIN, "Product", limit=9, offset=0) == []
        later.learn({})
        await world.rows.store.write(unit)
        assert await found(world) == 3


def test_a_connection_of_nobody_indexes_at_once(tmp_path: Path) -> None:
    async def make() -> None:
        async with searching(MANIFEST, tmp_path / "app.db"):
            pass

    asyncio.run(make())
    connection = apsw.Connection(str(tmp_path / "app.db"))
    add_functions(connection)
    with connection:
        for number in range(3):
            connection.execute("INSERT INTO Product (id, name) VALUES (?, 'all')", (f"r{number}",))
        assert connection.execute(FOUND, ("all",)).fetchall() == [(3,)]
    connection.close()


NAMES = st.sampled_from(("red", "blue shoe", "Straße", "天気", "", None, "x" * 5_000))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ("put", "put", "rename", "owner", "name", "delete", "undo", "look", "move")
        ),
        st.integers(0, 5),
        NAMES,
    ),
    max_size=25,
)


@effort(40)
@given(units=st.lists(STEPS, min_size=1, max_size=3))
def test_the_index_is_what_it_would_be_if_it_were_made_now(units: list[Any]) -> None:
    async def run() -> None:
        async with searching(MANIFEST) as world:
            for steps in units:
                await world.rows.store.write(lambda tx, steps=steps: take(tx, steps))  # type: ignore[misc]
                assert await world.is_whole()
            kept = await words_of(world)
            rows = await world.rows.store.read('SELECT id, name, "ownerId" FROM "Product"')
        async with searching(MANIFEST) as anew:
            for row_id, name, owner in rows:
                await anew.rows.store.write(lambda tx: put(tx, row_id, name, owner))  # noqa: B023
            assert kept == await words_of(anew)

    asyncio.run(run())


async def take(tx: Tx, steps: list[Any], depth: int = 0) -> None:
    for place, (kind, number, name) in enumerate(steps):
        row_id = f"r{number}"
        if kind == "put":
            await tx.execute('DELETE FROM "Product" WHERE id = ?', (row_id,))
            await put(tx, row_id, name, f"user{number % 2}")
        elif kind in ("rename", "move"):
            await tx.execute(
                'UPDATE OR IGNORE "Product" SET id = ? WHERE id = ?', (f"r{number + 1}", row_id)
            )
        elif kind == "owner":
            await tx.execute('UPDATE "Product" SET "ownerId" = ? WHERE id = ?', ("cy", row_id))
        elif kind == "name":
            await tx.execute('UPDATE "Product" SET name = ? WHERE id = ?', (name, row_id))
        elif kind == "delete":
            await tx.execute('DELETE FROM "Product" WHERE id = ?', (row_id,))
        elif kind == "look":
            await tx.fetch(FOUND, ["red"])
        elif depth < 2:
            try:
                async with tx.savepoint():
                    await take(tx, steps[place + 1 :], depth + 1)
                    raise Undone
            except Undone:
                pass
