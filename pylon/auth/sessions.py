"""Sessions: made, found, refreshed, changed and ended (spec 04 section 6).

They are rows of `_pylon_sessions`, keyed by the hash of their token; a token itself is never
stored. Every change is one unit of the store's writer and durable before its caller goes on, so
a logout that could not be stored is an error and never comes undone at a restart. The unit tells
what became of the session as a fact; memory and sockets follow the fact, in every process.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from pylon import limits
from pylon.auth.cache import SessionCache
from pylon.auth.ended import EndedSessions
from pylon.auth.model import NO_CLAIMS, Claims, Session
from pylon.calls import DIRECT, Call, Calls
from pylon.changes.facts import (
    ClaimsChanged,
    MustPull,
    SessionChanged,
    SessionEnded,
    SessionStarted,
    TokensVoid,
)
from pylon.changes.feed import Gap, Message
from pylon.clock import Clock
from pylon.identity import ANONYMOUS, Identity
from pylon.ids import new_guest_user_id, new_session_token, token_hash
from pylon.store.base import Row, Store, Tx, Unit, Value
from pylon.store.naming import load_queries
from pylon.store.system import load_steps
from pylon.store.upkeep import delete_in_slices, in_slices
from pylon.tasks import Tasks

SQL = load_queries("pylon.auth")

AUTH_TABLES: Final = load_steps("pylon.auth")

T = TypeVar("T")

Seen: TypeAlias = tuple[bytes, int]
"""Hash of a token, and when it was last used (Unix seconds)."""

_BEARER = b"Bearer "
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
    """All sessions of the app."""

    HEARS = (TokensVoid, SessionEnded, SessionChanged, ClaimsChanged)

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        claims: Callable[[str], Awaitable[Claims]] | None = None,
        calls: Calls = DIRECT,
        cached_max: int = limits.SESSIONS_CACHED_MAX,
    ) -> None:
        """`claims` tells what the app knows of a user; who changes that tells `ClaimsChanged`, or
        calls `forget_user` in every process. `calls` is the way to where the database is."""
        self._store = store
        self._calls = calls
        self.seen: Call[list[Seen], None] = Call(
            name="sessions.seen", takes=list[Seen], gives=None, run=self._save_seen
        )
        """Note when sessions were last used, as one process saw it."""
        self._claims = claims
        self._now = clock.now
        self._cache = SessionCache(cached_max)
        self.ended = EndedSessions()
        self._tasks = Tasks()

    def hear(self, messages: Sequence[Message], _: int) -> None:
        """Listen to the feed: drop from memory what is no longer so."""
        for message in messages:
            if isinstance(message, TokensVoid):
                for token in message.tokens:
                    self._cache.drop(token)
            elif isinstance(message, SessionEnded | SessionChanged):
                self.ended.note(message.session_id)
            elif isinstance(message, ClaimsChanged):
                self._cache.drop_user(message.user_id)
            elif isinstance(message, Gap):
                self._cache.clear()
                self.ended.note_gap()

    async def close(self) -> None:
        """End what is under way; a change that is in the writer's queue is committed or not."""
        await self._tasks.stop()

    # --- Finding -----------------------------------------------------------------------------

    def cached(self, token: str) -> Identity | None:
        """The caller with this token if the session is in memory; the hot path of a request.

        None says nothing: ask `resolve`.
        """
        if len(token) != _TOKEN_CHARACTERS:
            return None
        return self._cache.get(token_hash(token), self._now())

    def cached_bearer(self, authorization: bytes) -> Identity | None:
        """The same by the whole header, which is hashed once as long as the session is in memory:
        a get is 1.1 times as fast by this."""
        known = self._cache.get_bearer(authorization, self._now())
        if known is None and authorization.startswith(_BEARER):
            token = authorization[len(_BEARER) :].decode("latin-1")
            known = self.cached(token)
            if known is not None:
                self._cache.note_bearer(authorization, token_hash(token))
        return known

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

    async def over_among(self, callers: Iterable[Identity]) -> list[Identity]:
        """Those of these callers whose session is over or means another caller by now."""
        over: list[Identity] = []
        for number, caller in enumerate(callers, 1):
            if caller.session_id is None:
                continue
            found = await self._store.read(SQL["newest_of_session"], (caller.session_id,))
            user_id, tenant_id, expires_at = found[0] if found else (None, None, 0)
            is_expired = expires_at != 0 and self._now() >= expires_at
            if is_expired or (user_id, tenant_id) != (caller.user_id, caller.tenant_id):
                over.append(caller)
            if number % limits.SESSIONS_ASKED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return over

    async def list_for_user(self, user_id: str) -> list[Session]:
        """The user's live sessions, newest first, at most `limits.SESSIONS_LISTED_MAX`."""
        params = (user_id, int(self._now()), limits.SESSIONS_LISTED_MAX)
        return [_session(row) for row in await self._store.read(SQL["list_of_user"], params)]

    async def kept_of(self, user_id: str) -> list[dict[str, Value]]:
        """What is kept of a user's sign-ins, the oldest first, for the user to read: times in Unix
        seconds, and nothing of tokens."""
        names = ("device", "created_at", "expires_at", "last_seen_at")
        rows = await self._store.read(SQL["kept_of_user"], (user_id,), heavy=True)
        return [dict(zip(names, row, strict=True)) for row in rows]

    # --- Making and changing -----------------------------------------------------------------

    async def create(
        self,
        user_id: str,
        *,
        tenant_id: str | None = None,
        device: str | None = None,
        beside: bytes | None = None,
    ) -> tuple[str, Session]:
        """A new session of 30 days for anyone named; whether that user exists is not checked.

        `beside` is the session of whoever asks for it: its clients are sent to pull, since they may
        go on with the new one, and a socket would go on for the old.
        """
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
            tx.tell(SessionStarted(session_id=key, user_id=user_id, tenant_id=tenant_id))
            if beside is not None:
                tx.tell(MustPull(caller=beside))

        generation = self._cache.generation
        await self._store.write(add)
        # Its user's sessions may have been ended in the same commit.
        if self._claims is None and generation == self._cache.generation:
            self._cache.put(session)
        return token, session

    async def create_guest(
        self, *, device: str | None = None, beside: bytes | None = None
    ) -> tuple[str, Session]:
        """A new session of a new guest."""
        return await self.create(new_guest_user_id(), device=device, beside=beside)

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
            tx.tell(TokensVoid(tokens=(key,)))
            return successor, session

        return await self._written(replace)

    async def upgrade(self, token: str, user_id: str) -> Session | None:
        """Give the session another user in place (guest to user); None without a session."""
        return await self._change(token, "set_user", user_id)

    async def set_tenant(self, token: str, tenant_id: str | None) -> Session | None:
        """Choose or leave a tenant; membership is the caller's to check. None without a session."""
        return await self._change(token, "set_tenant", tenant_id)

    async def _change(self, token: str, query: str, value: str | None) -> Session | None:
        key = token_hash(token)

        async def update(tx: Tx) -> Session | None:
            now = int(self._now())
            found = await _find(tx, key, now)
            if found is None:
                return None
            rows = await tx.fetch(SQL[query], (value, found.session_id))
            tx.tell(TokensVoid(tokens=tuple(changed for (changed,) in rows)))
            session = await _find(tx, key, now)
            if session is not None:
                tx.tell(
                    SessionChanged(
                        session_id=session.session_id,
                        user_id=session.user_id,
                        tenant_id=session.tenant_id,
                    )
                )
            return session

        return await self._written(update)

    # --- Ending ------------------------------------------------------------------------------

    async def revoke(self, token: str) -> bool:
        """End the session of this token; False when there was none."""
        return await self._end("end_by_token", (token_hash(token),)) > 0

    async def revoke_by_id(self, session_id: bytes, *, user_id: str) -> bool:
        """End one session of a user, named as in `list_for_user`; False when there is none."""
        return await self._end("end_by_id", (session_id, user_id)) > 0

    async def revoke_all(self, user_id: str) -> int:
        """End every session of a user; how many were live.

        In units of `limits.SESSIONS_SWEPT_MAX`: a program may have signed in as one user for years.
        """
        return await self._to_its_end(self._end_all(user_id))

    async def _end_all(self, user_id: str) -> int:
        return await self._end_in_slices("end_by_user", user_id, self._live_among)

    async def purge_expired(self) -> int:
        """Delete what is over and end its sockets; how many sign-ins ended. For a timer."""
        return await self._end_in_slices("end_expired", int(self._now()), _newest_among)

    async def end_expired(self) -> int:
        """`purge_expired` if anything is over; cheap when nothing is. For a timer that keeps
        sockets from outliving their session, whatever the clock has jumped."""
        over = await self._store.read(SQL["is_any_expired"], (int(self._now()),))
        return await self.purge_expired() if over else 0

    async def save_last_seen(self) -> None:
        """Have stored when sessions were last used here, as far as it is not yet. For a timer."""
        while seen := self._cache.take_seen(limits.SESSIONS_SWEPT_MAX):
            await self._calls.ask(self.seen, ANONYMOUS, seen)

    async def _save_seen(self, _: Identity, seen: list[Seen]) -> None:
        async def save(tx: Tx) -> None:
            for key, at in seen:
                await tx.execute(SQL["set_last_seen"], (at, key, at))

        await self._store.write(save)

    async def _end(self, query: str, params: tuple[Value, ...]) -> int:
        return self._live_among(await self._delete(query, params))

    def _live_among(self, rows: Sequence[Row]) -> int:
        """How many of these deleted tokens were the newest of a session that was not over."""
        now = self._now()
        return sum(
            1 for _, _, salt, until, *_ in rows if salt is None and (not until or until > now)
        )

    async def _delete(self, query: str, params: tuple[Value, ...]) -> list[Row]:
        """Delete tokens, and tell which are void and which sessions are over.

        A replaced token going leaves its session alive, so only the newest one of each counts.
        """

        async def delete(tx: Tx) -> list[Row]:
            rows = await tx.fetch(SQL[query], params)
            if rows:
                tx.tell(TokensVoid(tokens=tuple(row[1] for row in rows)))
            for session_id, _, salt, _, user_id, tenant_id in rows:
                if salt is None:
                    ended = SessionEnded(
                        session_id=session_id, user_id=user_id, tenant_id=tenant_id
                    )
                    tx.tell(ended)
            return rows

        return await self._written(delete)

    async def _end_in_slices(
        self, query: str, which: Value, count: Callable[[Sequence[Row]], int]
    ) -> int:
        """Delete as many tokens as there may be; how many of them `count`."""
        ended = 0

        async def some(rows: int) -> int:
            nonlocal ended
            deleted = await self._delete(query, (which, rows))
            ended += count(deleted)
            return len(deleted)

        await in_slices(some, rows=limits.SESSIONS_SWEPT_MAX)
        return ended

    async def _written(self, unit: Unit[T]) -> T:
        return await self._to_its_end(self._store.write(unit))

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Work in a task of its own, so that a caller that is cancelled does not take its logout
        out of the queue."""
        task = self._tasks.start("change a session", work, logs=False)
        return await asyncio.shield(task)


async def end_all_in(store: Store) -> None:
    """Delete the sessions of a database that keeps them no longer.

    They can be ended by nobody any more, and would be good again when they are kept there again.
    """

    await delete_in_slices(store, SQL["delete_some"])


def _newest_among(rows: Sequence[Row]) -> int:
    """How many of these deleted tokens were the newest of their session."""
    return sum(1 for _, _, salt, *_ in rows if salt is None)


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
