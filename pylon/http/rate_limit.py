"""How many requests one caller may make: a limiter of fixed cost, and the stage that uses it.

The limiter keeps one number per key (GCRA: the time at which the key's allowance is whole again)
and forgets idle keys; it knows nothing of requests, so other doors make limiters of their own. In
one of several processes it is a `SharedRateLimiter`; who carries its counts knows the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

from msgspec import Struct

from pylon import limits
from pylon.asking import address_key
from pylon.clock import Clock
from pylon.http.errors import HttpError
from pylon.http.request import Request


class Allowance(Struct, frozen=True, kw_only=True):
    """What a limiter grants each key; 0 for either is no limit."""

    requests_max: int
    window_seconds: float


class RateLimiter:
    """At most `requests_max` at once and as many per `window_seconds` after that, for each key.

    `requests_max` or `window_seconds` 0 switches it off. Keys live in two generations that change
    places once a window: a key untouched for a whole window has its full allowance again, so
    dropping it loses nothing. More than `keys_max` keys make the generations change early.
    """

    def __init__(
        self,
        *,
        requests_max: int,
        window_seconds: float,
        clock: Clock,
        keys_max: int = limits.RATE_LIMIT_KEYS_MAX,
    ) -> None:
        self.is_on = requests_max > 0 and window_seconds > 0
        self._window = float(window_seconds)
        self._interval = window_seconds / requests_max if self.is_on else 0.0
        self._now = clock.monotonic
        self._half = max(keys_max // 2, 1)
        self._recent: dict[str, float] = {}
        self._older: dict[str, float] = {}
        self._turn_at = 0.0

    def hit(self, key: str) -> int:
        """Count one request: 0 when it may pass, else the whole seconds to wait, at least 1."""
        if not self.is_on:
            return 0
        now = self._now()
        if now >= self._turn_at or len(self._recent) >= self._half:
            self._turn(now)
        whole_at = self._recent.get(key)
        if whole_at is None:
            whole_at = self._older.get(key, now)
        next_at = max(whole_at, now) + self._interval
        # The tolerance keeps rounding from costing the last request of the allowance.
        wait = next_at - now - self._window
        if wait > 1e-6:
            self._recent[key] = whole_at
            return max(1, math.ceil(wait))
        self._recent[key] = next_at
        return 0

    def _turn(self, now: float) -> None:
        self._older, self._recent = self._recent, {}
        self._turn_at = now + self._window

    def __len__(self) -> int:
        """Keys remembered now."""
        return len(self._recent) + len(self._older)


class SharedRateLimiter(RateLimiter):
    """A limiter of one of several processes: it also counts what the others let through.

    What they report makes a debt: a key that was let through here and there at the same time waits
    until it has made up for it. So over time it gets its rate however many processes it asks, but
    what it may do at once it may do in each of them before they have heard of one another. Debts
    above one window are forgiven, and those of a key that stays away for a window.
    """

    def __init__(self, *, requests_max: int, window_seconds: float, clock: Clock) -> None:
        super().__init__(requests_max=requests_max, window_seconds=window_seconds, clock=clock)
        self._counts: dict[str, int] = {}

    def hit(self, key: str) -> int:
        seconds = super().hit(key)
        if not seconds and self.is_on:
            counted = self._counts.get(key)
            if counted is not None:
                self._counts[key] = counted + 1
            elif len(self._counts) < limits.RATE_COUNTS_KEYS_MAX:
                self._counts[key] = 1
        return seconds

    def take_counts(self) -> dict[str, int]:
        """Requests let through here since the last call, by key."""
        counts, self._counts = self._counts, {}
        return counts

    def add_counts(self, counts: Mapping[str, int]) -> None:
        """Requests that another process has let through."""
        if not self.is_on:
            return
        now = self._now()
        most = now + 2 * self._window
        for key, count in counts.items():
            if now >= self._turn_at or len(self._recent) >= self._half:
                self._turn(now)
            whole_at = self._recent.get(key)
            if whole_at is None:
                whole_at = self._older.get(key, now)
            self._recent[key] = min(max(whole_at, now) + count * self._interval, most)


class RateLimit:
    """The stage: one allowance per client address, OPTIONS exempt, 429 `RATE_LIMITED` beyond it.

    `is_exempt` may excuse a request (the administrator's, for instance); it is asked only when the
    limit would refuse. Routes at `paths_apart` have an allowance of their own.
    """

    def __init__(
        self,
        limiter: RateLimiter,
        *,
        is_exempt: Callable[[Request], bool] | None = None,
        paths_apart: Collection[str] = (),
    ) -> None:
        self._limiter = limiter
        self._is_exempt = is_exempt
        self._paths_apart = frozenset(paths_apart)

    def __call__(self, request: Request) -> None:
        if not self._limiter.is_on or request.method == "OPTIONS":
            return
        if request.path in self._paths_apart:
            return
        seconds = self._limiter.hit(address_key(request.client))
        if seconds and not (self._is_exempt is not None and self._is_exempt(request)):
            raise rate_limited(seconds)


def rate_limited(seconds: int) -> HttpError:
    """429 with the message and the header that tell when to come back (spec 01 section 5)."""
    return HttpError(
        429,
        "RATE_LIMITED",
        f"Too many requests. Retry after {seconds} seconds.",
        headers=((b"retry-after", b"%d" % seconds),),
    )
