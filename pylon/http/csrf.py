"""Refuses state-changing requests that a foreign page sent with the visitor's cookie.

A present foreign origin is refused; a request without any (curl, a server, a native app) passes,
because no browser sends a cross-site POST without one (spec 01 section 6 and its weaknesses).
"""

from __future__ import annotations

from collections.abc import Sequence

from pylon.errors import PylonError
from pylon.http.authority import sole_host
from pylon.http.request import Request
from pylon.origins import is_loopback_origin

_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class CsrfCheck:
    """The stage. `origins` may contain `*`, and with `loopback` (dev mode) pages of this machine
    are trusted too; paths that start with one of `exempt_prefixes` are called by other servers with
    signatures of their own (webhooks) and are let through."""

    def __init__(
        self,
        origins: Sequence[str],
        *,
        loopback: bool = False,
        exempt_prefixes: tuple[str, ...] = (),
    ) -> None:
        self._loopback = loopback
        self._any = "*" in origins
        self._origins = frozenset(origins)
        self._exempt = exempt_prefixes

    def __call__(self, request: Request) -> None:
        if request.method not in _SAFE_METHODS:
            self.check(request)

    def check(self, request: Request) -> None:
        """Refuse a request of any method that a foreign page sent. For WebSocket handshakes that
        are known by their cookie: they are GETs, and browsers put no CORS before them."""
        if self._any:
            return
        headers = request.headers
        if headers.get(b"authorization", b"").startswith(b"Bearer "):
            return
        if self._exempt and request.path.startswith(self._exempt):
            return
        name = b"origin" if headers.get(b"origin") else b"referer"
        source = headers.get(name)
        if source is not None:
            if sum(other == name for other, _ in request.scope["headers"]) > 1:
                source = b""  # Which one counts is anybody's guess.
            self._refuse_foreign(request, source.decode("latin-1"))
        elif headers.get(b"sec-fetch-site") == b"cross-site":
            raise _rejected("a cross-site page")

    def _refuse_foreign(self, request: Request, source: str) -> None:
        parts = _origin_parts(source)
        if parts is None:
            raise PylonError(
                403,
                "CSRF_NO_ORIGIN",
                "The Origin of this state-changing request is opaque or malformed",
                "Send the request from a page with an origin, or with a Bearer token.",
            )
        scheme, authority = parts
        origin = f"{scheme}://{authority}"
        if origin in self._origins or (self._loopback and is_loopback_origin(origin)):
            return
        # Behind a proxy that ends TLS our own scheme is unknown, so only the host is compared; an
        # ambiguous one is nobody's.
        host = sole_host(request.scope["headers"])
        default_port = _DEFAULT_PORTS.get(scheme, "")
        if host is not None and host.removesuffix(default_port) == authority.removesuffix(
            default_port
        ):
            return
        raise _rejected(f"Origin '{origin}'")


def _origin_parts(source: str) -> tuple[str, str] | None:
    """Scheme and authority of an `Origin`, or of a `Referer` cut to its origin; None if opaque."""
    scheme, separator, rest = source.partition("://")
    authority = rest.partition("/")[0].partition("?")[0].partition("#")[0]
    if not separator or not scheme or not authority or "@" in authority:
        return None
    return scheme.lower(), authority.lower()


def _rejected(what: str) -> PylonError:
    return PylonError(
        403,
        "CSRF_REJECTED",
        f"{what} not allowed",
        "Add the origin to PYLON_CSRF_ORIGINS, or send a Bearer token.",
    )
