"""An app with searched entities for tests: a real store, its tables and indexes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw

from pylon.changes.log import LOG_TABLES, ChangeLog
from pylon.clock import ManualClock
from pylon.data.aggregate import Aggregates
from pylon.data.door import ReadDoor
from pylon.data.graph import Graphs
from pylon.data.query import Queries
from pylon.data.rows import Rows
from pylon.data.search import Found, Searches
from pylon.hooks import Hooks
from pylon.identity import ADMIN, Identity
from pylon.policy.engine import PolicyEngine
from pylon.schema.model import Manifest
from pylon.store.sqlite.search_indexes import SqliteSearchIndexes
from pylon.store.sqlite.store import open_store
from tests.schema.samples import a_field, an_app, an_entity, parsed
from tests.store.sqlite.fresh import fresh_schema

Json = dict[str, Any]


def column(name: str, kind: str = "string", **keys: Any) -> Json:
    return a_field(name, kind, optional=True, **keys)


def a_plain(name: str) -> Json:
    """An entity that is not searchable."""
    return an_entity(name, column("title"), column("cost", private=True), crdt=False)


PRODUCT: Json = an_entity(
    "Product",
    column("name"),
    column("body", "richtext"),
    column("brand"),
    column("stock", "bool"),
    column("size", "int"),
    column("price", "float"),
    column("ownerId"),
    column("cost", private=True),
    search={
        "text": ["name", "body"],
        "facets": ["brand", "stock", "size", "price"],
        "sortable": ["price", "name"],
    },
    crdt=False,
)

NOTE: Json = an_entity(
    "Note",
    column("rank"),
    column("text"),
    column("secret", private=True),
    search={"text": ["rank", "text"]},
    crdt=False,
)


def manifest_of(*entities: Json, policies: Mapping[str, str] | None = None) -> Manifest:
    """A manifest of these entities; `policies` are read rules by entity."""
    rules = policies or {}
    policies_wire = [
        {"name": f"{entity}_read", "entity": entity, "allowRead": rule}
        for entity, rule in rules.items()
    ]
    return parsed(an_app(*entities, policies=policies_wire))


class World:
    """The rows of an app and its searches."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.searches = Searches(ReadDoor(rows))
        self.queries = Queries(ReadDoor(rows))
        self.graphs = Graphs(ReadDoor(rows))
        self.aggregates = Aggregates(ReadDoor(rows))

    async def add(self, entity: str = "Product", **data: Any) -> str:
        row_id: str = (await self.rows.insert(ADMIN, entity, data))["id"]
        return row_id

    async def search(self, body: Any, *, by: Identity = ADMIN, entity: str = "Product") -> Found:
        return await self.searches.find(by, entity, body)

    async def names(self, query: str, *, by: Identity = ADMIN, **more: Any) -> list[Any]:
        """The names of the rows that a text finds, in order."""
        found = await self.search({"query": query, **more}, by=by)
        return [row["name"] for row in found.rows]

    async def is_whole(self, entity: str = "Product") -> bool:
        """Whether the index holds exactly the rows that there are."""
        return (await self.difference(entity)) == []

    async def difference(self, entity: str) -> list[Any]:
        rows = {row[0] for row in await self.rows.store.read(f'SELECT id FROM "{entity}"')}
        table = f'"_pylon_search.{entity}.ids"'
        listed = await self.rows.store.read(f"SELECT row_id, docid FROM {table}")
        found: dict[str, int] = dict(listed)
        sizes = await self.rows.store.read(f'SELECT id FROM "_pylon_search.{entity}.text_docsize"')
        docs = {docid for (docid,) in sizes}
        return sorted(rows ^ set(found)) + sorted(docs ^ set(found.values()))


@asynccontextmanager
async def searching(
    manifest: Manifest,
    path: Path | None = None,
    *,
    open_by_default: bool = True,
    hooks: Hooks | None = None,
) -> AsyncIterator[World]:
    """The app on a database of its own, its indexes ensured as they are at start."""
    indexes = SqliteSearchIndexes()

    def prepare(connection: apsw.Connection) -> None:
        has = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'Product'").fetchall()
        for statement in () if has else fresh_schema(manifest):
            connection.execute(statement)
        indexes.ensure(connection, manifest)

    store = open_store(path, tables={"changes": LOG_TABLES}, prepare=prepare)
    store.writer.later.learn(indexes.later(manifest))
    clock = ManualClock()
    log = ChangeLog(store, clock, {})
    await log.start("")
    rows = Rows(
        store=store,
        log=log,
        manifest=manifest,
        policies=PolicyEngine(manifest, open_by_default=open_by_default, read=store.read),
        hooks=hooks or Hooks(),
        clock=clock,
    )
    try:
        yield World(rows)
    finally:
        await store.close()
