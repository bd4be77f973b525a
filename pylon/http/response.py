"""What handlers return: a whole response, or one whose body is produced piece by piece.

Not here: the headers that every response gets (`finish`), how bytes reach the client (`pipeline`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from pylon import codec
from pylon.errors import PylonError
from pylon.http.asgi import Header

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream"

# Events are of use only while they are fresh: neither caches nor proxies may hold them back.
_UNBUFFERED: tuple[Header, ...] = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))


class Response:
    """A response whose body is known. `headers` are sent beside the constant ones."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        *,
        content_type: bytes = JSON,
        headers: Sequence[Header] = (),
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers: list[Header] = [*headers]


class StreamResponse:
    """A response whose body comes from an async iterator; each chunk is sent as it comes.

    When the client goes, the iterator is cancelled at its `await` and closed, so it can let go of
    what it holds in a `finally`. One that `reads_body` still takes the request's body while it
    answers, and learns from there that the client has gone. `held_bytes` is about what it keeps in
    memory until it is taken; `may_compress` says that its chunks are worth compressing.
    """

    __slots__ = (
        "body",
        "content_type",
        "headers",
        "held_bytes",
        "may_compress",
        "reads_body",
        "status",
    )

    def __init__(
        self,
        status: int,
        body: AsyncIterator[bytes],
        *,
        content_type: bytes = EVENT_STREAM,
        headers: Sequence[Header] = (),
        reads_body: bool = False,
        held_bytes: int = 0,
        may_compress: bool = False,
    ) -> None:
        self.status = status
        self.reads_body = reads_body
        self.held_bytes = held_bytes
        self.may_compress = may_compress
        self.body = body
        self.content_type = content_type
        self.headers: list[Header] = [*headers]
        if content_type == EVENT_STREAM:
            self.headers += _UNBUFFERED


AnyResponse = Response | StreamResponse


def json_response(value: Any, status: int = 200) -> Response:
    """A response with `value` encoded as JSON."""
    return Response(status, codec.encode(value))


def raw_json(body: bytes, status: int = 200) -> Response:
    """A response whose body is JSON already, made once elsewhere."""
    return Response(status, body)


def error_response(error: PylonError) -> Response:
    """The one rendering of an error (spec 01 section 2.1).

    An error that says `retry_after_secs` in its body says `Retry-After` in the headers too.
    """
    response = Response(error.status, codec.encode(error.to_wire()))
    response.headers.extend(error.headers)
    retry_after = error.extra.get("retry_after_secs")
    if retry_after is not None:
        response.headers.append((b"retry-after", b"%d" % retry_after))
    return response
