"""The last stages of the pipeline: the headers every response gets, metrics and the access log.

The constant headers are prebuilt lists; what differs per response is put in front of them.
"""

from __future__ import annotations

from pylon.clock import Clock
from pylon.http.access_log import AccessLog
from pylon.http.asgi import Header
from pylon.http.cors import Cors
from pylon.http.request import Request
from pylon.http.response import AnyResponse, Response
from pylon.metrics import Metrics

SECURITY: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"x-xss-protection", b"1; mode=block"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (
        b"permissions-policy",
        b"accelerometer=(), camera=(), geolocation=(), gyroscope=(), microphone=(), payment=(),"
        b" usb=()",
    ),
)
"""On every response (spec 01 section 4; X-XSS-Protection for parity with the reference only)."""

_UNCOUNTED = frozenset(("/health", "/readyz"))


class Finish:
    """Completes every response, errors and streams included, and counts it."""

    def __init__(
        self,
        *,
        cors: Cors,
        metrics: Metrics,
        clock: Clock,
        access_log: AccessLog | None = None,
    ) -> None:
        self.metrics = metrics
        self._now = clock.monotonic
        self._access_log = access_log
        # CORS and security in one list per origin, so that a request joins two lists, not four.
        self._by_origin = {origin: [*block, *SECURITY] for origin, block in cors.by_origin.items()}
        self._otherwise = [*cors.otherwise, *SECURITY]
        self._cors = cors
        self._lines_by_origin = {
            origin: _lines(headers) for origin, headers in self._by_origin.items()
        }
        self._lines_otherwise = _lines(self._otherwise)

    def headers(self, request: Request, response: AnyResponse) -> list[Header]:
        """All headers of `response`, in a fresh list."""
        origin = request.headers.get(b"origin")
        constant = self._otherwise
        if origin is not None:
            constant = self._by_origin.get(origin) or self._unlisted(origin)
        headers = [
            (b"content-type", response.content_type),
            (b"x-request-id", request.request_id),
            *constant,
        ]
        if isinstance(response, Response) and response.status not in _BODILESS:
            headers.append((b"content-length", b"%d" % len(response.body)))
        if response.headers:
            headers += response.headers
        return headers

    def head(self, request: Request, response: Response) -> bytes:
        """`headers` as header lines, for servers that answer in one call; without the length, which
        no header of its own may tell."""
        origin = request.headers.get(b"origin")
        lines = self._lines_otherwise
        if origin is not None:
            known = self._lines_by_origin.get(origin)
            if known is None:
                block = self._unlisted(origin)
                known = lines if block is self._otherwise else _lines(block)
            lines = known
        if response.headers:
            lines += _lines(response.headers)
        return b"\r\ncontent-type: %b\r\nx-request-id: %b%b" % (
            response.content_type,
            request.request_id,
            lines,
        )

    def _unlisted(self, origin: bytes) -> list[Header]:
        block = self._cors.unlisted(origin)
        return self._otherwise if block is self._cors.otherwise else [*block, *SECURITY]

    def observe(self, request: Request, status: int) -> None:
        """Count the request and note it in the access log, once it is answered."""
        if request.path in _UNCOUNTED:
            return
        ended = self._now()
        self.metrics.observe(request.method, status, ended - request.started)
        if self._access_log is not None:
            self._access_log.add(request, status, ended)


_BODILESS = (204, 304)


def _lines(headers: list[Header]) -> bytes:
    """Headers as they stand in a response head, each with its line break before it."""
    lines = b""
    for header in headers:
        lines += b"\r\n%b: %b" % header
    assert lines.count(b"\r") == lines.count(b"\n") == len(headers), "a header has two lines"
    return lines
