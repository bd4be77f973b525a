"""Which origins' pages may read answers: one policy, the same on every response.

Prebuilt at start as header lists per origin, so a request costs one dict lookup. The weaknesses
of spec 01 section 4 are mended: a comma list, the matching origin echoed, also on errors.
"""

from __future__ import annotations

from collections.abc import Sequence

from pylon import limits
from pylon.http.asgi import Header
from pylon.origins import is_loopback_origin

_SENT = b"Content-Type, Authorization, X-Filename, Accept, Idempotency-Key"

_SHOWN = (
    b"X-Request-Id, Retry-After, Idempotency-Replayed, X-Pylon-Change-Seq, X-Pylon-Bearer-Rejected"
)

_ALLOWED: tuple[Header, ...] = (
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD"),
    (b"access-control-allow-headers", _SENT),
    (b"access-control-expose-headers", _SHOWN),
)

PREFLIGHT: tuple[Header, ...] = (
    (b"access-control-max-age", b"%d" % limits.CORS_PREFLIGHT_SECONDS),
)
"""What only the answer to OPTIONS adds."""


class Cors:
    """The CORS headers for each request's `Origin`.

    `*` answers every origin and never with credentials. One configured origin is always named, as
    the reference does; of several the one that asks is echoed, and an unlisted one gets no
    `Access-Control-Allow-Origin`. With `loopback` (dev mode) pages of this machine are named too,
    whatever their port.
    """

    def __init__(self, origins: Sequence[str], *, loopback: bool = False) -> None:
        self.by_origin: dict[bytes, list[Header]] = {}
        self._loopback = loopback
        if "*" in origins:
            self.otherwise = _block(b"*", credentials=False)
            return
        for origin in origins:
            name = origin.encode("latin-1")
            self.by_origin[name] = _block(name, credentials=True)
        if len(origins) == 1 and not loopback:
            self.otherwise = next(iter(self.by_origin.values()))
        else:
            self.otherwise = [(b"vary", b"Origin")]

    def headers(self, origin: bytes | None) -> list[Header]:
        """The prebuilt headers for a request from `origin`; not to be changed."""
        if origin is None:
            return self.otherwise
        return self.by_origin.get(origin) or self.unlisted(origin)

    def unlisted(self, origin: bytes) -> list[Header]:
        """The headers for an origin that stands in no setting."""
        if self._loopback and is_loopback_origin(origin.decode("latin-1")):
            return _block(origin, credentials=True)
        return self.otherwise


def _block(origin: bytes, *, credentials: bool) -> list[Header]:
    block: list[Header] = [(b"access-control-allow-origin", origin), *_ALLOWED]
    if credentials:
        block += [(b"access-control-allow-credentials", b"true"), (b"vary", b"Origin")]
    return block
