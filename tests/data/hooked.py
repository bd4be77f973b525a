"""An app with hooks for tests of them: a real store with its tables, the outbox among them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pylon import App
from pylon.changes.log import LOG_DDL, ChangeLog
from pylon.clock import Clock, ManualClock
from pylon.crdt.documents import CRDT_DDL, Documents
from pylon.data.outbox import OUTBOX_DDL
from pylon.data.rows import Rows
from pylon.policy.engine import PolicyEngine
from pylon.store.sqlite.store import open_store
from pylon.store.sqlite.tables import fresh_schema


@asynccontextmanager
async def serving(app: App, *, clock: Clock | None = None) -> AsyncIterator[Rows]:
    """The rows of an app on a volatile database, open where no policy says otherwise."""
    manifest = app.manifest()
    clock = clock or ManualClock()
    ddl = (*LOG_DDL, *CRDT_DDL, *OUTBOX_DDL, *fresh_schema(manifest))
    store = open_store(None, ddl=ddl)
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
