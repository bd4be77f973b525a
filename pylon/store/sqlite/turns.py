"""Whose turn it is to write: the writer's queue and its decisions, without I/O or await.

Times are seconds of the loop's clock. `writer.py` does what is decided here.

    IDLE -> (a unit arrives) SCHEDULED -> RUNNING or HELD -> COMMITTING -> IDLE or SCHEDULED
    RUNNING -> (a unit wants something long) ASIDE -> RUNNING
    SCHEDULED -> (somebody else has the lock) LOCKING -> RUNNING, HELD, or refused: IDLE
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from enum import Enum, auto
from math import ceil
from typing import Any, Final, TypeAlias

from msgspec import Struct

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import Unit


class State(Enum):
    """What the writer is doing; who may touch the write connection follows from it."""

    IDLE = auto()
    """Nothing is queued."""
    SCHEDULED = auto()
    """A turn of the loop will begin the next transaction."""
    LOCKING = auto()
    """The commit thread waits for somebody else's lock and has the connection."""
    RUNNING = auto()
    """A transaction is open; the loop runs units in it, in this turn and in following ones."""
    ASIDE = auto()
    """The commit thread does something long for the unit that runs, and has the connection."""
    HELD = auto()
    """A transaction is open for one held unit, which runs in a task of its own; it may have given
    the connection to the commit thread for a while."""
    COMMITTING = auto()
    """The commit thread has the connection."""


_IDLE: Final = State.IDLE  # a member takes longer to look up than the rest of `admit`


class Wish(Struct, frozen=True, kw_only=True):
    """What a unit is to have that others have not; see `Store.write` and `Store.hold`."""

    alone: bool = False
    compute_seconds: float | None = None
    context: Context | None = None
    """Of a held unit: where its task runs."""


ORDINARY: Final = Wish()

Queued: TypeAlias = tuple[Unit[Any], asyncio.Future[Any], float, Wish]
"""A unit that waits, the future of its result, and the time until which it may wait. A plain tuple
since one is made for every write."""


class Turns:
    """Two queues, of ordinary and of held units, and what comes next.

    Ordinary units come in order, in batches of those that waited when their transaction began; one
    that is to be alone is a batch. A held unit goes before a batch, but after one, the next waits
    until the others had four times as long.
    """

    def __init__(self) -> None:
        self.state = State.IDLE
        self._queue: deque[Queued] = deque()
        self._held: deque[Queued] = deque()
        self._held_from = 0.0
        self._alone = 0  # how many in the queue are to be alone
        self.batch: deque[Queued] = deque()
        """Those whose transaction is open and who have not begun, in order."""

    @property
    def waiting(self) -> int:
        """Units in the queues."""
        return len(self._queue) + len(self.batch) + len(self._held)

    # --- coming ------------------------------------------------------------------------------

    def admit(self, queued: Queued) -> bool:
        """Queue a unit; whether to begin a transaction for it. 503 when there are too many."""
        if len(self._queue) >= limits.WRITES_WAITING_MAX:
            raise PylonError(
                503, "OVERLOADED", "Too many writes are waiting.", "Try again shortly."
            )
        self._queue.append(queued)
        if queued[3].alone:
            self._alone += 1
        return self.state is _IDLE

    def admit_held(self, queued: Queued, now: float) -> bool:
        """The same for a held unit, which is refused too when its turn cannot come in time."""
        if len(self._held) >= limits.HELD_WAITING_MAX or self._held_from > queued[2]:
            raise waited_too_long(self._held_from - now)
        self._held.append(queued)
        return self.state is _IDLE

    # --- going without having been run -------------------------------------------------------

    def expire(self, now: float) -> list[Queued]:
        """Take out those whose time is over."""
        over: list[Queued] = []
        for queue in (self._queue, self._held):
            while queue and queue[0][2] <= now:
                over.append(queue.popleft())
        self._count_alone()
        return over

    @property
    def next_expiry(self) -> float | None:
        """When the first of those that wait is to be taken out; None when nobody waits."""
        ends = [queue[0][2] for queue in (self._queue, self._held) if queue]
        return min(ends, default=None)

    def drain(self, *, only_held: bool = False) -> Iterator[Queued]:
        """Take out everybody, to be refused."""
        for queue in (self._held,) if only_held else (self._queue, self._held):
            while queue:
                yield queue.popleft()
        self._count_alone()

    def _count_alone(self) -> None:
        if self._alone:
            self._alone = sum(queued[3].alone for queued in self._queue)

    # --- turns -------------------------------------------------------------------------------

    def begin(self, clock: Callable[[], float]) -> Queued | None:
        """A transaction is open: the held unit that it is for, or None when it is for `batch`."""
        while self._held and clock() >= self._held_from:
            held = self._held.popleft()
            if not held[1].done():  # else its caller has gone
                self.state = State.HELD
                return held
        self.state = State.RUNNING
        queue = self._queue
        if len(queue) <= limits.WRITE_BATCH_MAX and not self._alone:
            self.batch, self._queue = queue, self.batch
            return None
        while queue and len(self.batch) < limits.WRITE_BATCH_MAX:
            is_alone = queue[0][3].alone
            if is_alone and self.batch:
                break
            self.batch.append(queue.popleft())
            if is_alone:
                self._alone -= 1
                break
        return None

    @property
    def is_alone(self) -> bool:
        """Whether the open transaction is that of a single unit by its own wish."""
        return self.state is State.HELD or bool(self.batch and self.batch[0][3].alone)

    def held_for(self, seconds: float, now: float) -> None:
        """A held unit has ended; the next waits for the others."""
        self._held_from = now + limits.HELD_PAUSE_TIMES * seconds

    def end(self) -> None:
        """A transaction is over, or could not begin; what is left of its batch comes next."""
        self.state = State.IDLE
        if self.batch:
            self._queue.extendleft(reversed(self.batch))
            self._alone += sum(queued[3].alone for queued in self.batch)
            self.batch.clear()

    def due(self, clock: Callable[[], float]) -> float | None:
        """In how many seconds the next transaction is to begin; None: when a unit comes."""
        if self._queue:
            return 0.0
        return max(0.0, self._held_from - clock()) if self._held else None


def waited_too_long(seconds: float = 0.0) -> PylonError:
    """The refusal of a write that waited in vain, or would; `seconds` from now it might not."""
    return PylonError(
        503,
        "OVERLOADED",
        "The write waited too long for its turn.",
        "Try again shortly.",
        retry_after_secs=max(limits.WRITE_RETRY_SECONDS, ceil(seconds)),
    )
