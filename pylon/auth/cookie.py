"""The `Set-Cookie` values of the session cookie (spec 04 section 4).

When a cookie is sent is decided in `api/auth`; reading it back is `identify.cookie_value`.
"""

from __future__ import annotations

from typing import Literal

from pylon import limits


class SessionCookie:
    """The cookie of one app. A `domain` of None or "" means this host only; `same_site` None
    forces `Secure`, without which browsers refuse it."""

    def __init__(
        self,
        name: str,
        *,
        domain: str | None,
        secure: bool,
        same_site: Literal["Lax", "Strict", "None"],
    ) -> None:
        self.name = name
        scope = f"; Domain={domain}" if domain else ""
        safety = "; Secure" if secure or same_site == "None" else ""
        self._attributes = f"; Path=/{scope}; HttpOnly{safety}; SameSite={same_site}"

    def carrying(self, token: str) -> str:
        """The value that makes a browser keep `token` as long as a session lasts."""
        return f"{self.name}={token}{self._attributes}; Max-Age={limits.SESSION_SECONDS}"

    def cleared(self) -> str:
        """The value that makes a browser forget it."""
        return f"{self.name}={self._attributes}; Max-Age=0"
