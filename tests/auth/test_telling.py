"""Hooks of sessions, told by a real store's feed: what, in which order, and what a fault costs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from pylon import limits
from pylon.auth.sessions import Sessions
from pylon.auth.telling import SessionTeller
from pylon.changes.feed import Feed
from pylon.clock import ManualClock
from pylon.hooks import SessionEvent, SessionHook
from pylon.store.sqlite.store import SqliteStore

Told = list[tuple[str, str, str | None]]


def short(event: SessionEvent) -> tuple[str, str, str | None]:
    return event.kind, "guest" if event.is_guest else event.user_id, event.tenant_id


def teller_on(store: SqliteStore, hooks: Sequence[SessionHook]) -> SessionTeller:
    teller = SessionTeller(hooks)
    Feed(store).subscribe("teller", teller.hear, teller.HEARS)
    return teller


@asynccontextmanager
async def telling(store: SqliteStore, *hooks: SessionHook) -> AsyncIterator[SessionTeller]:
    """A teller at work; at the end it is stopped and has told everything."""
    teller = teller_on(store, hooks)
    stopping = asyncio.Event()
    running = asyncio.create_task(teller.run(stopping))
    try:
        yield teller
    finally:
        stopping.set()
        await asyncio.wait_for(running, 30)


async def test_what_becomes_of_sessions_is_told_in_order(
    store: SqliteStore, sessions: Sessions, clock: ManualClock
) -> None:
    told: Told = []
    ids: set[bytes] = set()

    async def hook(event: SessionEvent) -> None:
        await asyncio.sleep(0)
        told.append(short(event))
        ids.add(event.session_id)

    async with telling(store, hook):
        token, session = await sessions.create_guest()
        await sessions.upgrade(token, "ann")
        await sessions.set_tenant(token, "org")
        refreshed = await sessions.refresh(token)
        assert refreshed is not None
        await sessions.revoke(refreshed[0])
    assert told == [
        ("started", "guest", None),
        ("changed", "ann", None),
        ("changed", "ann", "org"),
        ("ended", "ann", "org"),
    ]
    assert ids == {session.session_id}


async def test_every_way_to_end_is_told(
    store: SqliteStore, sessions: Sessions, clock: ManualClock
) -> None:
    told: Told = []

    async def hook(event: SessionEvent) -> None:
        told.append(short(event))

    for _ in range(2):
        await sessions.create("ann", tenant_id="org")
    _, one = await sessions.create("bob")
    await sessions.create("cleo")
    async with telling(store, hook):
        await sessions.revoke_all("ann")
        await sessions.revoke_by_id(one.session_id, user_id="bob")
        clock.advance(limits.SESSION_SECONDS + 1)
        await sessions.end_expired()
    assert told == [
        ("ended", "ann", "org"),
        ("ended", "ann", "org"),
        ("ended", "bob", None),
        ("ended", "cleo", None),
    ]


async def test_a_hook_that_fails_is_logged_and_costs_the_others_nothing(
    store: SqliteStore,
    sessions: Sessions,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SESSION_HOOK_SECONDS_MAX", 0.05)
    told: Told = []

    async def fails(event: SessionEvent) -> None:
        if event.user_id == "ann":
            raise ValueError(event.user_id)
        await asyncio.sleep(60)

    async def hears(event: SessionEvent) -> None:
        told.append(short(event))

    with caplog.at_level(logging.ERROR, "pylon.hooks"):
        async with telling(store, fails, hears) as teller:
            await sessions.create("ann")
            await sessions.create("bob")
    assert told == [("started", "ann", None), ("started", "bob", None)]
    assert (teller.failures, teller.lost, teller.waiting) == (2, 0, 0)
    assert len(caplog.records) == 2


async def test_what_waits_is_bounded(
    store: SqliteStore,
    sessions: Sessions,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SESSION_HOOK_EVENTS_MAX", 2)
    teller = teller_on(store, [])
    with caplog.at_level(logging.ERROR, "pylon.hooks"):
        for _ in range(5):
            await sessions.create("ann")
    assert (teller.waiting, teller.lost) == (2, 3)
    assert len(caplog.records) == 1


async def test_a_session_that_was_not_committed_is_not_told(
    store: SqliteStore, sessions: Sessions
) -> None:
    teller = teller_on(store, [])
    assert await sessions.upgrade("pylon_" + "0" * 64, "ann") is None
    assert not await sessions.revoke("pylon_" + "0" * 64)
    assert teller.waiting == 0
