"""A small app with documents, in memory, and people who edit them: each with a replica."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from loro import ExportMode, LoroDoc, LoroText

from pylon.changes.log import LOG_TABLES, ChangeLog
from pylon.changes.model import Change
from pylon.clock import ManualClock
from pylon.codec import encode
from pylon.crdt.documents import CRDT_TABLES, Documents
from pylon.data.rows import Rows
from pylon.hooks import Hooks
from pylon.identity import ADMIN, Identity
from pylon.policy.engine import PolicyEngine
from pylon.schema.parse import parse_manifest
from pylon.store.base import Tx
from pylon.store.sqlite.store import SqliteStore, open_store
from tests.store.sqlite.fresh import fresh_schema


def field(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "optional": True, "unique": False, **more}


ANN = Identity(user_id="ann")
BOB = Identity(user_id="bob")

PAGES: dict[str, Any] = {
    "manifest_version": 1,
    "name": "pages",
    "version": "1",
    "routes": [],
    "entities": [
        {
            "name": "Page",
            "fields": [
                field("title", "string", unique=True),
                field("body", "richtext"),
                field("note", "string", crdt="text"),
                field("n", "int"),
                field("x", "float"),
                field("done", "bool"),
                field("likes", "int", crdt="counter"),
                field("tags", "string", crdt="list"),
                field("steps", "string", crdt="movable-list"),
                field("outline", "string", crdt="tree"),
                field("ownerId", "string"),
                field("secret", "string", private=True),
            ],
            "indexes": [],
        },
        {
            "name": "Plain",
            "fields": [field("text", "string")],
            "indexes": [],
            "crdt": False,
        },
        {
            "name": "Odd",
            "fields": [field("n", "int", crdt="text")],
            "indexes": [],
        },
    ],
    "policies": [
        {
            "name": "pages",
            "entity": "Page",
            "allowRead": "data.ownerId == null || data.ownerId == auth.userId",
            "allowWrite": "data.ownerId == null || data.ownerId == auth.userId",
        },
    ],
}


@dataclass
class Desk:
    """The parts of the app, and what its commits have published."""

    store: SqliteStore
    rows: Rows
    hooks: Hooks
    documents: Documents
    changes: list[Change]

    async def page(self, **data: Any) -> str:
        """A new page; its id."""
        row = await self.rows.insert(ADMIN, "Page", data)
        return str(row["id"])

    async def row(self, row_id: str) -> dict[str, Any]:
        return await self.rows.get(ADMIN, "Page", row_id)

    async def snapshot(self, row_id: str, identity: Identity = ADMIN) -> bytes:
        found = await self.rows.write(identity, lambda tx: tx.snapshot("Page", row_id))
        assert found is not None
        return found[0]

    async def merge(self, row_id: str, update: bytes, identity: Identity = ADMIN) -> dict[str, Any]:
        return await self.rows.write(identity, lambda tx: tx.merge("Page", row_id, update))

    async def replica(self, row_id: str) -> Replica:
        """Somebody's copy of a document, as a subscriber would have it."""
        return Replica(self, row_id, await self.snapshot(row_id))

    async def stored(self, table: str) -> list[tuple[Any, ...]]:
        return await self.store.read(f"SELECT * FROM {table}")


class Replica:
    """One client's document."""

    def __init__(self, desk: Desk, row_id: str, snapshot: bytes) -> None:
        self.desk, self.row_id = desk, row_id
        self.doc = LoroDoc()
        self.doc.import_(snapshot)
        self.sent = self.doc.oplog_vv
        self.heard = len(desk.changes)

    @property
    def row(self) -> dict[str, Any]:
        value = self.doc.get_deep_value()["row"]  # type: ignore[index,call-overload]
        assert isinstance(value, dict)
        return value

    def text(self, name: str = "body") -> LoroText:
        """The text inside `row`."""
        container = self.doc.get_map("row").get(name).container  # type: ignore[union-attr]
        assert isinstance(container, LoroText)
        return container

    def root(self, name: str = "body") -> LoroText:
        """The root text, which the official editor hook edits."""
        return self.doc.get_text(name)

    def take_update(self) -> bytes:
        """What this client did since the last call."""
        self.doc.commit()
        update = self.doc.export(ExportMode.Updates(self.sent))
        self.sent = self.doc.oplog_vv
        return update

    async def push(self, identity: Identity = ADMIN) -> dict[str, Any]:
        return await self.desk.merge(self.row_id, self.take_update(), identity)

    def hear(self, count: int | None = None) -> None:
        """Take the next updates that the server has published."""
        news = self.desk.changes[self.heard :][:count]
        self.heard += len(news)
        for change in news:
            if change.row_id == self.row_id and change.document_update is not None:
                self.doc.import_(change.document_update)
        self.doc.commit()


@asynccontextmanager
async def desk(manifest_json: dict[str, Any] = PAGES) -> AsyncIterator[Desk]:
    """Open the app on a volatile database."""
    manifest, problems = parse_manifest(encode(manifest_json))
    assert manifest is not None, problems
    clock, hooks = ManualClock(), Hooks()
    store = open_store(None, tables={"changes": LOG_TABLES, "crdt": CRDT_TABLES})

    async def fit(tx: Tx) -> None:
        for statement in fresh_schema(manifest):
            await tx.execute(statement)

    await store.write(fit)
    policies = PolicyEngine(manifest, open_by_default=True, read=store.read)
    reads = {spec.name: policies.entity(spec.name).read for spec in manifest.entities}
    log = ChangeLog(store, clock, {name: tuple(rule.fields) for name, rule in reads.items()})
    await log.start("rules")
    documents = Documents(clock)
    rows = Rows(
        store=store,
        log=log,
        manifest=manifest,
        policies=policies,
        hooks=hooks,
        clock=clock,
        documents=documents,
    )
    changes: list[Change] = []
    store.on_commit(lambda news: changes.extend(c for c in news if isinstance(c, Change)))
    try:
        yield Desk(store=store, rows=rows, hooks=hooks, documents=documents, changes=changes)
    finally:
        await store.close()
