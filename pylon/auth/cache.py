"""The sessions in use, in memory, so that a request does not read their table.

A bounded LRU by token hash. Only what is in the table stands here; a token that is unknown is not
remembered, so guessing tokens takes up no memory. Beside the hash of a session stands the header
in which its bearer came last, as long as the session does: it is known by its bytes, without being
hashed again. Called by `sessions.py` alone.
"""

from __future__ import annotations

from collections import OrderedDict

from pylon import limits
from pylon.auth.model import NO_CLAIMS, Claims, Session
from pylon.identity import Identity


class _Entry:
    __slots__ = ("bearer", "expires_at", "identity", "note_at", "token_hash")

    def __init__(self, session: Session, claims: Claims) -> None:
        self.token_hash = session.token_hash
        self.bearer: bytes | None = None
        self.identity = session.to_identity(claims)
        self.expires_at = float(session.expires_at) if session.expires_at else float("inf")
        self.note_at = session.last_seen_at + limits.SESSION_SEEN_SECONDS


class SessionCache:
    """Identities by token hash. `generation` counts the removals: a read that was under way while
    it moved may be stale, and must not be put in."""

    def __init__(self, size_max: int = limits.SESSIONS_CACHED_MAX) -> None:
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._by_user: dict[str, set[bytes]] = {}
        self._by_bearer: dict[bytes, _Entry] = {}
        self._size_max = size_max
        self._seen: dict[bytes, int] = {}
        self.generation = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, token_hash: bytes, now: float) -> Identity | None:
        """The identity behind a token, None when it is not here or over at `now`."""
        entry = self._entries.get(token_hash)
        return None if entry is None else self._used(entry, now)

    def get_bearer(self, authorization: bytes, now: float) -> Identity | None:
        """The same by a header, as far as that was `note_bearer`ed."""
        entry = self._by_bearer.get(authorization)
        return None if entry is None else self._used(entry, now)

    def note_bearer(self, authorization: bytes, token_hash: bytes) -> None:
        """This whole header is the bearer of the session with this token."""
        entry = self._entries.get(token_hash)
        if entry is not None:
            self._forget_bearer(entry)
            entry.bearer = authorization
            self._by_bearer[authorization] = entry

    def _used(self, entry: _Entry, now: float) -> Identity | None:
        token_hash = entry.token_hash
        if now >= entry.expires_at:
            self._remove(token_hash)
            return None
        self._entries.move_to_end(token_hash)
        if now >= entry.note_at:
            entry.note_at = int(now) + limits.SESSION_SEEN_SECONDS
            if len(self._seen) < self._size_max:
                self._seen[token_hash] = int(now)
        return entry.identity

    def put(self, session: Session, claims: Claims = NO_CLAIMS) -> Identity:
        """Keep a session just read or written; the least recently used one may go."""
        self._remove(session.token_hash)
        entry = self._entries[session.token_hash] = _Entry(session, claims)
        self._by_user.setdefault(session.user_id, set()).add(session.token_hash)
        if len(self._entries) > self._size_max:
            self._remove(next(iter(self._entries)))
        return entry.identity

    def drop(self, token_hash: bytes) -> None:
        """Forget a token that ended or whose row changed."""
        self.generation += 1
        self._remove(token_hash)

    def drop_user(self, user_id: str) -> None:
        """Forget every session of a user of whom something has changed."""
        self.generation += 1
        for token_hash in list(self._by_user.get(user_id, ())):
            self._remove(token_hash)

    def clear(self) -> None:
        """Forget every session; when they were last used stays to be saved."""
        self.generation += 1
        self._entries.clear()
        self._by_user.clear()
        self._by_bearer.clear()

    def _remove(self, token_hash: bytes) -> None:
        entry = self._entries.pop(token_hash, None)
        if entry is None:
            return
        self._forget_bearer(entry)
        if entry.identity.user_id is None:
            return
        of_user = self._by_user[entry.identity.user_id]
        of_user.discard(token_hash)
        if not of_user:
            del self._by_user[entry.identity.user_id]

    def _forget_bearer(self, entry: _Entry) -> None:
        if entry.bearer is not None:
            del self._by_bearer[entry.bearer]
            entry.bearer = None

    def take_seen(self, count_max: int) -> list[tuple[bytes, int]]:
        """Take out up to `count_max` token hashes with the time they were last used, to be saved.

        A time is noted at most every `limits.SESSION_SEEN_SECONDS` per token.
        """
        taken: list[tuple[bytes, int]] = []
        while self._seen and len(taken) < count_max:
            taken.append(self._seen.popitem())
        return taken
