"""The frozen values of this folder. Making, storing and ending sessions is in `sessions.py`."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from pylon.identity import GUEST_PREFIX, Identity


class Claims(Struct, frozen=True, kw_only=True):
    """What the app knows of a user besides the id: `auth.roles` and `auth.email` of policies."""

    roles: tuple[str, ...] = ()
    email: str | None = None


NO_CLAIMS = Claims()


class Session(Struct, frozen=True, kw_only=True):
    """One sign-in (spec 04 section 6.1). Times are Unix seconds.

    `session_id` is the hash of the first token: it stays the same when a refresh changes the
    token, so that a live socket and a list entry keep naming the same sign-in. `token_hash` is
    that of the token in use, `token_prefix` its first 8 characters. `expires_at` 0 is never.
    """

    session_id: bytes
    token_hash: bytes
    token_prefix: str
    user_id: str
    created_at: int
    expires_at: int
    last_seen_at: int
    tenant_id: str | None = None
    device: str | None = None
    successor_salt: bytes | None = None
    """Set once a refresh has replaced this token; see `sessions.successor_token`."""

    @property
    def is_guest(self) -> bool:
        """Whether nobody has signed in yet: the id was made by `POST /api/auth/guest`."""
        return self.user_id.startswith(GUEST_PREFIX)

    def is_expired(self, now: float) -> bool:
        """Whether it is over at `now`; the last second does not count (spec 04 section 2)."""
        return self.expires_at != 0 and now >= self.expires_at

    def to_identity(self, claims: Claims = NO_CLAIMS) -> Identity:
        """The caller that holds this session."""
        return Identity(
            user_id=self.user_id,
            tenant_id=self.tenant_id,
            roles=claims.roles,
            email=claims.email,
            is_guest=self.is_guest,
            session_id=self.session_id,
        )


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A token as a request carried it, and where: only a bearer may be the administrator's.

    A struct because one is made per request, and it is made in a fifth of a dataclass's time.
    """

    token: str
    source: Literal["bearer", "cookie"]
