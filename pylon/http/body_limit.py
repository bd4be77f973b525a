"""The stage that says how large a body may be, by who sends it and where to, and where it is kept.

Callers without a session may send `anonymous`, those with one (guests too)
`limits.BODY_BYTES_SESSION`, or `limits.BODY_BYTES_MAX` on routes whose `Docs` say `large_body`, and
administrators that anywhere. What is announced to be larger is refused here, before a byte is read;
what really arrives is counted by whoever reads it (`Request.body`, `Request.stream`).
"""

from __future__ import annotations

from collections.abc import Mapping

from pylon import limits
from pylon.http.body_room import BodyRoom
from pylon.http.request import Request


class BodyLimit:
    """A stage, behind the one that finds out who is asking. `raised` maps a path to the bytes that
    its bodies may have, whoever sends them: its handler decides about that."""

    def __init__(
        self,
        raised: Mapping[str, int],
        *,
        room: BodyRoom | None = None,
        anonymous: int = limits.BODY_BYTES_ANONYMOUS,
    ) -> None:
        self._raised = dict(raised)
        self._room = room
        self._anonymous = anonymous

    def __call__(self, request: Request) -> None:
        headers = request.headers
        has_length = b"content-length" in headers or b"transfer-encoding" in headers
        if request.method == "GET" and not has_length:
            return  # No body, or one that another server does not tell of and no handler reads.
        request.room = self._room
        identity = request.identity
        raised = self._raised.get(request.path.rstrip("/"))
        announced_max = raised or limits.BODY_BYTES_MAX
        if raised is not None:
            request.body_bytes_max = raised
        elif identity.user_id is None:
            request.body_bytes_max = announced_max = self._anonymous
        elif not identity.is_admin:
            request.body_bytes_max = limits.BODY_BYTES_SESSION  # The route may raise it.
        if b"content-length" in headers:
            request.refuse_declared_length(announced_max)
