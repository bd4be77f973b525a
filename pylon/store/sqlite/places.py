"""A few places that callers take in turn, so that one who asks for much waits behind itself.

A caller may have some of the places and some of the queue; the callers who wait are served one
after another, whoever of them asked more often. Used by `readers` for their threads; knows nothing
of what is done there.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class TooManyWaiting(Exception):
    """The queue is full, or this caller's part of it."""


class Places:
    """`count` places, of which one caller has at most `each` at a time; `waiting` may wait for one,
    `waiting_each` of one caller. None as the caller is the server, which is not bounded by itself.
    """

    def __init__(self, count: int, *, each: int, waiting: int, waiting_each: int) -> None:
        self._free = count
        self._each = each
        self._waiting_max = waiting
        self._waiting_each = waiting_each
        self._taken: Counter[Hashable] = Counter()
        self._queues: dict[Hashable, deque[asyncio.Future[None]]] = {}
        """Who waits, by caller; the caller whose turn is next stands first."""
        self._waiting = 0

    def __len__(self) -> int:
        """How many have a place or wait for one."""
        return self._waiting + self._taken.total()

    @asynccontextmanager
    async def place(self, caller: Hashable) -> AsyncIterator[None]:
        """Have a place for the length of the block; `TooManyWaiting` where nobody more may wait."""
        await self._take(caller)
        try:
            yield
        finally:
            self._give_back(caller)

    async def _take(self, caller: Hashable) -> None:
        if self._free and self._may_have_more(caller):
            # Whoever waits while a place is free has as many as it may have.
            self._hand_to(caller)
            return
        queue = self._queues.setdefault(caller, deque())
        is_full = caller is not None and len(queue) >= self._waiting_each
        if is_full or self._waiting >= self._waiting_max:
            if not queue:
                del self._queues[caller]
            raise TooManyWaiting
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(caller, turn)
            else:
                self._give_back(caller)  # it had become its turn just now
            raise

    def _may_have_more(self, caller: Hashable) -> bool:
        return caller is None or self._taken[caller] < self._each

    def _hand_to(self, caller: Hashable) -> None:
        self._free -= 1
        self._taken[caller] += 1

    def _give_back(self, caller: Hashable) -> None:
        self._free += 1
        self._taken[caller] -= 1
        if not self._taken[caller]:
            del self._taken[caller]
        if caller in self._queues:
            self._queues[caller] = self._queues.pop(caller)  # behind all others
        for other in list(self._queues):
            if not self._free:
                return
            if self._may_have_more(other):
                self._serve(other)

    def _serve(self, caller: Hashable) -> None:
        queue = self._queues.pop(caller)
        while queue:
            turn = queue.popleft()
            self._waiting -= 1
            if not turn.done():  # else it was cancelled in this turn of the loop
                self._hand_to(caller)
                turn.set_result(None)
                break
        if queue:
            self._queues[caller] = queue

    def _forget(self, caller: Hashable, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(caller, deque())
        if turn in queue:
            queue.remove(turn)
            self._waiting -= 1
            if not queue:
                del self._queues[caller]
