"""Sessions over a real database: what holds, what ends, what survives."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pylon import limits
from pylon.auth.model import Claims
from pylon.auth.sessions import AUTH_TABLES, Sessions, successor_token
from pylon.changes.facts import ClaimsChanged, Fact
from pylon.changes.feed import Feed
from pylon.clock import ManualClock
from pylon.errors import PylonError
from pylon.identity import ADMIN, ANONYMOUS
from pylon.ids import new_session_token, token_hash
from pylon.store.base import Row, Store, Tx, Unit, Value
from pylon.store.sqlite.store import SqliteStore, open_store
from tests.auth.processes import changes_of, ends_of, sessions_on
from tests.passing import PassingStore


async def test_a_new_session_is_found_at_once_and_from_the_table(
    store: SqliteStore, sessions: Sessions, clock: ManualClock
) -> None:
    token, session = await sessions.create("u1", tenant_id="org9", device="Chrome on Linux")
    assert session.expires_at == int(clock.now()) + limits.SESSION_SECONDS
    cached = sessions.cached(token)
    assert cached is not None
    assert (cached.user_id, cached.tenant_id, cached.is_guest) == ("u1", "org9", False)
    elsewhere = sessions_on(store, clock)
    assert elsewhere.cached(token) is None
    assert await elsewhere.resolve(token) == cached
    assert elsewhere.cached(token) == cached


async def test_a_revoked_session_is_nobody_at_once_although_its_header_was_known(
    sessions: Sessions,
) -> None:
    token, _ = await sessions.create("u1")
    header = b"Bearer " + token.encode()
    for _ in range(2):
        known = sessions.cached_bearer(header)
        assert known is not None
        assert known.user_id == "u1"
    for other in (header[7:], b"bearer " + header[7:], header + b"0", header[:-1], b"Basic x"):
        assert sessions.cached_bearer(other) is None
    assert await sessions.revoke(token)
    assert sessions.cached_bearer(header) is None


@pytest.mark.parametrize(
    "token",
    ["", "x", "pylon_", "pylon_" + "0" * 64, "Pylon_" + "0" * 64, "pylon_" + "\udcff" * 64],
)
async def test_an_unknown_token_is_nobody_and_is_not_remembered(
    sessions: Sessions, token: str
) -> None:
    assert sessions.cached(token) is None
    assert await sessions.resolve(token) is None
    assert len(sessions._cache) == 0


async def test_a_guest_is_told_apart_from_a_user(sessions: Sessions) -> None:
    token, session = await sessions.create_guest()
    assert session.user_id.startswith("guest_")
    assert len(session.user_id) == len("guest_") + 32
    identity = await sessions.resolve(token)
    assert identity is not None
    assert identity.is_guest
    assert identity.user_id == session.user_id


async def test_expiry_is_checked_on_each_use(
    store: SqliteStore, sessions: Sessions, clock: ManualClock
) -> None:
    token, _ = await sessions.create("u1")
    clock.advance(limits.SESSION_SECONDS - 1)
    assert sessions.cached(token) is not None
    clock.advance(1)
    assert sessions.cached(token) is None
    assert await sessions.resolve(token) is None
    assert await sessions_on(store, clock).resolve(token) is None
    assert await sessions.list_for_user("u1") == []
    assert await sessions.refresh(token) is None


async def test_sessions_and_their_end_survive_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "app.db"
    store = open_store(path, tables={"auth": AUTH_TABLES})
    sessions = sessions_on(store, clock)
    kept, _ = await sessions.create("u1", tenant_id="t1")
    ended, _ = await sessions.create("u1")
    assert await sessions.revoke(ended)
    await store.close()

    store = open_store(path, tables={"auth": AUTH_TABLES})
    sessions = sessions_on(store, clock)
    identity = await sessions.resolve(kept)
    assert identity is not None
    assert (identity.user_id, identity.tenant_id) == ("u1", "t1")
    assert await sessions.resolve(ended) is None
    await store.close()


def every_byte(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_no_token_is_in_the_files(tmp_path: Path, clock: ManualClock) -> None:
    store = open_store(tmp_path / "app.db", tables={"auth": AUTH_TABLES})
    sessions = sessions_on(store, clock)
    first, _ = await sessions.create("u1")
    refreshed = await sessions.refresh(first)
    assert refreshed is not None
    tokens = [first, refreshed[0], (await sessions.create_guest())[0]]
    live = every_byte(tmp_path)
    await store.close()
    closed = every_byte(tmp_path)
    for token in tokens:
        secret = token.removeprefix("pylon_")
        for content in (live, closed):
            assert secret.encode() not in content
            assert secret[2:].encode() not in content
            assert bytes.fromhex(secret) not in content
    assert token_hash(first) in closed


async def test_revoke_ends_one_session_only(store: SqliteStore, sessions: Sessions) -> None:
    ended = ends_of(store)
    token, session = await sessions.create("u1")
    other, _ = await sessions.create("u1")
    assert await sessions.revoke(token)
    assert ended == [session.session_id]
    assert sessions.cached(token) is None
    assert await sessions.resolve(token) is None
    assert await sessions.resolve(other) is not None
    assert not await sessions.revoke(token)
    assert ended == [session.session_id]


@pytest.mark.parametrize("at_once", [1, 2, 500])
async def test_revoke_all_counts_live_sessions(
    store: SqliteStore,
    sessions: Sessions,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    at_once: int,
) -> None:
    monkeypatch.setattr(limits, "SESSIONS_SWEPT_MAX", at_once)
    ended = ends_of(store)
    await sessions.create("u1")
    clock.advance(limits.SESSION_SECONDS)
    tokens = [(await sessions.create("u1"))[0] for _ in range(3)]
    stranger, _ = await sessions.create("u2")
    assert await sessions.refresh(tokens[0]) is not None
    assert await sessions.revoke_all("u1") == 3
    assert len(set(ended)) == 4
    assert [await sessions.resolve(token) for token in tokens] == [None] * 3
    assert await sessions.resolve(stranger) is not None
    assert await sessions.revoke_all("u1") == 0


async def test_many_sessions_are_ended_a_few_at_a_time(
    store: SqliteStore, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the caller leaves after the first of them."""
    monkeypatch.setattr(limits, "SESSIONS_SWEPT_MAX", 2)
    for _ in range(7):
        await sessions.create("u1")
    before = store.writer.units
    assert await sessions.revoke_all("u1") == 7
    assert store.writer.units - before == 4
    for _ in range(5):
        await sessions.create("u1")
    ended = ends_of(store)
    leaving = asyncio.create_task(sessions.revoke_all("u1"))
    await asyncio.sleep(0)
    leaving.cancel()
    async with asyncio.timeout(60):
        while len(ended) < 5:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert leaving.cancelled()


async def test_a_session_is_ended_by_id_by_its_user_only(sessions: Sessions) -> None:
    token, session = await sessions.create("u1")
    assert not await sessions.revoke_by_id(session.session_id, user_id="u2")
    assert not await sessions.revoke_by_id(b"", user_id="u1")
    assert await sessions.resolve(token) is not None
    assert await sessions.revoke_by_id(session.session_id, user_id="u1")
    assert await sessions.resolve(token) is None


async def test_refresh_keeps_who_it_is_and_gives_a_grace(
    sessions: Sessions, clock: ManualClock
) -> None:
    old, first = await sessions.create("u1", tenant_id="t1", device="Firefox")
    clock.advance(1000)
    refreshed = await sessions.refresh(old)
    assert refreshed is not None
    new, session = refreshed
    assert new != old
    assert len(new) == len(old) == 70
    assert session.session_id == first.session_id
    assert (session.user_id, session.tenant_id, session.device) == ("u1", "t1", "Firefox")
    assert session.created_at == int(clock.now())
    assert session.expires_at == int(clock.now()) + limits.SESSION_SECONDS
    assert await sessions.resolve(old) == await sessions.resolve(new)
    assert [each.token_hash for each in await sessions.list_for_user("u1")] == [token_hash(new)]
    clock.advance(limits.SESSION_GRACE_SECONDS)
    assert await sessions.resolve(old) is None
    assert await sessions.refresh(old) is None
    assert await sessions.resolve(new) is not None


async def test_concurrent_refreshes_agree(store: SqliteStore, clock: ManualClock) -> None:
    tabs = [sessions_on(store, clock) for _ in range(3)]
    token, _ = await tabs[0].create("u1")
    answers = await asyncio.gather(*(tab.refresh(token) for tab in tabs for _ in range(3)))
    assert None not in answers
    assert len({answer[0] for answer in answers if answer}) == 1
    later = await sessions_on(store, clock).refresh(token)
    assert later == answers[0]


async def test_a_successor_takes_the_token_and_the_salt() -> None:
    token, salt = new_session_token(), token_hash("salt")
    assert successor_token(token, salt) == successor_token(token, salt)
    assert successor_token(token, salt) != successor_token(token, token_hash("other"))
    assert successor_token(token, salt) != successor_token(new_session_token(), salt)


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_logout_ends_every_token_of_a_refreshed_session(
    store: SqliteStore, sessions: Sessions, which: int
) -> None:
    ended = ends_of(store)
    first, session = await sessions.create("u1")
    tokens = [first]
    for _ in range(2):
        refreshed = await sessions.refresh(tokens[-1])
        assert refreshed is not None
        tokens.append(refreshed[0])
    for token in tokens:
        assert await sessions.resolve(token) is not None
    assert await sessions.revoke(tokens[which])
    assert [await sessions.resolve(token) for token in tokens] == [None] * 3
    assert ended == [session.session_id]
    assert await sessions.refresh(first) is None


async def test_upgrade_and_tenant_change_in_place_and_are_told(
    store: SqliteStore, sessions: Sessions, clock: ManualClock
) -> None:
    changed = changes_of(store)
    old, session = await sessions.create_guest()
    refreshed = await sessions.refresh(old)
    assert refreshed is not None
    token = refreshed[0]
    await sessions.resolve(old)
    upgraded = await sessions.upgrade(token, "u1")
    assert upgraded is not None
    assert (upgraded.user_id, upgraded.session_id) == ("u1", session.session_id)
    assert await sessions.set_tenant(old, "org9") is not None
    assert [(each.user_id, each.tenant_id) for each in changed] == [("u1", None), ("u1", "org9")]
    for place in (sessions, sessions_on(store, clock)):
        for each in (old, token):
            identity = await place.resolve(each)
            assert identity is not None
            assert (identity.user_id, identity.tenant_id) == ("u1", "org9")
            assert not identity.is_guest
    left = await sessions.set_tenant(token, None)
    assert left is not None
    assert left.tenant_id is None
    assert await sessions.upgrade("pylon_" + "0" * 64, "u1") is None


async def test_purge_deletes_what_is_over(
    store: SqliteStore, sessions: Sessions, clock: ManualClock
) -> None:
    ended = ends_of(store)
    over = [(await sessions.create("u1"))[1].session_id for _ in range(3)]
    clock.advance(limits.SESSION_SECONDS - 10)
    kept, _ = await sessions.create("u1")
    refreshed = await sessions.refresh(kept)
    assert refreshed is not None
    assert await sessions.purge_expired() == 0
    clock.advance(10)
    assert await sessions.purge_expired() == 3
    assert sorted(ended) == sorted(over)
    clock.advance(limits.SESSION_GRACE_SECONDS)
    assert await sessions.purge_expired() == 0
    assert len(ended) == 3, "a replaced token that goes does not end its session"
    assert await store.read("SELECT count(*) FROM _pylon_sessions") == [(1,)]
    assert await sessions.resolve(refreshed[0]) is not None


async def test_purge_works_in_batches(
    sessions: Sessions, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SESSIONS_SWEPT_MAX", 2)
    await asyncio.gather(*(sessions.create("u1") for _ in range(5)))
    clock.advance(limits.SESSION_SECONDS)
    assert await sessions.purge_expired() == 5


async def test_last_use_is_saved_coarsely(sessions: Sessions, clock: ManualClock) -> None:
    token, session = await sessions.create("u1")
    clock.advance(limits.SESSION_SEEN_SECONDS - 1)
    assert sessions.cached(token)
    await sessions.save_last_seen()
    assert (await sessions.list_for_user("u1"))[0].last_seen_at == session.last_seen_at
    clock.advance(1)
    assert sessions.cached(token)
    await sessions.save_last_seen()
    assert (await sessions.list_for_user("u1"))[0].last_seen_at == int(clock.now())


async def test_the_list_is_newest_first_and_bounded(
    sessions: Sessions, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SESSIONS_LISTED_MAX", 2)
    made = []
    for _ in range(3):
        made.append((await sessions.create("u1"))[1])
        clock.advance(1)
    assert await sessions.list_for_user("u1") == [made[2], made[1]]


async def test_memory_is_bounded_and_the_table_fills_in(
    store: SqliteStore, clock: ManualClock
) -> None:
    sessions = sessions_on(store, clock, cached_max=2)
    tokens = [(await sessions.create(f"u{n}"))[0] for n in range(4)]
    assert len(sessions._cache) == 2
    for n, token in enumerate(tokens):
        identity = await sessions.resolve(token)
        assert identity is not None
        assert identity.user_id == f"u{n}"
    assert len(sessions._cache) == 2


class Between(PassingStore):
    """A store whose reads and writes can be held up or refused."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.read_done: asyncio.Event | None = None
        self.read_may_return = asyncio.Event()
        self.refusal: PylonError | None = None

    async def read(
        self,
        sql: str,
        params: Sequence[Value] = (),
        *,
        heavy: bool = False,
        seconds: float | None = None,
        bytes_max: int | None = None,
    ) -> list[Row]:
        rows = await self.inner.read(sql, params, heavy=heavy, seconds=seconds, bytes_max=bytes_max)
        if self.read_done is not None and not self.read_done.is_set():
            self.read_done.set()
            await self.read_may_return.wait()
        return rows

    async def write(
        self, unit: Unit[Any], *, alone: bool = False, compute_seconds: float | None = None
    ) -> Any:
        if self.refusal is not None:
            raise self.refusal
        return await self.inner.write(unit, alone=alone, compute_seconds=compute_seconds)


async def test_a_slow_read_does_not_bring_a_revoked_session_back(
    store: SqliteStore, clock: ManualClock
) -> None:
    between = Between(store)
    sessions = sessions_on(between, clock)
    token, _ = await sessions_on(store, clock).create("u1")
    between.read_done = asyncio.Event()
    reading = asyncio.create_task(sessions.resolve(token))
    await between.read_done.wait()
    assert await sessions.revoke(token)
    between.read_may_return.set()
    assert await reading is None
    assert sessions.cached(token) is None


async def test_a_revocation_that_is_not_stored_fails_and_changes_nothing(
    store: SqliteStore, clock: ManualClock
) -> None:
    between = Between(store)
    sessions = sessions_on(between, clock)
    ended = ends_of(store)
    token, _ = await sessions.create("u1")
    between.refusal = PylonError(507, "STORAGE_FULL", "The disk is full.")
    for attempt in (sessions.revoke(token), sessions.revoke_all("u1")):
        with pytest.raises(PylonError, match="disk is full"):
            await attempt
    assert ended == []
    assert sessions.cached(token) is not None
    between.refusal = None
    assert await sessions.revoke(token)


async def test_a_caller_that_leaves_does_not_stop_a_revocation_half_way(
    store: SqliteStore, sessions: Sessions
) -> None:
    token, session = await sessions.create("u1")
    ended = ends_of(store)
    leaving = asyncio.create_task(sessions.revoke(token))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    async with asyncio.timeout(60):
        while not ended:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert ended == [session.session_id]
    assert sessions.cached(token) is None
    assert await sessions.resolve(token) is None


def hold(gate: threading.Event) -> None:
    assert gate.wait(20)


async def test_who_signs_in_while_all_of_that_user_are_ended_is_not_remembered(
    store: SqliteStore, sessions: Sessions
) -> None:
    """Both units are in one commit, and the sign-in's caller hears of it last."""
    gate = threading.Event()
    loop = asyncio.get_running_loop()
    store.writer._committer._orders.put((lambda _: hold(gate), None, loop, lambda _: None))
    before = asyncio.create_task(sessions.create("u2"))  # its commit waits at the gate
    await asyncio.sleep(0.01)
    both = asyncio.gather(sessions.create("u1"), sessions.revoke_all("u1"))
    await asyncio.sleep(0.01)
    assert store.writer.waiting == 2
    gate.set()
    await before
    (token, _), ended = await both
    assert ended == 1
    assert sessions.cached(token) is None


async def test_another_process_on_the_same_store_forgets_what_one_ends(
    store: SqliteStore, sessions: Sessions, clock: ManualClock
) -> None:
    other = sessions_on(store, clock)
    tokens = [(await sessions.create("u1"))[0] for _ in range(3)]
    refreshed = await sessions.refresh(tokens[2])
    assert refreshed is not None
    for token in tokens:
        assert await other.resolve(token) is not None
    mark = other.ended.mark
    session_id = token_hash(tokens[0])
    assert await sessions.revoke(tokens[0])
    assert await sessions.set_tenant(tokens[1], "org9") is not None
    clock.advance(limits.SESSION_GRACE_SECONDS)
    assert other.cached(tokens[0]) is None
    assert other.cached(tokens[1]) is None
    assert other.cached(tokens[2]) is None
    assert other.ended.since(session_id, mark) == "ended"
    assert other.ended.since(token_hash(tokens[1]), mark) == "ended"
    assert other.ended.since(token_hash(tokens[2]), mark) == "open"


async def test_changed_claims_are_looked_up_anew(store: SqliteStore, clock: ManualClock) -> None:
    roles = ["reader"]

    async def claims(_: str) -> Claims:
        return Claims(roles=tuple(roles))

    sessions = sessions_on(store, clock, claims=claims)
    token, _ = await sessions.create("u1")
    for told in ("reader", "writer"):
        roles[:] = [told]
        await store.write(_tell(ClaimsChanged(user_id="u1")))
        found = await sessions.resolve(token)
        assert found is not None
        assert found.roles == (told,)


def _tell(fact: Fact) -> Unit[None]:
    async def unit(tx: Tx) -> None:
        tx.tell(fact)

    return unit


async def test_after_a_gap_nothing_is_remembered(store: SqliteStore, clock: ManualClock) -> None:
    sessions = Sessions(store, clock)
    feed = Feed(store)
    feed.subscribe("sessions", sessions.hear, Sessions.HEARS)
    token, session = await sessions.create("u1")
    mark = sessions.ended.mark
    feed.gap(store.seq)
    assert sessions.cached(token) is None
    assert sessions.ended.since(session.session_id, mark) == "unknown"
    assert sessions.ended.since(session.session_id, sessions.ended.mark) == "open"
    assert await sessions.resolve(token) is not None


async def test_a_read_from_before_a_gap_is_not_believed(
    store: SqliteStore, clock: ManualClock
) -> None:
    between = Between(store)
    sessions, feed = Sessions(between, clock), Feed(store)
    token, _ = await Sessions(store, clock).create("u1")
    between.read_done = asyncio.Event()
    reading = asyncio.create_task(sessions.resolve(token))
    await between.read_done.wait()
    assert await Sessions(store, clock).revoke(token)
    feed.subscribe("sessions", sessions.hear, Sessions.HEARS)
    feed.gap(store.seq)
    between.read_may_return.set()
    assert await reading is None


async def test_of_callers_those_are_named_whose_session_is_over_or_means_another(
    sessions: Sessions, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SESSIONS_ASKED_AT_ONCE", 2)
    tokens = [(await sessions.create(f"u{n}", tenant_id="org1"))[0] for n in range(6)]
    callers = [await sessions.resolve(token) for token in tokens]
    known = [caller for caller in callers if caller is not None]
    assert await sessions.over_among([ANONYMOUS, ADMIN, *known]) == []
    await sessions.revoke(tokens[0])
    await sessions.upgrade(tokens[1], "another")
    await sessions.set_tenant(tokens[2], None)
    await sessions.refresh(tokens[3])
    over = await sessions.over_among([ANONYMOUS, ADMIN, *known])
    assert over == known[:3]
    clock.advance(limits.SESSION_SECONDS)
    assert len(await sessions.over_among(known)) == 6
