"""Who is asking. An `Identity` is made from server-side facts only, never from client JSON.

Not here: how a token becomes an identity (`auth/`), what an identity may do (`policy/`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pylon.errors import PylonError

ADMIN_USER_ID = "__admin__"
GUEST_PREFIX = "guest_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The caller of a request or the reader of a stream (spec 04 section 1).

    `session_id` is the hash of the session's first token (bytes), the same across refreshes, or
    None without a session.
    """

    user_id: str | None = None
    tenant_id: str | None = None
    roles: tuple[str, ...] = ()
    email: str | None = None
    is_admin: bool = False
    is_guest: bool = False
    session_id: bytes | None = None
    token_fault: str = field(default="", compare=False)
    """Of nobody, where refusals may say why (`Config.tells_why`): what is wrong with the token
    that was sent. It is a sentence for a hint and makes no other caller."""

    def to_wire(self) -> dict[str, object]:
        """The object of `GET /api/auth/me`; absent keys as in spec 04 section 1."""
        wire: dict[str, object] = {"user_id": self.user_id, "is_admin": self.is_admin}
        if self.is_guest:
            wire["is_guest"] = True
        wire["roles"] = list(self.roles)
        if self.tenant_id is not None:
            wire["tenant_id"] = self.tenant_id
        return wire


ANONYMOUS = Identity()
ADMIN = Identity(user_id=ADMIN_USER_ID, is_admin=True, roles=("admin",))


SESSION_HINT = "Send `Authorization: Bearer <token>`; POST /api/auth/guest gives one."


def caller_key(identity: Identity) -> bytes | None:
    """What sockets, pulls and pushes of one client have in common: its session, which stays the
    same when a guest becomes a user; without one the user. None for anonymous callers."""
    if identity.session_id is not None:
        return identity.session_id
    return None if identity.user_id is None else identity.user_id.encode()


def token_hint(identity: Identity, otherwise: str | None = None) -> str | None:
    """The hint of a refusal that wants to know who is asking: first what is wrong with the token
    that was sent, where that may be told."""
    return " ".join(part for part in (identity.token_fault, otherwise) if part) or None


def require_session(identity: Identity) -> Identity:
    """Pass anyone with an identity, guests included; else 401 `AUTH_REQUIRED`."""
    if identity.user_id is None:
        raise PylonError(
            401,
            "AUTH_REQUIRED",
            "authenticated session required",
            token_hint(identity, SESSION_HINT),
        )
    return identity


def require_admin(identity: Identity) -> Identity:
    """Pass the administrator only; else 403 `FORBIDDEN` (also for anonymous callers)."""
    if not identity.is_admin:
        raise PylonError(
            403,
            "FORBIDDEN",
            "this endpoint requires admin auth (PYLON_ADMIN_TOKEN)",
            token_hint(identity),
        )
    return identity
