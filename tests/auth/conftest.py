"""A session store on a database in memory, with a clock that tests move."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pylon.auth.sessions import AUTH_TABLES, Sessions
from pylon.clock import ManualClock
from pylon.store.sqlite.store import SqliteStore, open_store
from tests.auth.processes import sessions_on


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    store = open_store(None, tables={"auth": AUTH_TABLES})
    yield store
    await store.close()


@pytest.fixture
def sessions(store: SqliteStore, clock: ManualClock) -> Sessions:
    return sessions_on(store, clock)
