"""`Idempotency-Key`: a write that is repeated because its answer was lost is not done twice.

After the draft of the IETF (httpapi-idempotency-key-header). Wraps the handlers of routes whose
`Docs` say `takes_key`; without the header nothing happens here. What is stored is `data/once.py`'s.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from functools import wraps
from hashlib import sha256
from typing import Final

from pylon import limits
from pylon.data.once import OnceKeys, Ticket, caller_of
from pylon.errors import PylonError
from pylon.http.request import Request
from pylon.http.response import AnyResponse
from pylon.http.router import Handler

HEADER: Final = b"idempotency-key"

REPLAYED: Final = (b"idempotency-replayed", b"true")
"""Says that all of the answer is that of an earlier request."""

_QUOTED = re.compile(rb'"((?:[ !#-\[\]-~]|\\["\\])+)"')
_BARE = re.compile(rb"[!#-+\--:<-\[\]-~]+")


class Once:
    """Wraps handlers."""

    def __init__(self, keys: OnceKeys) -> None:
        self._keys = keys

    def __call__(self, handler: Handler) -> Handler:
        """The handler, which does a request with a key once."""

        @wraps(handler)
        def once(request: Request, *params: str) -> Awaitable[AnyResponse]:
            if HEADER not in request.headers:
                return handler(request, *params)
            return self._answer(handler, request, params)

        return once

    async def _answer(
        self, handler: Handler, request: Request, params: tuple[str, ...]
    ) -> AnyResponse:
        ticket = Ticket(
            caller=caller_of(request.identity.user_id, request.client),
            key=read_key(request),
            fingerprint=await _fingerprint(request),
        )
        with self._keys.using(ticket):
            await self._keys.refuse_reused(ticket)
            response = await handler(request, *params)
        if ticket.units and ticket.repeated == ticket.units:
            response.headers.append(REPLAYED)
        return response


def read_key(request: Request) -> str:
    """The key, quoted as the draft has it or bare; 400 `IDEMPOTENCY_KEY_INVALID`."""
    found = [value for name, value in request.scope["headers"] if name.lower() == HEADER]
    value = found[0].strip() if len(found) == 1 else b""
    if quoted := _QUOTED.fullmatch(value):
        value = re.sub(rb"\\(.)", rb"\1", quoted[1])
    elif not _BARE.fullmatch(value):
        value = b""
    if not 0 < len(value) <= limits.ONCE_KEY_CHARACTERS_MAX:
        raise PylonError(
            400,
            "IDEMPOTENCY_KEY_INVALID",
            f"Idempotency-Key must be one text of 1 to {limits.ONCE_KEY_CHARACTERS_MAX}"
            " visible characters, best in double quotes.",
            'For example: Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"',
        )
    return value.decode("ascii")


async def _fingerprint(request: Request) -> bytes:
    """Tells a request from others: its method, its path and query, and its body."""
    digest = sha256(f"{request.method} {request.path}?".encode("utf-8", "surrogatepass"))
    digest.update(request.query_string + b"\0")
    digest.update(await request.body())
    return digest.digest()
