"""`X-Pylon-Change-Seq`: the position in the log of what a request has changed (spec 09 section 2).

Handlers of one row `tell` it; `telling` wraps those whose writes happen far below them. A client
with a cursor at or above it has the change, if its user may see it. Left out where nothing was
changed, or was done before.
"""

from __future__ import annotations

from functools import wraps
from typing import Final, TypeVar

from pylon.data.changed import CHANGED, Changed
from pylon.http.request import Request
from pylon.http.response import AnyResponse
from pylon.http.router import Handler

HEADER: Final = b"x-pylon-change-seq"

R = TypeVar("R", bound=AnyResponse)


def telling(handler: Handler) -> Handler:
    """The handler, whose answer says where its change is."""

    @wraps(handler)
    async def told(request: Request, *params: str) -> AnyResponse:
        changed = Changed()
        token = CHANGED.set(changed)
        try:
            response = await handler(request, *params)
        finally:
            CHANGED.reset(token)
        return tell(response, changed)

    return told


def tell(response: R, changed: Changed) -> R:
    """The answer, which says where the change is, if there is one."""
    if changed.seq:
        response.headers.append((HEADER, b"%d" % changed.seq))
    return response
