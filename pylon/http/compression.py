"""Large bodies as gzip, where the client takes it (RFC 9110 section 12.5.3).

Whole bodies of text only: streams leave as they come, and small bodies never get here. What may mix
secrets with what a stranger chose is left alone (BREACH): the paths handed in, and whatever a page
of another site asks for with the cookies of its visitor. Called by the pipeline; figures in
docs/decisions/0008.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import Final

from pylon import limits
from pylon.http.asgi import Header
from pylon.http.request import Request
from pylon.http.response import Response

_GZIP: Final = 16 + zlib.MAX_WBITS

_COMPRESSIBLE: Final = frozenset(
    (
        b"application/json",
        b"application/manifest+json",
        b"application/wasm",
        b"application/xml",
        b"image/svg+xml",
    )
)
"""Beside `text/*`."""

_REFUSED: Final = re.compile(rb"q\s*=\s*0(\.0*)?", re.IGNORECASE)

_VARY: Final = (b"vary", b"accept-encoding")


class Compression:
    """Compresses what is worth it; `paths_apart` are beginnings of paths that never are."""

    def __init__(self, level: int, *, paths_apart: tuple[str, ...] = ()) -> None:
        self._level = level
        self._paths_apart = paths_apart

    async def applied(self, request: Request, response: Response) -> Response:
        """The response as this client is to get it; `response` has a large body."""
        if not self._may_compress(request, response):
            return response
        headers = [*response.headers, _VARY]
        body = response.body
        if takes_gzip(request.headers.get(b"accept-encoding", b"")):
            if len(body) > limits.GZIP_BYTES_ON_LOOP_MAX:
                body = await asyncio.to_thread(self._gzip, body)
            else:
                body = self._gzip(body)
            headers = [_weak(header) for header in headers]
            headers.append((b"content-encoding", b"gzip"))
        return Response(response.status, body, content_type=response.content_type, headers=headers)

    def _may_compress(self, request: Request, response: Response) -> bool:
        kind = response.content_type.partition(b";")[0].strip()
        return (
            self._level > 0
            and (kind in _COMPRESSIBLE or kind.startswith(b"text/"))
            and not request.path.startswith(self._paths_apart)
            and not _is_foreign(request)
            and all(name != b"content-encoding" for name, _ in response.headers)
        )

    def _gzip(self, body: bytes) -> bytes:
        deflater = zlib.compressobj(self._level, zlib.DEFLATED, _GZIP)
        return deflater.compress(body) + deflater.flush()


def takes_gzip(accept_encoding: bytes) -> bool:
    """Whether the header names gzip and does not refuse it; `*` alone is no wish."""
    for part in accept_encoding.split(b","):
        name, _, weight = part.partition(b";")
        if name.strip().lower() == b"gzip":
            return _REFUSED.fullmatch(weight.strip()) is None
    return False


def _is_foreign(request: Request) -> bool:
    """Whether a page of another site asks with cookies; it cannot read the answer, but somebody on
    the line may measure it."""
    headers = request.headers
    return headers.get(b"sec-fetch-site") == b"cross-site" and b"cookie" in headers


def _weak(header: Header) -> Header:
    """The header as it is; an entity tag as a weak one, since the bytes are others."""
    name, value = header
    if name == b"etag" and not value.startswith(b"W/"):
        return name, b"W/" + value
    return header
