"""How many of one client's long answers are made at a time: the others of the same client wait.

What is being made is counted nowhere else, neither as a read, which is over, nor as unsent, which
it is not yet. One client's waiting holds up nobody else.
"""

from __future__ import annotations

import asyncio
from collections import deque

from pylon import limits
from pylon.asking import address_key
from pylon.errors import PylonError


class Gate:
    """Lets `at_once` of each client address pass at a time, and `waiting_max` more wait."""

    def __init__(
        self,
        at_once: int = limits.ANSWERS_AT_ONCE,
        waiting_max: int = limits.ANSWERS_WAITING_MAX,
    ) -> None:
        self._at_once = at_once
        self._waiting_max = waiting_max
        self._inside: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def enter(self, address: str) -> None:
        """Come in, and `leave` afterwards; 503 `OVERLOADED` where too many wait already."""
        key = address_key(address)
        inside = self._inside.get(key, 0)
        if inside < self._at_once:
            self._inside[key] = inside + 1
            return
        queue = self._waiting.setdefault(key, deque())
        if len(queue) >= self._waiting_max:
            message = "Too many of your queries are being answered."
            raise PylonError(
                503,
                "OVERLOADED",
                message,
                "Wait for their answers.",
                retry_after_secs=limits.UNSENT_RETRY_SECONDS,
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                queue.remove(turn)
            else:
                self.leave(address)  # It had become its turn just now.
            raise

    def leave(self, address: str) -> None:
        """Hand the place on, or give it back."""
        key = address_key(address)
        queue = self._waiting.get(key)
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._waiting.pop(key, None)
        left = self._inside[key] - 1
        if left:
            self._inside[key] = left
        else:
            del self._inside[key]
