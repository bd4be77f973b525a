"""Pairing codes: how a second device joins a sign-in without a password.

Whoever holds a session asks for a code, which is good once and for five minutes; whoever brings it
gets a session of their own for the same user. Stored is its hash, beside the session that asked:
when that one ends, its code is void. The routes are in `api/auth/pairing.py`.
"""

from __future__ import annotations

from pylon import limits
from pylon.auth.sessions import SQL, Sessions
from pylon.clock import Clock
from pylon.ids import new_pairing_code, token_hash
from pylon.store.base import Store, Tx
from pylon.store.upkeep import delete_in_slices


class Pairing:
    """The codes of all sessions, at most one each."""

    def __init__(self, store: Store, clock: Clock, sessions: Sessions) -> None:
        """`store` is where the sessions are."""
        self._store = store
        self._now = clock.now
        self._sessions = sessions

    async def offer(self, session_id: bytes) -> tuple[str, int]:
        """A new code for whom this session is of, and until when it is good (Unix seconds). The
        code that the session had before is void."""
        code = new_pairing_code()
        until = int(self._now()) + limits.PAIRING_SECONDS

        async def offer(tx: Tx) -> None:
            await tx.execute(SQL["offer_pairing"], (session_id, token_hash(code), until))

        await self._store.write(offer)
        return code, until

    async def redeem(self, code: str, *, device: str | None = None) -> tuple[str, str] | None:
        """The token and the user id of a new session; None when the code is unknown, used or too
        old, or when the session that asked for it has ended. The code is spent either way."""

        async def take(tx: Tx) -> str | None:
            now = int(self._now())
            for session_id, until in await tx.fetch(SQL["take_pairing"], (token_hash(code),)):
                for user_id, _, ends in await tx.fetch(SQL["newest_of_session"], (session_id,)):
                    if now < until and (ends == 0 or now < ends):
                        return str(user_id)
            return None

        user_id = await self._store.write(take)
        if user_id is None:
            return None
        token, _ = await self._sessions.create(user_id, device=device)
        return token, user_id

    async def purge(self) -> None:
        """Delete what is over. For a timer."""
        now = int(self._now())
        if await self._store.read(SQL["is_any_pairing_over"], (now,)):
            await delete_in_slices(self._store, SQL["delete_pairings_over"], (now,))
