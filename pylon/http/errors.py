"""What the kernel itself refuses, beside the plain `PylonError` of the features.

    PylonError
    └── HttpError             an error that also carries response headers
    ClientDisconnected        not an answer: there is nobody left to answer

Raised by the request, the router and the stages; rendered by `response.error_response`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pylon.errors import PylonError
from pylon.http.asgi import Header


class HttpError(PylonError):
    """A `PylonError` with response headers of its own (`Allow`, `Retry-After`, `Connection`)."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        hint: str | None = None,
        *,
        headers: Sequence[Header] = (),
    ) -> None:
        super().__init__(status, code, message, hint)
        self.headers = tuple(headers)


class ClientDisconnected(Exception):
    """The client went away before its request was read to the end."""
