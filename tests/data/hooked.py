"""An app with hooks for tests of them: a real store with its tables, the outbox among them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pylon import App
from pylon.changes.log import LOG_TABLES, ChangeLog
from pylon.clock import Clock, ManualClock
from pylon.crdt.documents import CRDT_TABLES, Documents
from pylon.data.outbox import OUTBOX_TABLES
from pylon.data.rows import Rows
from pylon.policy.engine import PolicyEngine
from pylon.store.sqlite.store import open_store
from tests.store.sqlite.fresh import fresh_schema


@asynccontextmanager
async def serving(app: App, *, clock: Clock | None = None) -> AsyncIterator[Rows]:
    """The rows of an app on a volatile database, open where no policy says otherwise."""
    manifest = app.manifest()
    clock = clock or ManualClock()
    tables = {"changes": LOG_TABLES, "crdt": CRDT_TABLES, "hooks": OUTBOX_TABLES}
    store = open_store(None, tables=tables, ddl=fresh_schema(manifest))
    log = ChangeLog(store, clock, {})
    await log.start("rules")
    try:
        yield Rows(
            store=store,
            log=log,
            manifest=manifest,
            policies=PolicyEngine(manifest, open_by_default=True, read=store.read),
            hooks=app.hooks,
            clock=clock,
            documents=Documents(clock),
        )
    finally:
        await store.close()
