"""Places that callers take in turn, so that one who asks for much waits behind itself.

A caller may have some of the places and some of the queue; those who wait are served one after
another, whoever of them asked more often. Used by `pools` for threads and processes, by the store
for long reads, and by `api/queries` for long answers; knows nothing of what is done with a place.
Bytes in memory are shared out by size and pace, see `http/body_room`.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Hashable


class FairQueue:
    """`count` places (None: as many as are asked for), of which one caller has at most `each`
    (None: all) at a time.

    `waiting_each_max` of one caller may wait for one, `waiting_max` in all (None: those of each),
    each for `seconds_max` (None: as long as it takes). None as the caller is the server, which is
    not bounded by itself. Whoever may not wait is raised a `refusal`.
    """

    def __init__(
        self,
        count: int | None,
        *,
        refusal: Callable[[], Exception],
        waiting_each_max: int,
        waiting_max: int | None = None,
        each: int | None = None,
        seconds_max: float | None = None,
    ) -> None:
        self._count = sys.maxsize if count is None else count
        self._each = sys.maxsize if each is None else each
        self._refusal = refusal
        self._waiting_max = sys.maxsize if waiting_max is None else waiting_max
        self._waiting_each_max = waiting_each_max
        self._seconds_max = seconds_max
        self._held: dict[Hashable, int] = {}
        """How many places each caller has that has any."""
        self._queues: dict[Hashable, deque[asyncio.Future[None]]] = {}
        """Who waits, by caller; the caller whose turn is next stands first."""
        self.taken = 0
        self.waiting = 0
        self.refused = 0

    def __len__(self) -> int:
        """How many have a place or wait for one."""
        return self.taken + self.waiting

    async def take(self, caller: Hashable) -> bool:
        """Wait for a place, and `give` it back afterwards; whether there was a queue."""
        if self.taken < self._count and self._may_have_more(caller):
            # Whoever waits while a place is free has as many as it may have.
            self._hand_to(caller)
            return False
        queue = self._queues.get(caller, ())
        is_full = caller is not None and len(queue) >= self._waiting_each_max
        if is_full or self.waiting >= self._waiting_max:
            raise self._refuse()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(caller, deque()).append(turn)
        self.waiting += 1
        try:
            async with asyncio.timeout(self._seconds_max):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.give(caller)  # it had become its turn just now
            else:
                self._leave(caller, turn)
            if isinstance(error, TimeoutError):
                raise self._refuse() from None
            raise
        return True

    def give(self, caller: Hashable) -> None:
        """Let go of a place; the next in turn has it."""
        was_full = self.taken >= self._count
        self.taken -= 1
        held = self._held[caller] - 1
        if held:
            self._held[caller] = held
        else:
            del self._held[caller]
        queue = self._queues.pop(caller, None)
        if queue is not None:
            self._queues[caller] = queue  # behind all others
        if not was_full:
            # There was a place for everybody who may have more: only this caller waited for one.
            if queue is not None and self._may_have_more(caller):
                self._serve(caller)
            return
        while self.taken < self._count:
            following = next(filter(self._may_have_more, self._queues), _NOBODY)
            if following is _NOBODY:
                return
            self._serve(following)

    # --- parts -------------------------------------------------------------------------------

    def _may_have_more(self, caller: Hashable) -> bool:
        return caller is None or self._held.get(caller, 0) < self._each

    def _hand_to(self, caller: Hashable) -> None:
        self.taken += 1
        self._held[caller] = self._held.get(caller, 0) + 1

    def _serve(self, caller: Hashable) -> None:
        """Give a place to the first of a caller who still waits; the others are last then."""
        queue = self._queues.pop(caller)
        while queue:
            turn = queue.popleft()
            self.waiting -= 1
            if not turn.done():  # else it was cancelled in this turn of the loop
                self._hand_to(caller)
                turn.set_result(None)
                break
        if queue:
            self._queues[caller] = queue

    def _leave(self, caller: Hashable, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(caller)
        if queue is not None and turn in queue:
            queue.remove(turn)
            self.waiting -= 1
            if not queue:
                del self._queues[caller]

    def _refuse(self) -> Exception:
        self.refused += 1
        return self._refusal()


_NOBODY = object()
