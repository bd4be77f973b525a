"""Large bodies as gzip, where the client takes it (RFC 9110 section 12.5.3).

Bodies of text only. Small ones never get here, and of streams only those that say it is worth it:
the others have to leave as they come. What may mix secrets with what a stranger chose is left alone
(BREACH): the paths handed in, and whatever a page of another site asks for with the cookies of its
visitor. Called by the pipeline; figures in docs/decisions/0008.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from pylon import limits
from pylon.http.asgi import Header
from pylon.http.request import Request
from pylon.http.response import AnyResponse, Response, StreamResponse

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

    async def applied(self, request: Request, response: AnyResponse) -> AnyResponse:
        """The response as this client is to get it; one that is whole has a large body."""
        if not self._may_compress(request, response):
            return response
        response.headers.append(_VARY)
        if not takes_gzip(request.headers.get(b"accept-encoding", b"")):
            return response
        headers = [*map(_weak, response.headers), (b"content-encoding", b"gzip")]
        if isinstance(response, StreamResponse):
            return StreamResponse(
                response.status,
                self._gzip_chunks(response.body),
                content_type=response.content_type,
                headers=headers,
                held_bytes=response.held_bytes,
            )
        body = await self._call(len(response.body), self._gzip, response.body)
        return Response(response.status, body, content_type=response.content_type, headers=headers)

    def _may_compress(self, request: Request, response: AnyResponse) -> bool:
        if isinstance(response, StreamResponse) and not response.may_compress:
            return False
        kind = response.content_type.partition(b";")[0].strip()
        return (
            self._level > 0
            and (kind in _COMPRESSIBLE or kind.startswith(b"text/"))
            and not request.path.startswith(self._paths_apart)
            and not _is_foreign(request)
            and all(name != b"content-encoding" for name, _ in response.headers)
        )

    async def _gzip_chunks(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        deflater = zlib.compressobj(self._level, zlib.DEFLATED, _GZIP)
        async for chunk in chunks:
            yield await self._call(len(chunk), deflater.compress, chunk)
        yield deflater.flush()

    @staticmethod
    async def _call(size: int, compress: Callable[[bytes], bytes], data: bytes) -> bytes:
        """Compress on the loop what takes little time, else on a thread."""
        if size > limits.GZIP_BYTES_ON_LOOP_MAX:
            return await asyncio.to_thread(compress, data)
        return compress(data)

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
