"""Who may fan out how much of the loop's time.

Each feature that writes to many sockets has a lane. Its turn takes what has gathered and writes it
in slices, between which requests get the loop; then the lane rests in proportion to what the turn
took, so that it never has more than its share, and all lanes together never more than
`limits.FAN_OUT_SHARE_MAX` (docs/decisions/0002). Lanes in the middle of a turn take slices in
turns. Not here: what is written to whom.

States of a lane: idle -> (`wake`) waiting for its time -> writing -> idle, or waiting again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from time import perf_counter
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from pylon import limits
from pylon.live.outlet import Outlet

log = logging.getLogger("pylon.live")

SOON_SECONDS = 0.0005
"""A shorter rest is not worth a timer."""

Write: TypeAlias = tuple[Outlet, bytes, int]
"""An outlet, the bytes of one write to it, and how many messages they are."""

T = TypeVar("T")


class Source(Protocol[T]):
    """A feature that fans out to `T`, an outlet or some of them; what a lane calls. None of these
    calls ever waits."""

    def begin(self) -> Iterator[tuple[T, bytes, int]]:
        """Take all that has gathered for a turn. The writes are made as the iterator is drawn."""
        ...

    def write(self, to: T, data: bytes, count: int, /) -> None:
        """Make one of them, unless the stream has ended since. The clock is looked at after it."""
        ...

    def end(self) -> bool:
        """The turn is over, its last write made. Whether more has gathered meanwhile."""
        ...

    def fail(self) -> None:
        """Something raised in the turn, which is over: streams may have missed their part of it."""
        ...


class Share:
    """What one lane may take, and from when on."""

    __slots__ = ("free_at", "part", "tick_seconds")

    def __init__(self, part: float, tick_seconds: float) -> None:
        self.part = part
        self.tick_seconds = tick_seconds
        self.free_at = 0.0


class Account:
    """Keeps the shares, by hand-fed time: pure."""

    def __init__(self, total: float) -> None:
        self._total = total
        self._free_at = 0.0

    def wait(self, share: Share, now: float) -> float:
        """The seconds until a turn of this lane may begin; 0 or less: now."""
        return max(share.free_at, self._free_at) - now

    def charge(self, share: Share, now: float, spent: float) -> None:
        """A turn that took `spent` seconds of the loop has ended."""
        rest = spent * (1.0 / share.part - 1.0)
        share.free_at = now + max(rest, share.tick_seconds)
        self._free_at = max(self._free_at, now) + spent * (1.0 / self._total - 1.0)


class Lane(Generic[T]):
    """The turns of one source."""

    def __init__(
        self, budget: Budget, name: str, source: Source[T], share: Share, slice_seconds: float
    ) -> None:
        self._budget = budget
        self._name = name
        self._source = source
        self._share = share
        self._slice_seconds = slice_seconds
        self._writes: Iterator[tuple[T, bytes, int]] = iter(())
        self._spent = 0.0
        self.is_idle = True
        """Whether nothing waits to be written, or is being written."""

    def wake(self) -> None:
        """Something has gathered: begin a turn as soon as there is time for one."""
        if self.is_idle:
            self.is_idle = False
            self._schedule()

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        wait = self._budget.account.wait(self._share, perf_counter())
        if wait > SOON_SECONDS:
            loop.call_later(wait, self._begin)
        else:
            loop.call_soon(self._begin)

    def _begin(self) -> None:
        started = perf_counter()
        if self._budget.account.wait(self._share, started) > SOON_SECONDS:
            self._schedule()  # another lane has had a turn meanwhile
            return
        try:
            self._writes = self._source.begin()
        except Exception:
            self._fail()
        self._spent = perf_counter() - started
        self._budget.enter(self)

    def draw(self) -> bool:
        """One slice of the turn; whether there is more."""
        started = perf_counter()
        stop_at = started + self._slice_seconds
        write = self._source.write
        is_more = False
        try:
            for to, data, count in self._writes:
                write(to, data, count)
                if perf_counter() > stop_at:
                    is_more = True
                    break
        except Exception:
            self._fail()
        self._spent += perf_counter() - started
        return is_more

    def end(self) -> None:
        """The turn is over: rest, and begin the next one where there is more."""
        self._writes = iter(())
        is_more = self._source.end()
        self._budget.account.charge(self._share, perf_counter(), self._spent)
        if is_more:
            self._schedule()
        else:
            self.is_idle = True

    def _fail(self) -> None:
        log.exception("a fan-out of %s failed", self._name)
        self._writes = iter(())
        self._source.fail()


class Budget:
    """The lanes of one process."""

    def __init__(self, total: float = limits.FAN_OUT_SHARE_MAX) -> None:
        self.account = Account(total)
        self._line: deque[Lane[Any]] = deque()
        self._is_drawing = False

    def lane(
        self,
        name: str,
        source: Source[T],
        *,
        part: float,
        slice_seconds: float,
        tick_seconds: float = 0.0,
    ) -> Lane[T]:
        """A lane that takes at most `part` of the loop's time, `slice_seconds` at once, with at
        least `tick_seconds` between two turns."""
        return Lane(self, name, source, Share(part, tick_seconds), slice_seconds)

    def enter(self, lane: Lane[Any]) -> None:
        """A turn of this lane has begun; its slices take turns with those of others."""
        self._line.append(lane)
        if not self._is_drawing:
            self._slice()

    def _slice(self) -> None:
        lane = self._line.popleft()
        if lane.draw():
            self._line.append(lane)
        else:
            lane.end()
        self._is_drawing = bool(self._line)
        if self._line:
            asyncio.get_running_loop().call_soon(self._slice)
