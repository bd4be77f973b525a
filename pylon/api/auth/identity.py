"""The pipeline's identity stage: from the credential of a request to `request.identity`.

Which credential counts stands in `auth/identify.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from pylon.asking import ASKER
from pylon.auth.identify import Identifier
from pylon.auth.model import Credential
from pylon.http.asgi import Header
from pylon.http.request import Request
from pylon.identity import ANONYMOUS, Identity


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


BEARER_REJECTED: Final[Header] = (b"x-pylon-bearer-rejected", b"1")
"""With the answer to a bearer that is nobody's: a newer client then gives its token up, instead of
taking what an anonymous caller is told for its user's (spec 09 section 2)."""


_UNKNOWN: Final = Identity(
    token_fault="A token was sent, and it is not valid: it is unknown here, has expired or was"
    " signed out."
)
_NO_BEARER: Final = Identity(
    token_fault="An Authorization header was sent, and it does not count: it has to be"
    " `Authorization: Bearer <token>`, with a capital B and one space."
)


class IdentityStage:
    """The stage that sets `request.identity`. Waits only when the session is not in memory.

    With `tells_why` nobody's identity says what is wrong with the token that was sent.
    """

    def __init__(self, identifier: Identifier, *, tells_why: bool = False) -> None:
        self._identifier = identifier
        self._tells_why = tells_why

    def __call__(self, request: Request) -> Awaitable[None] | None:
        authorization = request.headers.get(b"authorization")
        if authorization is not None:  # This is what most requests carry, so it has a short way.
            known = self._identifier.bearer_in_memory(authorization)
            if known is not None:
                request.identity = known
                ASKER.set((request.client, known))
                return None
        credential = request_credential(self._identifier, request)
        if credential is None:
            if authorization is not None and self._tells_why:
                request.identity = _NO_BEARER
            ASKER.set((request.client, ANONYMOUS))
            return None
        identity = self._identifier.at_once(credential)
        if identity is None:
            return self._look_up(request, credential)
        request.identity = identity
        ASKER.set((request.client, identity))
        return None

    async def _look_up(self, request: Request, credential: Credential) -> None:
        request.identity = identity = await self._identifier.identify(credential)
        if identity is ANONYMOUS and credential.source == "bearer":
            request.answer_headers = [BEARER_REJECTED]
        if identity is ANONYMOUS and self._tells_why:
            request.identity = _UNKNOWN
        ASKER.set((request.client, identity))
