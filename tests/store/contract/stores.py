"""The stores that the suite runs over. A new one is a line in `STORES`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pylon.schema.model import EntitySpec
from pylon.store.base import Store, Tx, Unit
from pylon.store.sqlite.search_indexes import statements
from pylon.store.sqlite.store import open_store
from pylon.store.sqlite.tables import create_table
from pylon.testing.memory_store import MemoryStore

TABLE = "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, n BIGINT)"


@dataclass(frozen=True, slots=True)
class Kind:
    """How a store is opened (in a folder, with tables), and how an entity's tables are made."""

    open: Callable[[Path, Iterable[str]], Store]
    tables: Callable[[EntitySpec], Iterable[str]]


def sqlite_tables(entity: EntitySpec) -> Iterator[str]:
    yield create_table(entity)
    yield from statements(entity)


STORES = {
    "sqlite": Kind(lambda folder, ddl: open_store(folder / "app.db", ddl=ddl), sqlite_tables),
    "volatile": Kind(lambda folder, ddl: open_store(None, ddl=ddl), sqlite_tables),
    "memory": Kind(lambda folder, ddl: MemoryStore(ddl), sqlite_tables),
}


def put(row_id: str, n: int = 0) -> Unit[int]:
    """A unit that adds a row and publishes it; its position."""

    async def unit(tx: Tx) -> int:
        seq = tx.next_seq
        await tx.execute("INSERT INTO t (id, n) VALUES (?, ?)", (row_id, n))
        tx.publish(row_id)
        return seq

    return unit


async def ids(store: Store) -> list[str]:
    """The ids of all rows, in order."""
    return [row[0] for row in await store.read("SELECT id FROM t ORDER BY id")]
