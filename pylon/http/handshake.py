"""The opening of a WebSocket: its upgrade request, the 101 that accepts it, answers that refuse it.

Pure. Called by `websocket_state`, and by the shell for what the app says before it accepts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct
from websockets.datastructures import Headers
from websockets.extensions import Extension
from websockets.http11 import Request
from websockets.server import ServerProtocol

from pylon.http.asgi import Header
from pylon.http.heads import error_response, response_head

_DENIAL_BYTES_MAX: Final = 1_048_576

_OURS: Final = (b"content-length", b"connection", b"transfer-encoding")
"""Headers of an app's refusal that say how it is framed."""


class ServerWire(ServerProtocol):
    """websockets' protocol without an opinion on subprotocols: the app chooses, byte for byte."""

    def process_subprotocol(self, headers: Any) -> None:
        return None

    def process_extensions(self, headers: Headers) -> tuple[str | None, list[Extension]]:
        """Clients that have none to offer may say so with an empty list."""
        if not any(value.strip() for value in headers.get_all("Sec-WebSocket-Extensions")):
            return None, []
        return super().process_extensions(headers)


class Upgrade(Struct, frozen=True, kw_only=True):
    """A valid upgrade request: where to, its headers (lower-case names), and what a 101 to it has
    to say."""

    target: str
    headers: list[Header]
    answer: tuple[Header, ...]

    def accepted(self, subprotocol: str | None, headers: Iterable[Header]) -> bytes:
        """The 101, with what the app adds."""
        own = [] if subprotocol is None else [_chosen(subprotocol)]
        return response_head(101, [*self.answer, *own, *headers])


def examine(wire: ServerWire, request: Request) -> Upgrade | bytes:
    """Check an upgrade request; the answer that refuses it when it is not one."""
    response = wire.accept(request)
    if response.status_code != 101:
        extra = [(b"sec-websocket-version", b"13")]
        if response.status_code == 405:
            extra.append((b"allow", b"GET"))
        text = "The upgrade request is not valid"
        return error_response(response.status_code, "BAD_REQUEST", text, *extra)
    return Upgrade(
        target=request.path,
        headers=[
            (name.lower().encode("ascii"), _value_bytes(value))
            for name, value in request.headers.raw_items()
        ],
        answer=tuple(
            (name.lower().encode(), value.encode("latin-1"))
            for name, value in response.headers.raw_items()
            if name.lower() != "date"
        ),
    )


class Refusal:
    """The HTTP response with which an app refuses a WebSocket, gathered until it is whole."""

    __slots__ = ("_body", "_headers", "_status")

    def __init__(self, status: int, headers: Iterable[Header]) -> None:
        self._status = status
        self._headers = [header for header in headers if header[0].lower() not in _OURS]
        self._body = bytearray()

    def add(self, body: bytes) -> None:
        """Another piece; RuntimeError when it grows too large."""
        self._body += body
        if len(self._body) > _DENIAL_BYTES_MAX:
            raise RuntimeError("the answer that refuses a WebSocket is too large")

    def whole(self) -> bytes:
        """The response as it goes on the wire; it ends the connection."""
        framing = ((b"content-length", b"%d" % len(self._body)), (b"connection", b"close"))
        return response_head(self._status, (*self._headers, *framing)) + bytes(self._body)


def _chosen(subprotocol: str) -> Header:
    return b"sec-websocket-protocol", subprotocol.encode("latin-1")


def _value_bytes(value: str) -> bytes:
    # websockets 17 decodes header values as ISO-8859-1, earlier ones with surrogate escapes.
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("ascii", errors="surrogateescape")
