"""How fast one sender may go on: a token bucket, fed with the time.

Called where a connection's own messages are counted (`websocket_state`, `api/messages`). Limits
that many callers share by a key are `rate_limit`.
"""

from __future__ import annotations


class Allowance:
    """At most `burst` at once after a quiet time, and `per_second` from then on."""

    __slots__ = ("_burst", "_filled_at", "_left", "_per_second")

    def __init__(self, *, per_second: float, burst: float, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._filled_at = now

    def take(self, count: int, now: float) -> float:
        """Take `count`, which may be more than is left; the seconds until the debt is paid."""
        grown = self._left + (now - self._filled_at) * self._per_second
        self._left = left = min(grown, self._burst) - count
        self._filled_at = now
        return -left / self._per_second if left < 0 else 0.0
