"""Response heads as bytes: status lines and header lines; and whole answers without an app.

Pure. Called by `turn` for each response, and where a connection is answered that has no app yet or
no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from pylon import codec
from pylon.http.asgi import Header

_NAMES_KEPT_MAX: Final = 512

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
PLAIN, LENGTH, ENCODING, CONNECTION, DATE, TYPE = range(6)
"""What a header means for the framing of its response."""

_KINDS: Final = {
    b"content-length": LENGTH,
    b"transfer-encoding": ENCODING,
    b"connection": CONNECTION,
    b"date": DATE,
    b"content-type": TYPE,
}
NAMES: Final[dict[bytes, tuple[int, bytes]]] = {}
"""Of the header names learnt so far: their kind, and what stands before the value, with the line
break. Looked up as `NAMES.get(name) or learnt(name)`, since there are several in each response."""


def learnt(name: bytes) -> tuple[int, bytes]:
    """Check a header name that `NAMES` does not have yet."""
    if not _TOKEN.fullmatch(name):
        raise RuntimeError(f"invalid response header name {name!r}")
    lowered = name.lower()
    known = (_KINDS.get(lowered, PLAIN), b"\r\n" + lowered + b": ")
    if len(NAMES) < _NAMES_KEPT_MAX:
        NAMES[name] = known
    return known


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}".encode()


STATUS_LINES: Final = {status: _status_line(status) for status in range(100, 600)}


def status_line(status: int) -> bytes:
    """The first line of a response, without its line break."""
    return STATUS_LINES.get(status) or _status_line(status)


def checked(head: list[bytes], header_count: int) -> bytes:
    """Join a head, and see in one look that no value smuggles in a line of its own."""
    block = b"".join(head)
    breaks = block.count(b"\n"), block.count(b"\r")
    if breaks != (header_count, header_count) or b"\0" in block:
        raise RuntimeError("a response header value holds a line break")
    return block


def response_head(status: int, headers: Iterable[Header]) -> bytes:
    """A checked response head as it goes on the wire; for answers that are not exchanges."""
    head = [status_line(status)]
    for name, value in headers:
        head += ((NAMES.get(name) or learnt(name))[1], value)
    return checked(head, len(head) // 2) + b"\r\n\r\n"


def error_response(status: int, code: str, message: str, *headers: Header) -> bytes:
    """The error envelope of spec 01 section 2.1 as a whole response that ends the connection."""
    body = codec.encode({"error": {"code": code, "message": message}})
    head = (
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *headers,
        (b"connection", b"close"),
    )
    return response_head(status, head) + body
