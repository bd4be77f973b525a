"""A small app in memory for tests of the data core: real store, log, policies and hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pylon.auth.sessions import AUTH_TABLES, Sessions
from pylon.changes.facts import OldestRaised
from pylon.changes.feed import Feed, Message
from pylon.changes.log import LOG_TABLES, ChangeLog
from pylon.clock import ManualClock
from pylon.codec import encode
from pylon.data.rows import Rows
from pylon.hooks import Hooks
from pylon.live.budget import Budget
from pylon.live.slow import SlowReaders
from pylon.policy.engine import PolicyEngine
from pylon.schema.model import Manifest
from pylon.schema.parse import parse_manifest
from pylon.store.base import Store, Tx
from pylon.store.sqlite.store import SqliteStore, open_store
from pylon.sync.audience import Audiences
from pylon.sync.hub import Hub
from pylon.sync.positions import Positions
from pylon.sync.pull import Puller
from pylon.sync.pulls import Pulls
from pylon.sync.push import Push
from pylon.sync.reader_epochs import ReaderEpochs
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
    """The parts of the app, as one process has them."""

    manifest: Manifest
    store: SqliteStore
    network: SlowStore
    """What the parts read through, where the world is slow."""
    clock: ManualClock
    feed: Feed
    sessions: Sessions
    log: ChangeLog
    rows: Rows
    puller: Puller
    hub: Hub
    slow: SlowReaders
    temporary: Temporary
    push: Push
    pulls: Pulls

    async def settle(self) -> None:
        """Wait until all that is committed has been written to readers."""
        while not self.hub._lane.is_idle or len(self.hub._tasks):  # noqa: ASYNC110
            await asyncio.sleep(0.0005)

    async def tell(self, *facts: Message) -> None:
        """Commit facts."""

        async def unit(tx: Tx) -> None:
            for fact in facts:
                tx.tell(fact)

        await self.store.write(unit)

    async def close(self) -> None:
        await self.hub.close()
        await self.sessions.close()
        self.slow.close()


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
    tables = {"changes": LOG_TABLES, "sync": SYNC_TABLES, "auth": AUTH_TABLES}
    store = open_store(None, tables=tables, ddl=fresh_schema(manifest))
    network = SlowStore(store)
    opened = await process(manifest, store, ManualClock(), network if slow else None)
    opened.network = network
    try:
        yield opened
    finally:
        await opened.close()
        await store.close()


async def process(
    manifest: Manifest,
    store: SqliteStore,
    clock: ManualClock,
    heard_from: Store | None = None,
) -> World:
    """The parts of one process on a store; `heard_from` is what it reads and hears, if not that."""
    heard_from = heard_from or store
    policies = PolicyEngine(manifest, open_by_default=True, read=heard_from.read)
    reads = {spec.name: policies.entity(spec.name).read for spec in manifest.entities}
    watched = {name: tuple(rule.fields) for name, rule in reads.items()}
    feed = Feed(heard_from)
    log = ChangeLog(heard_from, clock, watched, policies.watches)
    await log.start("rules")
    rows = Rows(
        store=heard_from, log=log, manifest=manifest, policies=policies, hooks=Hooks(), clock=clock
    )
    sessions = Sessions(heard_from, clock)
    temporary = Temporary(heard_from, clock)
    puller = Puller(heard_from, log, manifest, policies, temporary)
    private = {name: rows.table(name).private for name in reads}
    audiences = Audiences(policies, reads)
    slow = SlowReaders()
    hub = Hub(
        audiences,
        puller,
        private,
        budget=Budget(),
        slow=slow,
        ask_sessions=sessions.over_among,
    )
    epochs = ReaderEpochs(heard_from, audiences, clock)

    async def publish(fact: Message) -> int:
        async def unit(tx: Tx) -> int:
            seq = tx.next_seq
            tx.publish(fact)
            return seq

        return await heard_from.write(unit)

    whereabouts = Here(Positions(clock, floor=heard_from.seq), publish)
    hub.start(heard_from.seq)
    feed.subscribe("sessions", sessions.hear, sessions.HEARS)
    feed.subscribe("readers", epochs.hear, epochs.HEARS)
    feed.subscribe("oldest position", log.hear, (OldestRaised,))
    feed.subscribe("live readers", hub.hear)
    return World(
        manifest=manifest,
        store=store,
        network=SlowStore(store),
        clock=clock,
        feed=feed,
        sessions=sessions,
        log=log,
        rows=rows,
        puller=puller,
        hub=hub,
        slow=slow,
        temporary=temporary,
        push=Push(rows, temporary),
        pulls=Pulls(puller, whereabouts, epochs, log),
    )
