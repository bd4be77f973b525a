"""The stage that refuses bodies by what they announce, with larger limits for some paths.

What really arrives is counted again by whoever reads it (`Request.body`, `Request.stream`).
"""

from __future__ import annotations

from collections.abc import Mapping

from pylon import limits
from pylon.http.request import Request


class BodyLimit:
    """A stage. `raised` maps a path to the bytes that its body may have; others have
    `limits.BODY_BYTES_MAX`."""

    def __init__(self, raised: Mapping[str, int]) -> None:
        self._raised = dict(raised)

    def __call__(self, request: Request) -> None:
        if b"content-length" in request.headers:
            path = request.path.rstrip("/")
            request.refuse_declared_length(self._raised.get(path, limits.BODY_BYTES_MAX))
