"""Time, in one place. Everything that needs the time takes a `Clock`, so tests can hold it.

Not here: timeouts and deadlines (see `limits`), sleeping (asyncio does that).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now(self) -> float:
        """Seconds since the Unix epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clock."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class ManualClock:
    """A clock that moves when told to; for tests."""

    def __init__(self, at: float = 1_767_225_600.0) -> None:
        self.at = at
        self.offset = 0.0

    def now(self) -> float:
        return self.at + self.offset

    def monotonic(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        """Move time forward by `seconds`."""
        self.at += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock on or back, as an operator or a time server does."""
        self.offset += seconds


def iso_seconds(epoch_seconds: float) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ`, the form of every timestamp that the server makes (spec 02 1.1)."""
    return _iso(int(epoch_seconds))


@lru_cache(maxsize=4096)
def _iso(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
