"""What waits to be said on one channel: messages in order, and values of which the latest counts.

A pointer that moves a hundred times before the next turn is said once, where it is then; what was
said in words all goes out, in order, up to a bound. Presence and topics keep one per channel; pure.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Outgoing(Generic[K]):
    """Messages (`add`) and keyed values (`put`), in one order."""

    __slots__ = ("_bytes_max", "_waiting", "message_bytes")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._waiting: dict[object, bytes | Callable[[], bytes]] = {}
        self.message_bytes = 0
        """Bytes of the messages among it."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, key: K, value: bytes | Callable[[], bytes]) -> None:
        """Say this, in place of what waits under the same key, and after all that waits now.

        A value may be made when it is said: it tells then what is so.
        """
        self._waiting.pop(key, None)
        self._waiting[key] = value

    def drop(self, key: K) -> None:
        """Say nothing of this key."""
        self._waiting.pop(key, None)

    def add(self, message: bytes) -> bool:
        """Say this after all that waits now; False where there is no room for it."""
        if self.message_bytes + len(message) > self._bytes_max:
            return False
        self._waiting[_Message(len(message))] = message
        self.message_bytes += len(message)
        return True

    def take(self) -> Iterator[bytes]:
        """What is to be said now, in order; what is more than the bound waits on."""
        taken = 0
        while self._waiting and taken <= self._bytes_max:
            key = next(iter(self._waiting))
            value = self._waiting.pop(key)
            if isinstance(key, _Message):
                self.message_bytes -= key.size
            said = value if isinstance(value, bytes) else value()
            taken += len(said)
            yield said


class _Message:
    """The key of a message: equal to no other."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size
