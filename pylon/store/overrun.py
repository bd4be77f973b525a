"""When code that computes is interrupted, and when it counts as stuck: decisions without a thread.

Times are seconds of one monotonic clock. Called by the thread of `watchdog.py`, a look at a time.

A case: quiet -> (its time is over) struck, again at each look -> named in the log -> stuck; quiet
again as soon as other work is on watch, or none.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from pylon import limits

NEVER: Final = float("inf")

GRACE_TIMES_MAX: Final = 4
"""How many times its bound code may get in addition while the machine was busy with others."""


class Verdict(Struct, frozen=True):
    """What to do after a look. `seconds` is how long strikes have been ignored."""

    strikes: bool = False
    names: bool = False
    seconds: float = 0.0


NOTHING: Final = Verdict()


class Case:
    """What is known of the work on one thread."""

    __slots__ = ("_deadline", "_grace", "_is_named", "_since", "_work")

    def __init__(self) -> None:
        self._work: object = None
        self._deadline = NEVER
        self._grace = 0.0
        self._since: float | None = None
        self._is_named = False

    def close(self) -> None:
        """Nothing is on watch."""
        self._work = None
        self._since = None

    def look(
        self, work: object, deadline: float, seconds: float, now: float, late: float
    ) -> Verdict:
        """Judge `work`, whose time of `seconds` ends at `deadline`.

        `late` is by how much this look itself came too late. So long the machine, or another
        thread, had the processor; that is not the work's fault and is added to its time.
        """
        if work is not self._work:
            self._work = work
            self._since = None
            self._is_named = False
        if deadline != self._deadline:
            self._deadline = deadline
            self._grace = 0.0
        if late > limits.COMPUTE_AGAIN_SECONDS:
            self._grace = min(self._grace + late, GRACE_TIMES_MAX * seconds)
        if now < deadline + self._grace:
            return NOTHING
        if self._since is None:
            self._since = now
        ignored = now - self._since
        names = not self._is_named and ignored >= limits.COMPUTE_NAMED_SECONDS
        self._is_named |= names
        return Verdict(strikes=True, names=names, seconds=ignored)

    def is_stuck(self, now: float) -> bool:
        """Whether strikes have been ignored for `limits.COMPUTE_STUCK_SECONDS`."""
        return self._since is not None and now - self._since >= limits.COMPUTE_STUCK_SECONDS
