"""The pipeline's identity stage: from the credential of a request to `request.identity`, and to the
caller as whom the request's reads wait their turn.

Which credential counts stands in `auth/identify.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable

from pylon.asking import ASKING
from pylon.auth.identify import Identifier
from pylon.auth.model import Credential
from pylon.http.rate_limit import address_key
from pylon.http.request import Request
from pylon.identity import Identity


def request_credential(identifier: Identifier, request: Request) -> Credential | None:
    """The credential of a request, from all of its `Cookie` headers."""
    headers = request.headers
    authorization = headers.get(b"authorization")
    cookie = None
    if b"cookie" in headers:
        # HTTP/2 proxies may split the cookies over several headers.
        values = [value for name, value in request.scope["headers"] if name == b"cookie"]
        cookie = b";".join(values).decode("latin-1")
    if authorization is None:
        return None if cookie is None else identifier.credential(None, cookie)
    return identifier.credential(authorization.decode("latin-1"), cookie)


class IdentityStage:
    """The stage that sets `request.identity`. Waits only when the session is not in memory."""

    def __init__(self, identifier: Identifier) -> None:
        self._identifier = identifier

    def __call__(self, request: Request) -> Awaitable[None] | None:
        credential = request_credential(self._identifier, request)
        if credential is None:
            ASKING.set(address_key(request.client))
            return None
        identity = self._identifier.at_once(credential)
        if identity is None:
            return self._look_up(request, credential)
        _tell(request, identity)
        return None

    async def _look_up(self, request: Request, credential: Credential) -> None:
        _tell(request, await self._identifier.identify(credential))


def _tell(request: Request, identity: Identity) -> None:
    request.identity = identity
    # Guests are as many as somebody likes to make.
    is_known = identity.user_id is not None and not identity.is_guest
    ASKING.set(identity.user_id if is_known else address_key(request.client))
