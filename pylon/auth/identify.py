"""Which credential a request or a WebSocket handshake carries, and whose it is (spec 04 section 3).

Works on header values as text; where they come from is the caller's business (`api/auth` for
requests, `api/live` for sockets). An unknown credential is never an error: it is nobody.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from pylon.auth.model import Credential
from pylon.auth.sessions import Sessions
from pylon.identity import ADMIN, ANONYMOUS, Identity
from pylon.ids import same_secret

_BEARER = "Bearer "
_SUBPROTOCOL = "bearer."
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def find_credential(
    authorization: str | None, cookie: str | None, *, cookie_name: str
) -> Credential | None:
    """The token of a request from its `Authorization` and `Cookie` values; None without one.

    A bearer, even an empty one, shuts the cookie out. The CSRF check rests on this: it lets
    requests with a bearer pass, which is safe only as long as no cookie counts beside it.
    """
    if authorization is not None and authorization.startswith(_BEARER):
        token = authorization[len(_BEARER) :]
        return Credential(token=token, source="bearer") if token else None
    if cookie is not None:
        value = cookie_value(cookie, cookie_name)
        if value:
            return Credential(token=value, source="cookie")
    return None


def cookie_value(header: str, name: str) -> str | None:
    """The first cookie of that name in a `Cookie` header, verbatim: no unquoting or decoding."""
    for pair in header.split(";"):
        key, separator, value = pair.strip().partition("=")
        if separator and key == name:
            return value
    return None


def from_subprotocol(header: str) -> tuple[str, str] | None:
    """The token in a `Sec-WebSocket-Protocol` value, and the entry to echo byte for byte.

    The first entry `bearer.<percent-encoded token>` that decodes to UTF-8 counts, `+` being a
    space; entries that do not decode are passed over (spec 03 section 4.1). None without one. An
    empty token is returned as it is: its entry must be echoed, and it identifies nobody.
    """
    for part in header.split(","):
        entry = part.strip()
        if entry.startswith(_SUBPROTOCOL):
            encoded = entry[len(_SUBPROTOCOL) :]
            if _BROKEN_ESCAPE.search(encoded) is None:
                try:
                    raw = unquote_to_bytes(encoded.replace("+", " ").encode("latin-1"))
                    return raw.decode("utf-8"), entry
                except UnicodeError:
                    continue
    return None


class Identifier:
    """Turns credentials into identities. A blank `admin_token` counts as none at all."""

    def __init__(self, sessions: Sessions, *, admin_token: str | None, cookie_name: str) -> None:
        self._sessions = sessions
        self._admin_token = admin_token if admin_token and admin_token.strip() else None
        self._cookie_name = cookie_name

    def credential(self, authorization: str | None, cookie: str | None) -> Credential | None:
        """`find_credential` with the app's cookie name."""
        return find_credential(authorization, cookie, cookie_name=self._cookie_name)

    def bearer_in_memory(self, authorization: bytes) -> Identity | None:
        """Who it is, where that is the bearer of a session in memory; None says nothing."""
        return self._sessions.cached_bearer(authorization)

    def at_once(self, credential: Credential | None) -> Identity | None:
        """Who it is, as far as memory tells; None when `identify` must be awaited.

        A session in memory is looked for first, since most requests have one and the comparison
        with the admin token, in constant time, costs more.
        """
        if credential is None:
            return ANONYMOUS
        identity = self._sessions.cached(credential.token)
        if identity is None and self.is_admin(credential):
            return ADMIN
        return identity

    async def identify(self, credential: Credential | None) -> Identity:
        """Who it is: the administrator (by bearer only), the holder of a session, or nobody."""
        if credential is None:
            return ANONYMOUS
        if self.is_admin(credential):
            return ADMIN
        return await self._sessions.resolve(credential.token) or ANONYMOUS

    def is_admin(self, credential: Credential | None) -> bool:
        """Whether it is the administrator's token, sent as a bearer; in constant time."""
        return (
            credential is not None
            and self._admin_token is not None
            and credential.source == "bearer"
            and same_secret(credential.token, self._admin_token)
        )
