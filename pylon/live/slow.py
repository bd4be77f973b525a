"""Readers that stop taking what is written to them: who they are, and when they are given up.

A reader is slow when one outlet holds too much, when its oldest bytes have waited too long, or when
it is the furthest behind of all that together hold too much. It is closed and comes back; nothing
is ever skipped. Each feature with streams adds its readers to the one `SlowReaders` of the process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, Protocol, TypeVar

from pylon import limits
from pylon.live.outlet import Outlet

SWEEP_SECONDS = 5.0
"""How often readers are looked over for ones that stopped reading."""

T = TypeVar("T")


def is_full(outlet: Outlet) -> bool:
    """Whether a reader has so much still to take that nothing more is written to it."""
    return outlet.backlog() > limits.OUTBOX_BYTES_MAX


class Patience:
    """Since when the oldest bytes of one reader wait, by hand-fed time."""

    __slots__ = ("_looks",)

    def __init__(self) -> None:
        self._looks: list[tuple[float, int]] = []
        """When how much had been written in all, as far as that has not been taken yet."""

    def waits_since(self, now: float, written: int, backlog: int) -> float:
        """Since when the oldest of `backlog` bytes wait, as far as anybody looked; `now` when
        there are none. `written` counts all bytes ever written, these included."""
        if not backlog:
            self._looks = []
            return now
        taken = written - backlog
        self._looks = [look for look in self._looks if look[1] > taken]
        self._looks.append((now, written))
        return self._looks[0][0]


@dataclass(frozen=True, slots=True)
class Behind(Generic[T]):
    """A reader for which `size` bytes are kept, in buffers that it shares with those of equal
    `shared_with`."""

    size: int
    shared_with: Hashable
    reader: T


def furthest_behind(behind: Iterable[Behind[T]], total_max: int) -> list[T]:
    """Whom to give up, the furthest first, so that all of them together keep `total_max` bytes.

    Those who share buffers wait for the same bytes, so of each such group the furthest counts.
    """
    in_order = sorted(behind, key=lambda each: -each.size)
    sizes: dict[Hashable, deque[int]] = {}
    for each in in_order:
        sizes.setdefault(each.shared_with, deque()).append(each.size)
    total = sum(of_group[0] for of_group in sizes.values())
    given_up: list[T] = []
    for each in in_order:
        if total <= total_max:
            break
        of_group = sizes[each.shared_with]
        of_group.popleft()
        total -= each.size - (of_group[0] if of_group else 0)
        given_up.append(each.reader)
    return given_up


class Watched(Protocol):
    """A reader as it is looked over."""

    @property
    def outlet(self) -> Outlet: ...

    def kept_bytes(self) -> int:
        """Bytes that are kept for it beside its outlet, as while it is replayed what it missed."""
        ...

    def shared_with(self) -> Hashable:
        """Equal for readers that are written the same buffers."""
        ...

    def give_up(self, reason: str) -> None:
        """End it so that its client comes back, and discard it from here."""
        ...


class SlowReaders:
    """All readers of the process, looked over every `SWEEP_SECONDS`."""

    def __init__(self) -> None:
        self._watched: dict[Watched, Patience] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, reader: Watched) -> None:
        """Look after a reader until it is discarded."""
        self._watched[reader] = Patience()
        if self._timer is None:
            self._schedule()

    def discard(self, reader: Watched) -> None:
        """It has ended."""
        self._watched.pop(reader, None)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        now = perf_counter()
        behind: list[Behind[Watched]] = []
        for reader, patience in list(self._watched.items()):
            outlet = reader.outlet
            backlog, kept = outlet.backlog(), reader.kept_bytes()
            since = patience.waits_since(now, outlet.written(), backlog)
            if now - since > limits.OUTBOX_SECONDS_MAX:
                reader.give_up("reader too slow")
            elif kept > limits.JOINING_BYTES_MAX:
                reader.give_up("too much to replay")
            elif backlog + kept:
                behind.append(Behind(backlog + kept, reader.shared_with(), reader))
        for reader in furthest_behind(behind, limits.OUTBOX_TOTAL_BYTES_MAX):
            reader.give_up("readers too slow")
        self._timer = None
        if self._watched:
            self._schedule()
