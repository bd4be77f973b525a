"""Pairing codes: good once, for five minutes, and only while whoever asked is signed in."""

from __future__ import annotations

import pytest

from pylon import limits
from pylon.auth.pairing import Pairing
from pylon.auth.sessions import Sessions
from pylon.clock import ManualClock
from pylon.store.sqlite.store import SqliteStore


@pytest.fixture
def pairing(store: SqliteStore, clock: ManualClock, sessions: Sessions) -> Pairing:
    return Pairing(store, clock, sessions)


async def kept(store: SqliteStore) -> int:
    return len(await store.read("SELECT 1 FROM _pylon_pairings"))


async def test_a_code_makes_one_session_of_the_same_user(
    pairing: Pairing, sessions: Sessions, store: SqliteStore
) -> None:
    token, session = await sessions.create_guest()
    code, _ = await pairing.offer(session.session_id)
    made = await pairing.redeem(code, device="Firefox on Linux")
    assert made is not None
    assert made[1] == session.user_id
    assert made[0] != token
    identity = await sessions.resolve(made[0])
    assert identity is not None
    assert identity.user_id == session.user_id
    assert identity.session_id != session.session_id, "each device can be signed out alone"
    assert await pairing.redeem(code) is None
    assert await kept(store) == 0


async def test_a_code_is_not_good_after_five_minutes(
    pairing: Pairing, sessions: Sessions, clock: ManualClock, store: SqliteStore
) -> None:
    _, session = await sessions.create("u1")
    code, until = await pairing.offer(session.session_id)
    assert until == int(clock.now()) + limits.PAIRING_SECONDS
    clock.advance(limits.PAIRING_SECONDS)
    assert await pairing.redeem(code) is None
    await pairing.offer(session.session_id)
    await pairing.purge()
    assert await kept(store) == 1, "what is good stays"
    clock.advance(limits.PAIRING_SECONDS)
    await pairing.purge()
    assert await kept(store) == 0


async def test_a_newer_code_takes_the_place_of_the_older(
    pairing: Pairing, sessions: Sessions, store: SqliteStore
) -> None:
    _, session = await sessions.create("u1")
    first, _ = await pairing.offer(session.session_id)
    second, _ = await pairing.offer(session.session_id)
    assert await kept(store) == 1
    assert await pairing.redeem(first) is None
    assert await pairing.redeem(second) is not None


async def test_signing_out_takes_the_code_along(pairing: Pairing, sessions: Sessions) -> None:
    token, session = await sessions.create("u1")
    code, _ = await pairing.offer(session.session_id)
    await sessions.revoke(token)
    assert await pairing.redeem(code) is None


async def test_a_refreshed_session_keeps_its_code_and_an_upgraded_one_gives_its_new_user(
    pairing: Pairing, sessions: Sessions
) -> None:
    token, session = await sessions.create_guest()
    code, _ = await pairing.offer(session.session_id)
    refreshed = await sessions.refresh(token)
    assert refreshed is not None
    await sessions.upgrade(refreshed[0], "u1")
    made = await pairing.redeem(code)
    assert made is not None
    assert made[1] == "u1"


async def test_the_code_itself_is_not_stored(
    pairing: Pairing, sessions: Sessions, store: SqliteStore
) -> None:
    _, session = await sessions.create("u1")
    code, _ = await pairing.offer(session.session_id)
    stored = repr(await store.read("SELECT * FROM _pylon_pairings"))
    assert code not in stored


@pytest.mark.parametrize("code", ["", "x", "\udcff", "a" * 60_000])
async def test_any_other_text_is_no_code(pairing: Pairing, code: str) -> None:
    assert await pairing.redeem(code) is None
