"""An app with rows for tests of the read doors: a real store, and tables made here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pylon.changes.log import LOG_TABLES, ChangeLog
from pylon.clock import ManualClock
from pylon.data.rows import Rows
from pylon.hooks import Hooks
from pylon.moments import moment_column
from pylon.policy.engine import PolicyEngine
from pylon.schema.model import Manifest
from pylon.store.base import Tx
from pylon.store.naming import quote
from pylon.store.sqlite.store import open_store
from pylon.store.tables import time_fields

TYPES = {"int": "INTEGER", "bool": "INTEGER", "float": "REAL"}


@asynccontextmanager
async def reading(
    manifest: Manifest,
    stored: Mapping[str, Iterable[Mapping[str, Any]]],
    *,
    indexed: Iterable[tuple[str, str]] = (),
    open_by_default: bool = True,
) -> AsyncIterator[Rows]:
    """The rows of an app, put straight into its tables; `indexed` is (entity, field)s."""
    store = open_store(None, tables={"changes": LOG_TABLES})
    clock = ManualClock()
    rows = Rows(
        store=store,
        log=ChangeLog(store, clock, {}),
        manifest=manifest,
        policies=PolicyEngine(manifest, open_by_default=open_by_default, read=store.read),
        hooks=Hooks(),
        clock=clock,
    )

    async def fill(tx: Tx) -> None:
        for entity in manifest.entities:
            columns = ["id TEXT PRIMARY KEY NOT NULL"]
            columns += [f"{quote(f.name)} {TYPES.get(f.kind, 'TEXT')}" for f in entity.fields]
            columns += [f"{quote(moment_column(name))} TEXT" for name in time_fields(entity)]
            await tx.execute(f"CREATE TABLE {quote(entity.name)} ({', '.join(columns)})")
            for row in stored.get(entity.name, ()):
                values = {name: row.get(name) for name in ("id", *entity.fields_by_name)}
                table = rows.table(entity.name)
                await tx.execute(table.insert, tuple(table.written(values).values()))
        for name, field in indexed:
            await tx.execute(
                f"CREATE INDEX {quote(f'{name}_{field}')} ON {quote(name)} ({quote(field)})"
            )

    try:
        await store.write(fill)
        yield rows
    finally:
        await store.close()
