"""Room in memory for request bodies: how many bytes of them may be there at the same time.

A body takes its room before it is read, and gives it back when its request is answered; meanwhile
its connection is not read, so that no more than a buffer of it is kept. Each client address has a
share, so that none can deny the others, and whoever sends slowly makes way for those who wait.
Bodies up to `limits.BODY_BYTES_FREE` pass without. Called by `Request` where a body is read; the
stage `body_limit` hands it out.

    a body:  WAITING -> READING (there is room) -> READ (it has come) -> over (`give_back`)
             WAITING -> refused (waited too long, or too many do)    READING -> too slow (408)
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator

from pylon import limits
from pylon.clock import Clock
from pylon.http.errors import HttpError


class Place:
    """The room of one body."""

    __slots__ = ("_room", "_since", "_timeout", "key", "received", "size")

    def __init__(self, room: BodyRoom, key: str, size: int) -> None:
        self._room = room
        self.key = key
        self.size = size
        self.received = 0
        """Bytes of the body that have come."""
        self._since = 0.0
        self._timeout: asyncio.Timeout | None = None

    def begin(self, timeout: asyncio.Timeout) -> None:
        """The body is read from now on; `timeout` ends that."""
        self._since = self._room.now()
        self._timeout = timeout

    def is_slow(self, now: float) -> bool:
        """Whether too little has come for the time that it has had."""
        seconds = now - self._since - limits.BODY_PACE_SECONDS
        wanted = seconds * limits.BODY_PACE_BYTES_PER_SECOND
        return self._timeout is not None and self.received < min(wanted, self.size)

    def make_way(self) -> None:
        """Read no more of it: others wait for the room."""
        timeout, self._timeout = self._timeout, None
        if timeout is not None and not timeout.expired():
            timeout.reschedule(0.0)

    def end(self) -> None:
        """The body has come, and is all that the room is needed for."""
        self._timeout = None
        if self.received < self.size:
            self._room.shrink(self, self.received)

    def give_back(self) -> None:
        """The body is not needed any more."""
        self._timeout = None
        self._room.give_back(self)


class BodyRoom:
    """The room of one process."""

    def __init__(
        self,
        clock: Clock,
        *,
        key_of: Callable[[str], str] = str,
        bytes_max: int = limits.BODIES_BYTES_MAX,
        body_bytes_max: int = limits.BODY_BYTES_MAX,
    ) -> None:
        """`key_of` makes of an address whose share it is in (`asking.address_key`).
        `body_bytes_max` is the largest usual body, for which an address always has room; one
        that is larger counts as what an address may have."""
        self.now = clock.monotonic
        self._key_of = key_of
        self._bytes_max = bytes_max
        self._bytes_per_address = max(bytes_max // limits.BODIES_ADDRESSES, body_bytes_max)
        self._taken: Counter[str] = Counter()
        self._places: set[Place] = set()
        self._waiting: deque[tuple[Place, asyncio.Future[None]]] = deque()
        self._looked_at = 0.0
        self.taken = 0
        """Bytes of room that are taken."""
        self.refused = 0
        """Bodies that have waited in vain, or could not even wait."""
        self.too_slow = 0
        """Bodies that made way for others."""

    @property
    def waiting(self) -> int:
        """Bodies that wait for room."""
        return len(self._waiting)

    async def take(self, address: str, size: int) -> Place:
        """Room for a body of `size` bytes, of this client address; waits until there is some.

        429 `TOO_MANY_BODIES` when the address itself has taken too much for too long, 503
        `OVERLOADED` when all together have.
        """
        place = Place(self, self._key_of(address), min(size, self._bytes_per_address))
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (place, ready)
        self._waiting.append(entry)
        self._admit()
        if ready.done():
            return place
        if self._are_too_many_waiting(place.key):
            self._waiting.pop()
            raise self._refusal(place)
        try:
            await self._wait(place, ready)
        except BaseException:
            if entry in self._waiting:
                self._waiting.remove(entry)
            else:
                self.give_back(place)
            raise
        return place

    def shrink(self, place: Place, size: int) -> None:
        """The place needs only so much of its room."""
        if place in self._places:
            self._count(place, size - place.size)
            place.size = size
            self._admit()

    def give_back(self, place: Place) -> None:
        """The place is free; again is nothing."""
        if place in self._places:
            self._places.remove(place)
            self._count(place, -place.size)
            self._admit()

    # --- parts ----------------------------------------------------------------------------------

    async def _wait(self, place: Place, ready: asyncio.Future[None]) -> None:
        until = self.now() + limits.BODY_WAIT_SECONDS_MAX
        while not ready.done():
            left = until - self.now()
            if left <= 0:
                raise self._refusal(place)
            self._hurry(place)
            await asyncio.wait((ready,), timeout=min(left, limits.BODY_PACE_SECONDS / 2))

    def _hurry(self, waiting: Place) -> None:
        """Have slow bodies make way, those that hold what this one waits for."""
        now = self.now()
        if now - self._looked_at < limits.BODY_PACE_SECONDS / 4:
            return
        self._looked_at = now
        is_all = self.taken + waiting.size > self._bytes_max
        for place in self._places:
            if (is_all or place.key == waiting.key) and place.is_slow(now):
                place.make_way()
                self.too_slow += 1

    def _are_too_many_waiting(self, key: str) -> bool:
        if len(self._waiting) > limits.BODIES_WAITING_MAX:
            return True
        own = sum(other.key == key for other, _ in self._waiting)
        return own > limits.BODIES_WAITING_PER_ADDRESS

    def _admit(self) -> None:
        """Give the free room to those who wait, in their order. One whose address has taken its
        share lets other addresses pass; one that is too large for what is left of all lets nobody
        pass, or it would never come to its turn."""
        for entry in self._next():
            self._waiting.remove(entry)
            place, ready = entry
            self._places.add(place)
            self._count(place, place.size)
            ready.set_result(None)

    def _next(self) -> Iterator[tuple[Place, asyncio.Future[None]]]:
        passed: set[str] = set()
        for entry in tuple(self._waiting):
            place = entry[0]
            if place.key in passed or self._is_share_taken(place):
                passed.add(place.key)
            elif self.taken + place.size > self._bytes_max:
                return
            else:
                yield entry

    def _is_share_taken(self, place: Place) -> bool:
        return self._taken[place.key] + place.size > self._bytes_per_address

    def _count(self, place: Place, change: int) -> None:
        self.taken += change
        self._taken[place.key] += change
        if not self._taken[place.key]:
            del self._taken[place.key]

    def _refusal(self, place: Place) -> HttpError:
        self.refused += 1
        headers = (
            (b"retry-after", b"%d" % max(1, int(limits.BODY_WAIT_SECONDS_MAX))),
            (b"connection", b"close"),
        )
        if self._is_share_taken(place):
            return HttpError(
                429,
                "TOO_MANY_BODIES",
                "Too many large bodies come from this address at the same time",
                "Send them one after another.",
                headers=headers,
            )
        return HttpError(
            503,
            "OVERLOADED",
            "Too many large bodies are in memory at the moment",
            "Try again after the seconds of Retry-After.",
            headers=headers,
        )
