"""The routes under `/api/auth/` that make, show and end sessions (spec 04 section 7).

Passwords, codes, OAuth and tenants are not here. What a session is stands in `auth/sessions.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from pylon import codec, limits
from pylon.api.auth import session_docs as docs
from pylon.api.auth.identity import IdentityStage, request_credential
from pylon.asking import address_key
from pylon.auth.cookie import SessionCookie
from pylon.auth.device import device_label
from pylon.auth.identify import Identifier
from pylon.auth.model import Session
from pylon.auth.sessions import Sessions
from pylon.config import Config
from pylon.errors import PylonError
from pylon.http.dev_gate import has_dev_rights
from pylon.http.rate_limit import Allowance, RateLimiter, rate_limited
from pylon.http.request import Request
from pylon.http.response import Response, json_response
from pylon.http.router import Router
from pylon.identity import Identity, token_hint


def guest_allowance(*, is_dev: bool) -> Allowance:
    """How many guests one client address may make; in dev as many as it may make requests."""
    if is_dev:
        return Allowance(
            requests_max=limits.RATE_LIMIT_MAX_DEV,
            window_seconds=limits.RATE_LIMIT_WINDOW_SECONDS,
        )
    return Allowance(
        requests_max=limits.GUESTS_PER_ADDRESS_MAX, window_seconds=limits.GUEST_WINDOW_SECONDS
    )


UserRow: TypeAlias = Callable[[Identity], Awaitable[Mapping[str, Any] | None]]
"""Gives the caller's own row of the users, as the caller may read it."""


async def _no_row(_: Identity) -> None:
    """Where no users are declared."""


class AuthRoutes:
    """The handlers, with the identity stage as `identify`. Dev mode opens minting and upgrading to
    callers on this machine; `guests` limits how many an address makes (`guest_allowance`)."""

    def __init__(
        self,
        sessions: Sessions,
        config: Config,
        *,
        app_name: str,
        guests: RateLimiter,
        user_row: UserRow = _no_row,
    ) -> None:
        self._sessions = sessions
        self._user_row = user_row
        self._is_dev = config.dev_mode
        self._cookie = SessionCookie(
            config.session_cookie_name(app_name),
            domain=config.cookie_domain,
            secure=config.cookie_secure,
            same_site=config.cookie_same_site,
        )
        self._identifier = Identifier(
            sessions, admin_token=config.admin_token, cookie_name=self._cookie.name
        )
        self._guests = guests
        self.identify = IdentityStage(self._identifier, tells_why=config.tells_why)

    def is_admin(self, request: Request) -> bool:
        """Whether a request is the administrator's; for stages before the identity is known."""
        return self._identifier.is_admin(request_credential(self._identifier, request))

    def register(self, router: Router) -> None:
        """Add every route of this family."""
        add = router.add
        me, own = "/api/auth/me", "/api/auth/session"
        guest, upgrade, refresh = "/api/auth/guest", "/api/auth/upgrade", "/api/auth/refresh"
        every, one = "/api/auth/sessions", "/api/auth/sessions/{id}"
        add("GET", me, self.get_me, summary="Who the caller is", docs=docs.ME)
        add("GET", own, self.get_session, summary="The caller and its user row", docs=docs.SESSION)
        add("POST", own, self.mint_session, summary="A session for any user id", docs=docs.MINT)
        add("DELETE", own, self.end_session, summary="Sign out", docs=docs.SIGN_OUT)
        add("POST", guest, self.mint_guest, summary="A session for a new guest", docs=docs.GUEST)
        add("POST", upgrade, self.upgrade_session, summary="Guest into user", docs=docs.UPGRADE)
        add("POST", refresh, self.refresh_session, summary="A new token", docs=docs.REFRESH)
        add("GET", every, self.list_sessions, summary="The caller's sessions", docs=docs.SESSIONS)
        add("DELETE", every, self.end_sessions, summary="Sign out everywhere", docs=docs.END_ALL)
        add("DELETE", one, self.end_other_session, summary="End one session", docs=docs.END_ONE)

    # --- Who am I ----------------------------------------------------------------------------

    async def get_me(self, request: Request) -> Response:
        """`{"user_id", "is_admin", "roles", "tenant_id"?, "is_guest"?}`, always 200."""
        return json_response(request.identity.to_wire())

    async def get_session(self, request: Request) -> Response:
        """`{"session": <as /me>, "user": <its row>}`, as later versions answer. The row is what
        its owner may read of it; null for guests, administrators, nobody, and without one."""
        identity = request.identity
        user = None
        if not (identity.user_id is None or identity.is_guest or identity.is_admin):
            user = await self._user_row(identity)
        return json_response({"session": identity.to_wire(), "user": user})

    # --- Making sessions ---------------------------------------------------------------------

    async def mint_session(self, request: Request) -> Response:
        """201 `{"token", "user_id"}`. Dev on this machine, or the administrator (7.2)."""
        self._require_minting(request, "/api/auth/session")
        user_id = await _read_user_id(request)
        beside = request.identity.session_id
        token, _ = await self._sessions.create(user_id, device=_device(request), beside=beside)
        return json_response({"token": token, "user_id": user_id}, 201)

    async def mint_guest(self, request: Request) -> Response:
        """201 `{"token", "user_id", "guest": true}`; 429 beyond an address's allowance (7.4)."""
        if not request.identity.is_admin:
            seconds = self._guests.hit(address_key(request.client))
            if seconds:
                raise rate_limited(seconds)
        token, session = await self._sessions.create_guest(
            device=_device(request), beside=request.identity.session_id
        )
        body = {"token": token, "user_id": session.user_id, "guest": True}
        response = json_response(body, 201)
        if b"origin" in request.headers:
            self._set_cookie(response, token)
        return response

    async def upgrade_session(self, request: Request) -> Response:
        """`{"upgraded": true, "user_id"}`; the request's own session, in place (7.5)."""
        self._require_minting(request, "/api/auth/upgrade")
        user_id = await _read_user_id(request)
        credential = request_credential(self._identifier, request)
        if credential is None or await self._sessions.upgrade(credential.token, user_id) is None:
            hint = token_hint(request.identity)
            raise PylonError(400, "UPGRADE_FAILED", "No valid session to upgrade", hint)
        return json_response({"upgraded": True, "user_id": user_id})

    async def refresh_session(self, request: Request) -> Response:
        """`{"token", "user_id", "expires_at"}`, by cookie too when the session came so (7.18)."""
        credential = request_credential(self._identifier, request)
        if credential is None:
            hint = token_hint(request.identity)
            raise PylonError(401, "AUTH_REQUIRED", "No session to refresh", hint)
        refreshed = await self._sessions.refresh(credential.token)
        if refreshed is None:
            raise PylonError(401, "SESSION_EXPIRED", "Session is expired or invalid")
        token, session = refreshed
        response = json_response(
            {"token": token, "user_id": session.user_id, "expires_at": session.expires_at}
        )
        if credential.source == "cookie":
            self._set_cookie(response, token)
        return response

    # --- Ending and listing ------------------------------------------------------------------

    async def end_session(self, request: Request) -> Response:
        """`{"revoked": true}` and a cleared cookie, also for a caller without a session (7.17)."""
        credential = request_credential(self._identifier, request)
        if credential is not None:
            await self._sessions.revoke(credential.token)
        return self._signed_out({"revoked": True})

    async def list_sessions(self, request: Request) -> Response:
        """The caller's sessions, newest first (7.19); empty for the administrator."""
        user_id = _require_login(request)
        if request.identity.is_admin:
            return json_response([])
        own = request.identity.session_id
        sessions = await self._sessions.list_for_user(user_id)
        return json_response([_to_wire(session, own) for session in sessions])

    async def end_sessions(self, request: Request) -> Response:
        """`{"revoked_count"}`, the caller's own included, and a cleared cookie (7.20)."""
        user_id = _require_login(request)
        return self._signed_out({"revoked_count": await self._sessions.revoke_all(user_id)})

    async def end_other_session(self, request: Request, session: str) -> Response:
        """`{"revoked": true}` for an `id` of the caller's own list; 404 for any other."""
        user_id = _require_login(request)
        session_id = _session_id(session)
        if not await self._sessions.revoke_by_id(session_id, user_id=user_id):
            raise PylonError(404, "NOT_FOUND", "You have no such session")
        if session_id == request.identity.session_id:
            return self._signed_out({"revoked": True})
        return json_response({"revoked": True})

    # --- Shared ------------------------------------------------------------------------------

    def _require_minting(self, request: Request, route: str) -> None:
        if request.identity.is_admin or has_dev_rights(request, dev_mode=self._is_dev):
            return
        raise PylonError(
            403,
            "FORBIDDEN",
            f"{route} requires admin auth in non-dev mode",
            "In dev it is open to callers on the same machine, not through a proxy.",
        )

    def _set_cookie(self, response: Response, token: str) -> None:
        response.headers.append((b"set-cookie", self._cookie.carrying(token).encode("latin-1")))

    def _signed_out(self, body: dict[str, Any]) -> Response:
        response = json_response(body)
        response.headers.append((b"set-cookie", self._cookie.cleared().encode("latin-1")))
        return response


async def _read_user_id(request: Request) -> str:
    body = codec.decode(await request.body(bytes_max=limits.AUTH_BODY_BYTES_MAX))
    user_id = body.get("user_id") if isinstance(body, dict) else None
    if not isinstance(user_id, str):
        raise PylonError(400, "MISSING_USER_ID", "user_id is required")
    return user_id


def _require_login(request: Request) -> str:
    user_id = request.identity.user_id
    if user_id is None:
        hint = token_hint(request.identity)
        raise PylonError(401, "AUTH_REQUIRED", "Login required", hint)
    return user_id


def _device(request: Request) -> str | None:
    return device_label(request.header(b"user-agent"))


def _session_id(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _to_wire(session: Session, own: bytes | None) -> dict[str, Any]:
    """An entry of the list: the five keys of the spec, and ours."""
    return {
        "token_prefix": session.token_prefix,
        "user_id": session.user_id,
        "device": session.device,
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "id": session.session_id.hex(),
        "current": session.session_id == own,
        "last_seen_at": session.last_seen_at,
    }
