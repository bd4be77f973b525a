"""A small app in memory for tests of the data core: real store, log, policies and hub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pylon.changes.log import LOG_TABLES, ChangeLog
from pylon.clock import ManualClock
from pylon.codec import encode
from pylon.data.rows import Rows
from pylon.hooks import Hooks
from pylon.policy.engine import PolicyEngine
from pylon.schema.model import Manifest
from pylon.schema.parse import parse_manifest
from pylon.store.base import Store
from pylon.store.sqlite.store import SqliteStore, open_store
from pylon.sync.audience import Audiences
from pylon.sync.epochs import Epochs
from pylon.sync.hub import Hub
from pylon.sync.positions import Positions
from pylon.sync.pull import Puller
from pylon.sync.pulls import Pulls
from pylon.sync.push import Push
from pylon.sync.temporary import SYNC_TABLES, Temporary
from pylon.sync.whereabouts import Here
from tests.slow import SlowStore
from tests.store.sqlite.fresh import fresh_schema


def field(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "optional": True, "unique": False, **more}


NOTES = {
    "manifest_version": 1,
    "name": "world",
    "version": "1",
    "routes": [],
    "entities": [
        {
            "name": "Note",
            "fields": [
                field("text", "string"),
                field("ownerId", "string"),
                field("orgId", "string"),
                field("public", "bool"),
                field("secret", "string", private=True),
            ],
            "indexes": [],
        },
        {"name": "Open", "fields": [field("n", "int"), field("shown", "bool")], "indexes": []},
        {
            "name": "Room",
            "fields": [field("teamId", "string"), field("text", "string"), field("n", "int")],
            "indexes": [],
        },
        {
            "name": "Member",
            "fields": [field("teamId", "string"), field("userId", "string"), field("n", "int")],
            "indexes": [],
        },
    ],
    "policies": [
        {
            "name": "notes",
            "entity": "Note",
            "allow": "auth.userId == data.ownerId || data.public || auth.tenantId == data.orgId",
        },
        {"name": "open", "entity": "Open", "allowRead": "data.shown == true", "allowWrite": "true"},
        {
            "name": "rooms",
            "entity": "Room",
            "allowRead": "exists(Member, teamId == data.teamId && userId == auth.userId && n != 1)",
        },
        {
            "name": "members",
            "entity": "Member",
            "allowRead": "!exists(Member, teamId == data.teamId && userId == auth.userId && n == 2)"
            " || data.userId == auth.userId",
        },
    ],
}


@dataclass
class World:
    """The parts of the app."""

    store: SqliteStore
    network: SlowStore
    """What the parts read through, where the world is slow."""
    clock: ManualClock
    log: ChangeLog
    rows: Rows
    puller: Puller
    hub: Hub
    temporary: Temporary
    push: Push
    pulls: Pulls


@asynccontextmanager
async def world(
    app: Manifest | dict[str, Any] = NOTES, *, slow: bool = False
) -> AsyncIterator[World]:
    """Open an app, given as such or as its JSON, on a volatile database, or as if `slow` network
    were between."""
    manifest: Manifest | None = app if isinstance(app, Manifest) else None
    if manifest is None:
        manifest, problems = parse_manifest(encode(app))
        assert manifest is not None, problems
    clock = ManualClock()
    tables = {"changes": LOG_TABLES, "sync": SYNC_TABLES}
    opened = open_store(None, tables=tables, ddl=fresh_schema(manifest))
    network = SlowStore(opened)
    store: Store = network if slow else opened
    policies = PolicyEngine(manifest, open_by_default=True, read=store.read)
    reads = {spec.name: policies.entity(spec.name).read for spec in manifest.entities}
    watched = {name: tuple(rule.fields) for name, rule in reads.items()}
    log = ChangeLog(store, clock, watched, policies.watches)
    await log.start("rules")
    rows = Rows(
        store=store, log=log, manifest=manifest, policies=policies, hooks=Hooks(), clock=clock
    )
    temporary = Temporary(store, clock)
    puller = Puller(store, log, manifest, policies, temporary)
    private = {name: rows.table(name).private for name in reads}
    audiences = Audiences(policies, reads)
    hub = Hub(audiences, puller, private)
    epochs = Epochs(store, audiences, clock)
    hub.start(store.seq)
    store.on_commit(hub.publish)
    try:
        yield World(
            store=opened,
            network=network,
            clock=clock,
            log=log,
            rows=rows,
            puller=puller,
            hub=hub,
            temporary=temporary,
            push=Push(rows, temporary),
            pulls=Pulls(puller, Here(Positions(clock)), epochs, log),
        )
    finally:
        hub.close_all()
        await store.close()
