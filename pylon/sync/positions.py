"""Where each client's pulls have got to, so that a live stream can start just there.

The official client pulls, then connects, and says nothing of its cursor; what is written between
the two would be lost. So the hub replays from the lowest position that the client's pulls (one a
tab) have lately been given. In memory, bounded; a client of whom nothing is known any more is
sent back to pull, so forgetting never costs an event.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from pylon.clock import Clock

RECENT_SECONDS = 60.0
"""A tab that connects later than this after its pull counts only if no tab has pulled since."""

CALLERS_MAX = 20_000
"""Callers remembered; the stalest goes first."""

TABS_MAX = 32
"""Pulls remembered per caller; of more, the two oldest become one."""


@dataclass(slots=True)
class _Pull:
    """One tab: the position that its last page ended at."""

    until: int
    at: float
    began: int
    named: bool


class Positions:
    """The latest pulls by caller: a session, or a client address (`pulls.py` says which)."""

    def __init__(self, clock: Clock) -> None:
        self._now = clock.monotonic
        self._by_caller: OrderedDict[bytes, list[_Pull]] = OrderedDict()

    def pulled(
        self, caller: bytes, *, since: int, until: int, began: int = 0, named: bool = True
    ) -> None:
        """A pull of this caller moved from `since` to `until`; one that failed stayed there.

        `began` is what `PullPage.began` says, `named` whether it was anybody's but the public's.
        """
        pulls = self._by_caller.setdefault(caller, [])
        self._by_caller.move_to_end(caller)
        # A tab that presents a position has arrived there. Only one of them has.
        arrived = next((each for each in pulls if each.until == since), None)
        if arrived is not None:
            pulls.remove(arrived)
        pulls.append(_Pull(until, self._now(), began, named))
        if len(pulls) > TABS_MAX:
            lower, upper = pulls.pop(0), pulls[0]
            if lower.until < upper.until:
                upper.until, upper.began = lower.until, 0
        if len(self._by_caller) > CALLERS_MAX:
            self._by_caller.popitem(last=False)

    def began(self, caller: bytes, position: int) -> int:
        """From where on the history behind this position is complete, if it was given out by a
        pull that started at 0; else 0."""
        pulls = self._by_caller.get(caller, ())
        return max((each.began for each in pulls if each.until == position), default=0)

    def start_of(self, caller: bytes) -> int | None:
        """The position from which a new stream of this caller must start; None if unknown."""
        pulls = self._by_caller.get(caller)
        if not pulls:
            return None
        now, newest = self._now(), pulls[-1].at
        # Tabs of a machine that slept all pulled long ago, but at about the same time.
        oldest = (now if now - newest <= RECENT_SECONDS else newest) - RECENT_SECONDS
        return min(each.until for each in pulls if each.at >= oldest)

    def is_named(self, caller: bytes) -> bool:
        """Whether somebody with an identity has lately pulled as this caller."""
        return any(each.named for each in self._by_caller.get(caller, ()))

    def forget(self, caller: bytes, position: int) -> None:
        """Streams cannot start at this position or below: it lies too far back."""
        pulls = self._by_caller.get(caller)
        if pulls is None:
            return
        pulls[:] = [each for each in pulls if each.until > position]
        if not pulls:
            del self._by_caller[caller]
