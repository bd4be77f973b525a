"""Which sessions have ended lately, for handshakes that were under way meanwhile.

A door looks up who is asking, and opens the stream some awaits later. It takes `mark` before the
one and asks `since` at the other, so that no stream of an ended session is left open. Filled by
`sessions.py` from the feed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from pylon import limits

State = Literal["open", "ended", "unknown"]


class EndedSessions:
    """The newest `limits.SESSIONS_ENDED_KEPT` ends, numbered."""

    def __init__(self) -> None:
        self._ended: OrderedDict[bytes, int] = OrderedDict()
        self._count = 0
        self._known_from = 0

    @property
    def mark(self) -> int:
        """How many sessions have ended; to be given to `since`."""
        return self._count

    def note(self, session_id: bytes) -> None:
        """A session is over, or means another caller."""
        self._count += 1
        self._ended[session_id] = self._count
        self._ended.move_to_end(session_id)
        if len(self._ended) > limits.SESSIONS_ENDED_KEPT:
            self._known_from = self._ended.popitem(last=False)[1]

    def note_gap(self) -> None:
        """Any session may have ended."""
        self._count += 1
        self._known_from = self._count
        self._ended.clear()

    def since(self, session_id: bytes | None, mark: int) -> State:
        """What has become of a session since `mark`; unknown after a gap or very many ends, when
        its client has to come again. Callers without a session are always open."""
        if session_id is None:
            return "open"
        if mark < self._known_from:
            return "unknown"
        return "ended" if self._ended.get(session_id, 0) > mark else "open"
