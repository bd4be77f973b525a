"""Counts of rate limits, told to the other processes every `limits.RATE_COUNTS_SECONDS`.

Each process limits by itself, and hears from the others whom they have let through meanwhile. A
count that is lost is a request that only one process knows of. The limiters are those of
`http/rate_limit.py`; `assembly/counts.py` says which there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from pylon.bus.base import Bus

TOPIC = "rate counts"

Counts = dict[str, dict[str, int]]
"""Requests let through, by limiter and key."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Counts).decode


class Counted(Protocol):
    """A limiter that is one of several."""

    def take_counts(self) -> dict[str, int]:
        """Requests let through since the last call, by key."""
        ...

    def add_counts(self, counts: Mapping[str, int], /) -> None:
        """Requests that another process has let through."""
        ...


class CountExchange:
    """The limiters of one process, by names that are the same in all of them."""

    def __init__(self, bus: Bus, limiters: Mapping[str, Counted]) -> None:
        self._bus = bus
        self._limiters = limiters
        bus.subscribe(TOPIC, self._hear)

    async def exchange(self) -> None:
        """Tell what was let through since the last time; for a timer."""
        for name, limiter in self._limiters.items():
            counts = limiter.take_counts()
            if counts and not self._bus.is_alone:
                self._bus.publish(TOPIC, _encode({name: counts}))

    def _hear(self, _node: int, message: bytes) -> None:
        for name, counts in _decode(message).items():
            limiter = self._limiters.get(name)
            if limiter is not None:
                limiter.add_counts(counts)
