"""The routes by which a second device joins a sign-in: a code is asked for, and brought.

What a code is stands in `auth/pairing.py`. No cookie is set: a foreign page could otherwise put
its visitor into somebody else's account.
"""

from __future__ import annotations

from pylon import codec, limits
from pylon.asking import address_key
from pylon.auth.device import device_label
from pylon.auth.pairing import Pairing
from pylon.errors import PylonError
from pylon.http.describe import COUNT, FLAG, JSON, TEXT, Docs, json, object_of
from pylon.http.rate_limit import RateLimiter, rate_limited
from pylon.http.request import Request
from pylon.http.response import Response, json_response
from pylon.http.router import Router
from pylon.identity import GUEST_PREFIX, token_hint

_OFFER = Docs(
    operation_id="createPairingCode",
    tag="auth",
    answers=json(object_of(code=TEXT, expires_at=COUNT), 201),
    caller="session",
    description="Good once and for five minutes. The session's code before this one is void.",
    errors=("401 AUTH_REQUIRED",),
    store="writes",
)
_REDEEM = Docs(
    operation_id="redeemPairingCode",
    tag="auth",
    answers=json(object_of(token=TEXT, user_id=TEXT, guest=FLAG), 201),
    body={JSON: object_of(code=TEXT)},
    errors=("400 PAIRING_CODE_INVALID",),
    store="writes",
)


class PairingRoutes:
    """The handlers. `made` limits how many sessions an address makes, as for guests."""

    def __init__(self, pairing: Pairing, *, made: RateLimiter) -> None:
        self._pairing = pairing
        self._made = made

    def register(self, router: Router) -> None:
        """Add both routes."""
        offer, redeem = "/api/auth/pair", "/api/auth/pair/redeem"
        router.add("POST", offer, self.offer_code, summary="A code to join by", docs=_OFFER)
        router.add("POST", redeem, self.redeem_code, summary="Join by a code", docs=_REDEEM)

    async def offer_code(self, request: Request) -> Response:
        """201 `{"code", "expires_at"}` for a caller with a session; the administrator has none."""
        session_id = request.identity.session_id
        if session_id is None:
            hint = token_hint(request.identity)
            raise PylonError(401, "AUTH_REQUIRED", "Login required", hint)
        code, until = await self._pairing.offer(session_id)
        return json_response({"code": code, "expires_at": until}, 201)

    async def redeem_code(self, request: Request) -> Response:
        """201 `{"token", "user_id", "guest"}`; 400 for a code that is not good (any more)."""
        seconds = self._made.hit(address_key(request.client))
        if seconds:
            raise rate_limited(seconds)
        body = codec.decode(await request.body(bytes_max=limits.AUTH_BODY_BYTES_MAX))
        code = body.get("code") if isinstance(body, dict) else None
        device = device_label(request.header(b"user-agent"))
        made = await self._pairing.redeem(code, device=device) if isinstance(code, str) else None
        if made is None:
            raise PylonError(
                400,
                "PAIRING_CODE_INVALID",
                "This code is unknown, was used, or is older than five minutes",
                "Ask for a new one where you are signed in: POST /api/auth/pair.",
            )
        token, user_id = made
        guest = user_id.startswith(GUEST_PREFIX)
        return json_response({"token": token, "user_id": user_id, "guest": guest}, 201)
