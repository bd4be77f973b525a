"""Sessions: made, found, refreshed, changed and ended (spec 04 section 6).

They are rows of `_pylon_sessions`, keyed by the hash of their token; a token itself is never
stored. Every change is one unit of the store's writer and durable before its caller goes on, so
a logout that could not be stored is an error and never comes undone at a restart.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from pylon import limits
from pylon.auth.cache import SessionCache
from pylon.auth.model import NO_CLAIMS, Claims, Session
from pylon.clock import Clock
from pylon.identity import Identity
from pylon.ids import new_guest_user_id, new_session_token, token_hash
from pylon.store.base import Row, Store, Tx, Value
from pylon.store.naming import load_queries
from pylon.store.system import load_steps

SQL = load_queries("pylon.auth")

AUTH_TABLES: Final = load_steps("pylon.auth")

T = TypeVar("T")

_TOKEN_PREFIX = "pylon_"
_TOKEN_CHARACTERS = 70


def successor_token(token: str, salt: bytes) -> str:
    """The token that a refresh gives in exchange for `token`.

    Derived, so that two tabs that refresh at once, or a client that never saw the answer, get the
    same one, although no token is stored. It takes both halves: whoever holds the old token lacks
    the salt, which stays in the database until the grace period is over, and whoever reads the
    database lacks the token.
    """
    return _TOKEN_PREFIX + hmac.digest(salt, token.encode(), "sha256").hex()


class Sessions:
    """All sessions of the app. Listeners are called on the loop after the commit and must be
    quick; they close or re-judge the live sockets of a session."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        claims: Callable[[str], Awaitable[Claims]] | None = None,
        cached_max: int = limits.SESSIONS_CACHED_MAX,
    ) -> None:
        """`claims` tells what the app knows of a user; whoever changes that calls `forget_user`."""
        self._store = store
        self._claims = claims
        self._now = clock.now
        self._cache = SessionCache(cached_max)
        self._when_ended: list[Callable[[bytes], None]] = []
        self._when_changed: list[Callable[[Session], None]] = []
        self._changes: set[asyncio.Task[Any]] = set()

    def on_end(self, listener: Callable[[bytes], None]) -> None:
        """Call `listener(session_id)` when a session is revoked or found expired by a sweep.

        `session_id` is that of `Identity.session_id`.
        """
        self._when_ended.append(listener)

    def on_change(self, listener: Callable[[Session], None]) -> None:
        """Call `listener(session)` when a session's user or tenant has changed."""
        self._when_changed.append(listener)

    # --- Finding -----------------------------------------------------------------------------

    def cached(self, token: str) -> Identity | None:
        """The caller with this token if the session is in memory; the hot path of a request.

        None says nothing: ask `resolve`.
        """
        if len(token) != _TOKEN_CHARACTERS:
            return None
        return self._cache.get(token_hash(token), self._now())

    async def resolve(self, token: str) -> Identity | None:
        """The caller with this token, None when it is unknown, ended or expired."""
        if not _is_well_formed(token):
            return None
        key = token_hash(token)
        identity = self._cache.get(key, self._now())
        while identity is None:
            generation = self._cache.generation
            rows = await self._store.read(SQL["find"], (key,))
            if not rows:
                return None
            session = _session(rows[0])
            if session.is_expired(self._now()):
                return None
            claims = NO_CLAIMS
            if self._claims is not None and not session.is_guest:
                claims = await self._claims(session.user_id)
            if generation == self._cache.generation:
                identity = self._cache.put(session, claims)
        return identity

    def forget_user(self, user_id: str) -> None:
        """What the app knows of this user has changed: look anew at the next request."""
        self._cache.drop_user(user_id)

    async def list_for_user(self, user_id: str) -> list[Session]:
        """The user's live sessions, newest first, at most `limits.SESSIONS_LISTED_MAX`."""
        params = (user_id, int(self._now()), limits.SESSIONS_LISTED_MAX)
        return [_session(row) for row in await self._store.read(SQL["list_of_user"], params)]

    # --- Making and changing -----------------------------------------------------------------

    async def create(
        self, user_id: str, *, tenant_id: str | None = None, device: str | None = None
    ) -> tuple[str, Session]:
        """A new session of 30 days for anyone named; whether that user exists is not checked."""
        token = new_session_token()
        key = token_hash(token)
        now = int(self._now())
        session = Session(
            session_id=key,
            token_hash=key,
            token_prefix=token[:8],
            user_id=user_id,
            created_at=now,
            expires_at=now + limits.SESSION_SECONDS,
            last_seen_at=now,
            tenant_id=tenant_id,
            device=device,
        )

        async def add(tx: Tx) -> None:
            await tx.execute(SQL["add"], _params(session))

        await self._store.write(add)
        if self._claims is None:
            self._cache.put(session)
        return token, session

    async def create_guest(self, *, device: str | None = None) -> tuple[str, Session]:
        """A new session of a new guest."""
        return await self.create(new_guest_user_id(), device=device)

    async def refresh(self, token: str) -> tuple[str, Session] | None:
        """A new token and 30 new days for the same sign-in, tenant and device; None without one.

        The old token goes on working for `limits.SESSION_GRACE_SECONDS`, and refreshing it again
        in that time gives the same successor.
        """
        key = token_hash(token)
        salt = token_hash(new_session_token())

        async def replace(tx: Tx) -> tuple[str, Session] | None:
            now = int(self._now())
            old = await _find(tx, key, now)
            if old is None:
                return None
            if old.successor_salt is not None:
                known = successor_token(token, old.successor_salt)
                session = await _find(tx, token_hash(known), now)
                return None if session is None else (known, session)
            successor = successor_token(token, salt)
            session = Session(
                session_id=old.session_id,
                token_hash=token_hash(successor),
                token_prefix=successor[:8],
                user_id=old.user_id,
                created_at=now,
                expires_at=now + limits.SESSION_SECONDS,
                last_seen_at=now,
                tenant_id=old.tenant_id,
                device=old.device,
            )
            await tx.execute(SQL["add"], _params(session))
            until = now + limits.SESSION_GRACE_SECONDS
            await tx.execute(SQL["replace"], (salt, until, until, key))
            return successor, session

        async def change() -> tuple[str, Session] | None:
            result = await self._store.write(replace)
            self._cache.drop(key)
            return result

        return await self._to_its_end(change())

    async def upgrade(self, token: str, user_id: str) -> Session | None:
        """Give the session another user in place (guest to user); None without a session."""
        return await self._change(token, "set_user", user_id)

    async def set_tenant(self, token: str, tenant_id: str | None) -> Session | None:
        """Choose or leave a tenant; membership is the caller's to check. None without a session."""
        return await self._change(token, "set_tenant", tenant_id)

    async def _change(self, token: str, query: str, value: str | None) -> Session | None:
        key = token_hash(token)

        async def update(tx: Tx) -> tuple[Session | None, list[Row]]:
            now = int(self._now())
            found = await _find(tx, key, now)
            if found is None:
                return None, []
            rows = await tx.fetch(SQL[query], (value, found.session_id))
            return await _find(tx, key, now), rows

        async def change() -> Session | None:
            session, rows = await self._store.write(update)
            for (changed,) in rows:
                self._cache.drop(changed)
            if session is not None:
                for listener in self._when_changed:
                    listener(session)
            return session

        return await self._to_its_end(change())

    # --- Ending ------------------------------------------------------------------------------

    async def revoke(self, token: str) -> bool:
        """End the session of this token; False when there was none."""
        return await self._end("end_by_token", (token_hash(token),)) > 0

    async def revoke_by_id(self, session_id: bytes, *, user_id: str) -> bool:
        """End one session of a user, named as in `list_for_user`; False when there is none."""
        return await self._end("end_by_id", (session_id, user_id)) > 0

    async def revoke_all(self, user_id: str) -> int:
        """End every session of a user; how many were live."""
        return await self._end("end_by_user", (user_id,))

    async def purge_expired(self) -> int:
        """Delete what is over and end its sockets; how many sign-ins ended. For a timer."""
        ended = 0
        while True:
            now = int(self._now())
            rows = await self._delete("end_expired", (now, limits.SESSIONS_SWEPT_MAX))
            ended += sum(1 for row in rows if row[2] is None)
            if len(rows) < limits.SESSIONS_SWEPT_MAX:
                return ended

    async def end_expired(self) -> int:
        """`purge_expired` if anything is over; cheap when nothing is. For a timer that keeps
        sockets from outliving their session, whatever the clock has jumped."""
        over = await self._store.read(SQL["is_any_expired"], (int(self._now()),))
        return await self.purge_expired() if over else 0

    async def save_last_seen(self) -> None:
        """Store when sessions were last used, as far as it is not stored yet. For a timer."""
        while seen := self._cache.take_seen(limits.SESSIONS_SWEPT_MAX):

            async def save(tx: Tx, seen: list[tuple[bytes, int]] = seen) -> None:
                for key, at in seen:
                    await tx.execute(SQL["set_last_seen"], (at, key, at))

            await self._store.write(save)

    async def sweep(self) -> None:
        """One round of housekeeping, every `limits.SESSION_SWEEP_SECONDS`."""
        await self.save_last_seen()
        await self.purge_expired()

    async def _end(self, query: str, params: tuple[Value, ...]) -> int:
        now = self._now()
        rows = await self._delete(query, params)
        return sum(1 for _, _, salt, until in rows if salt is None and (not until or until > now))

    async def _delete(self, query: str, params: tuple[Value, ...]) -> list[Row]:
        """Delete tokens, forget them and tell the listeners which sessions are over.

        A replaced token going leaves its session alive, so only the newest one of each counts.
        """

        async def delete(tx: Tx) -> list[Row]:
            return await tx.fetch(SQL[query], params)

        async def end() -> list[Row]:
            rows = await self._store.write(delete)
            for session_id, ended, salt, _ in rows:
                self._cache.drop(ended)
                if salt is None:
                    for listener in self._when_ended:
                        listener(session_id)
            return rows

        return await self._to_its_end(end())

    async def _to_its_end(self, change: Coroutine[Any, Any, T]) -> T:
        """Await a change that also finishes when its caller is cancelled: once the unit is queued
        it will be committed, and memory and sockets must follow."""
        task = asyncio.ensure_future(change)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return await asyncio.shield(task)


def _is_well_formed(token: str) -> bool:
    """Whether it can be a session token at all; others are not worth a read."""
    return len(token) == _TOKEN_CHARACTERS and token.startswith(_TOKEN_PREFIX)


async def _find(tx: Tx, key: bytes, now: int) -> Session | None:
    rows = await tx.fetch(SQL["find"], (key,))
    if not rows:
        return None
    session = _session(rows[0])
    return None if session.is_expired(now) else session


def _session(row: Row) -> Session:
    """The value of a row in the column order of `find`."""
    return Session(
        session_id=row[0],
        token_hash=row[1],
        token_prefix=row[2],
        user_id=row[3],
        created_at=row[4],
        expires_at=row[5],
        last_seen_at=row[6],
        tenant_id=row[7],
        device=row[8],
        successor_salt=row[9],
    )


def _params(session: Session) -> tuple[Value, ...]:
    """What `add` binds."""
    return (
        session.token_hash,
        session.session_id,
        session.token_prefix,
        session.user_id,
        session.created_at,
        session.expires_at,
        session.last_seen_at,
        session.tenant_id,
        session.device,
    )
