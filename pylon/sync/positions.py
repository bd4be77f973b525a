"""Where each session's pulls have got to, so that a live stream can start just there.

The official client pulls, then connects, and says nothing of its cursor; what is written between
the two would be lost. So the hub replays from the lowest position that the session's pulls (one
a tab) have lately been given. In memory, bounded; forgetting costs a replay, never an event.
"""

from __future__ import annotations

from collections import OrderedDict

from pylon.clock import Clock

RECENT_SECONDS = 60.0
"""A tab that connects later than this after its pull is served from its latest position."""

SESSIONS_MAX = 20_000
"""Sessions remembered; the stalest goes first."""

TABS_MAX = 16
"""Positions remembered per session."""


class Positions:
    """The latest pull positions by session."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_session: OrderedDict[bytes, dict[int, float]] = OrderedDict()

    def pulled(self, session: bytes, *, since: int, until: int) -> None:
        """A pull of this session moved from `since` to `until`."""
        tabs = self._by_session.setdefault(session, {})
        self._by_session.move_to_end(session)
        tabs.pop(since, None)
        tabs.pop(until, None)
        tabs[until] = self._clock.monotonic()
        while len(tabs) > TABS_MAX:
            tabs.pop(next(iter(tabs)))
        while len(self._by_session) > SESSIONS_MAX:
            self._by_session.popitem(last=False)

    def start_of(self, session: bytes) -> int | None:
        """The position from which a new stream of this session must start; None if unknown."""
        tabs = self._by_session.get(session)
        if not tabs:
            return None
        oldest = self._clock.monotonic() - RECENT_SECONDS
        recent = [position for position, at in tabs.items() if at >= oldest]
        return min(recent) if recent else next(reversed(tabs))
