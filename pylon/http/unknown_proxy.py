"""Says once, at the first forwarded request, that a proxy seems to stand in front which nobody has
named: all its visitors are one address then, for rate limits, bounds of streams and the log.

A stage of production without `PYLON_TRUST_PROXY_HOPS`; refuses nothing. Who is trusted to say where
a request comes from is decided by the setting alone (`Request.client`).
"""

from __future__ import annotations

import logging

from pylon.http.request import Request

log = logging.getLogger("pylon.http")


class UnknownProxy:
    """The stage."""

    __slots__ = ("_is_told",)

    def __init__(self) -> None:
        self._is_told = False

    def __call__(self, request: Request) -> None:
        if b"x-forwarded-for" in request.headers and not self._is_told:
            self._is_told = True
            log.warning(
                "a request from %s has X-Forwarded-For, and PYLON_TRUST_PROXY_HOPS is 0: where a"
                " proxy stands in front, all its visitors count as one address (rate limits,"
                " streams, the log); set PYLON_TRUST_PROXY_HOPS=1, or the number of proxies."
                " Where none does, this was a client's own header, and is ignored. Not told again",
                request.peer,
            )
