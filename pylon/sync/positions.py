"""Where each client's pulls have got to, so that a live stream can start just there.

The official client pulls, then connects, and says nothing of its cursor; what is written between
the two would be lost. So the hub replays from the lowest position that the client's pulls (one a
tab) have lately been given. In memory, bounded; a client of whom nothing is known any more is
sent back to pull, so forgetting never costs an event. In two processes: kept by the owner of the
database alone, and asked for by the others (`whereabouts.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from pylon.clock import Clock

RECENT_SECONDS = 60.0
"""A tab that connects later than this after its pull counts only if no tab has pulled since."""

LOST_SECONDS = 600.0
"""How long a lost stream counts: its client may connect again although its pull was lost too."""

CALLERS_MAX = 20_000
"""Callers remembered; the stalest goes first."""

TABS_MAX = 32
"""Pulls remembered per caller; of more, the two oldest become one."""


@dataclass(slots=True)
class _Pull:
    """One tab: the position that its last page ended at, or that its lost stream started from."""

    until: int
    at: float
    whole_from: int
    named: bool
    is_lost: bool = False
    is_spent: bool = False
    """Whether a stream has been opened on it."""
    is_void: bool = False
    """Whether it lies too far back for a stream to start there."""
    is_awaited: bool = False
    """Whether it became void before its stream was opened, so that its tab has to pull again."""

    def is_recent(self, now: float) -> bool:
        return now - self.at <= (LOST_SECONDS if self.is_lost else RECENT_SECONDS)


class Positions:
    """The latest pulls by caller: a session, or a client address (`pulls.py` says which)."""

    def __init__(self, clock: Clock) -> None:
        self._now = clock.monotonic
        self._started = clock.monotonic()
        self._by_caller: OrderedDict[bytes, list[_Pull]] = OrderedDict()

    @property
    def is_young(self) -> bool:
        """Whether clients that pulled before this was started may still come to connect."""
        return self._now() - self._started < RECENT_SECONDS

    def __len__(self) -> int:
        return len(self._by_caller)

    def pulled(
        self, caller: bytes, *, since: int, until: int, whole_from: int = 0, named: bool = True
    ) -> None:
        """A pull of this caller moved from `since` to `until`; one that failed stayed there.

        `whole_from` is what `PullPage.whole_from` says, `named` whether it was anybody's but the
        public's.
        """
        pulls = self._by_caller.setdefault(caller, [])
        self._by_caller.move_to_end(caller)
        arrived = self._arrived(pulls, since, until)
        if arrived is not None:
            pulls.remove(arrived)
        behind = [each for each in pulls if each.is_lost and each.is_void]
        if behind:
            pulls.remove(behind[-1])
        pulls.append(_Pull(until, self._now(), whole_from, named))
        self._bound(pulls)

    def _arrived(self, pulls: list[_Pull], since: int, until: int) -> _Pull | None:
        """The tab that presents this position: the one that was given it, else one whose stream
        has ended. It may have been any of these, so the lowest are kept.

        Every new tab presents 0, so moving on from there is no sign that another one has.
        """
        if not since and until:
            return None
        given = [each for each in pulls if each.until == since and not each.is_lost]
        if given:
            # Another tab at this position may have pulled: a word that one has to stays longest.
            return min(given, key=lambda each: each.is_awaited)
        lost = [each for each in pulls if each.is_lost and not each.is_void and each.until <= since]
        return max(lost, key=lambda each: each.until, default=None)

    def lost(self, caller: bytes, start: int) -> None:
        """A stream that had started at `start` has ended; how much of it arrived is unknown."""
        pulls = self._by_caller.get(caller)
        if pulls is None:
            return
        pulls.append(_Pull(start, self._now(), 0, True, is_lost=True))
        self._bound(pulls)

    def _bound(self, pulls: list[_Pull]) -> None:
        if len(pulls) > TABS_MAX:
            lower, upper = pulls.pop(0), pulls[0]
            if lower.until < upper.until and not lower.is_void:
                upper.until, upper.whole_from = lower.until, 0
        if len(self._by_caller) > CALLERS_MAX:
            self._by_caller.popitem(last=False)

    def whole_from(self, caller: bytes, position: int) -> int:
        """From where on the history behind this position is complete, if it was given out by a
        pull that started at 0; else 0."""
        pulls = self._by_caller.get(caller, ())
        return max((each.whole_from for each in pulls if each.until == position), default=0)

    def take_start(self, caller: bytes) -> int | None:
        """The position from which a new stream of this caller must start; None if unknown.

        Each pull pays for one stream. A stream without one belongs to a tab whose pull never
        arrived: nobody knows where that tab is, so it starts at 0.
        """
        pulls = self._by_caller.get(caller, ())
        for each in pulls:
            if not (each.is_lost or each.is_spent):
                each.is_spent = True
                return self.start_of(caller)
        return 0 if pulls else None

    def start_of(self, caller: bytes) -> int | None:
        """The lowest position that any tab of this caller may be at; None if unknown."""
        pulls = [each for each in self._by_caller.get(caller, ()) if not each.is_void]
        if not pulls:
            return None
        now = self._now()
        recent = [each.until for each in pulls if each.is_recent(now)]
        if not recent:
            # Tabs of a machine that slept all pulled long ago, but at about the same time.
            newest = pulls[-1].at
            recent = [each.until for each in pulls if each.is_recent(newest)]
        return min(recent)

    def is_named(self, caller: bytes) -> bool:
        """Whether somebody with an identity has lately pulled as this caller."""
        return any(each.named for each in self._by_caller.get(caller, ()))

    def forget(self, caller: bytes, position: int) -> None:
        """A stream could not start at this position: it lies too far back, and whoever is there or
        below has to pull."""
        pulls = self._by_caller.get(caller)
        if pulls is None:
            return
        for each in pulls:
            if each.until <= position:
                each.is_awaited = each.is_awaited or not (each.is_lost or each.is_spent)
                each.is_void = each.is_spent = True
        pulls.append(_Pull(position, self._now(), 0, False, is_lost=True, is_void=True))
        self._bound(pulls)

    def is_behind(self, caller: bytes) -> bool:
        """Whether some tab has to pull before a stream of this caller can start: each that was too
        far back, once. Nobody can tell which tab it is that opens a stream."""
        now = self._now()
        return any(
            (each.is_awaited or (each.is_lost and each.is_void)) and each.is_recent(now)
            for each in self._by_caller.get(caller, ())
        )
