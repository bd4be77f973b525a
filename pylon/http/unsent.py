"""Answers that are made and not taken: how much of them is kept, for each client and in all.

What a client does not read stays in memory, and anybody may ask for much and read nothing. An
address that has its share waiting gets no more; when the process has its fill, those go first that
have been at it for longest. No I/O. Asked by `pipeline` before it sends a large answer, whole or in
pieces; small ones fit into the buffers of the system. Live streams have a bound of their own
(`live/slow`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from pylon import limits
from pylon.asking import address_key
from pylon.clock import Clock
from pylon.errors import PylonError

log = logging.getLogger("pylon.http")

_LOG_SECONDS: Final = 60.0
"""Least time between two lines of the log about answers that were cut."""


class Held:
    """One answer on its way."""

    __slots__ = ("cut", "key", "since", "size")

    def __init__(self, key: str, size: int, since: float, cut: Callable[[], object]) -> None:
        self.key = key
        self.size = size
        self.since = since
        self.cut = cut


class Unsent:
    """The answers of a process. A bound of 0 is none."""

    def __init__(
        self,
        clock: Clock,
        *,
        total_max: int = limits.UNSENT_BYTES_MAX,
        per_address_max: int = limits.UNSENT_BYTES_PER_ADDRESS_MAX,
    ) -> None:
        self._now = clock.monotonic
        self._total_max = total_max
        self._per_address_max = per_address_max
        self._held: dict[Held, None] = {}  # The oldest first.
        self._by_address: dict[str, int] = {}
        self._logs_at = 0.0
        self.bytes = 0
        """All that is kept."""
        self.refused = 0
        """Answers that were not sent, since there was no room for them."""
        self.cut = 0
        """Answers that were ended in the middle, to make room."""

    def of(self, address: str) -> int:
        """What is kept for this address."""
        return self._by_address.get(address_key(address), 0)

    def take(self, address: str, size: int, cut: Callable[[], object]) -> Held:
        """Keep an answer of so many bytes until `give_back`; else 503 `OVERLOADED`.

        An address for which nothing is kept may always have one, whatever its size. `cut` ends the
        answer, and has it given back.
        """
        key = address_key(address)
        mine = self._by_address.get(key, 0)
        if mine and 0 < self._per_address_max < mine + size:
            raise self._refusal("Too much of other answers waits for this address to take it.")
        now = self._now()
        if (
            self.bytes
            and 0 < self._total_max < self.bytes + size
            and not self._make_room(size, now)
        ):
            raise self._refusal("Too many large answers are on their way.")
        held = Held(key, size, now, cut)
        self._held[held] = None
        self._count(key, size)
        return held

    def shrink(self, held: Held, size: int) -> None:
        """It has become smaller (compressed)."""
        if held in self._held:
            self._count(held.key, size - held.size)
            held.size = size

    def give_back(self, held: Held) -> None:
        """It has been taken, or will not be. May be said twice."""
        if held in self._held:
            del self._held[held]
            self._count(held.key, -held.size)

    def _count(self, key: str, size: int) -> None:
        self.bytes += size
        mine = self._by_address.get(key, 0) + size
        if mine:
            self._by_address[key] = mine
        else:
            self._by_address.pop(key, None)

    def _make_room(self, size: int, now: float) -> bool:
        """End the oldest answers, where that is enough and each of them has had its time."""
        excess = self.bytes + size - self._total_max
        those: list[Held] = []
        for held in self._held:
            if excess <= 0 or now - held.since < limits.UNSENT_SECONDS_SAFE:
                break
            if held.size:
                those.append(held)
                excess -= held.size
        if excess > 0 and sum(held.size for held in those) < self.bytes:
            return False
        for held in those:
            self.give_back(held)
            held.cut()
        self.cut += len(those)
        if now >= self._logs_at:
            self._logs_at = now + _LOG_SECONDS
            log.warning("large answers were ended, since too many wait: %d so far", self.cut)
        return True

    def _refusal(self, message: str) -> PylonError:
        self.refused += 1
        return PylonError(
            503,
            "OVERLOADED",
            message,
            "Read the answers that are on their way, or ask for less at a time.",
            retry_after_secs=limits.UNSENT_RETRY_SECONDS,
        )
