"""How many live streams are open, by client address and by door, and how many may be.

Counted by `live.py` when a stream opens and ends; read by the metrics and the sync status. In two
processes: each counts its own, and an address may have as many in each.
"""

from __future__ import annotations

from pylon.errors import PylonError
from pylon.http.asgi import Scope


class Places:
    """The open streams. A bound of 0 is none."""

    def __init__(self, *, per_address_max: int, total_max: int) -> None:
        self._per_address_max = per_address_max
        self._total_max = total_max
        self._per_address: dict[str, int] = {}
        self.by_door: dict[str, int] = dict.fromkeys(("main_ws", "ws", "main_sse", "sse"), 0)
        """Open streams by door: the two of the main port, and the two ports of their own."""
        self.refused = 0

    @property
    def taken(self) -> int:
        """Open streams."""
        return sum(self.by_door.values())

    @property
    def addresses(self) -> int:
        """Client addresses that have any."""
        return len(self._per_address)

    def check(self, address: str) -> None:
        """Pass if there is room for one more; else 429 or 503."""
        if 0 < self._per_address_max <= self._per_address.get(address, 0):
            self.refused += 1
            raise PylonError(
                429,
                "RATE_LIMITED",
                "Too many open streams from this address.",
                "Close some, or raise PYLON_SOCKETS_PER_ADDRESS.",
            )
        if 0 < self._total_max <= self.taken:
            self.refused += 1
            raise PylonError(
                503,
                "OVERLOADED",
                "Too many open streams.",
                "Try again shortly, or raise PYLON_WS_MAX_SOCKETS.",
            )

    def take(self, address: str, door: str) -> None:
        """A stream opens; raises like `check`. Give it back with `leave`."""
        self.check(address)
        self._per_address[address] = self._per_address.get(address, 0) + 1
        self.by_door[door] += 1

    def leave(self, address: str, door: str) -> None:
        """It has ended."""
        self.by_door[door] -= 1
        taken = self._per_address[address] - 1
        if taken > 0:
            self._per_address[address] = taken
        else:
            del self._per_address[address]


def door_of(scope: Scope) -> str:
    """The door that a stream came in by, as counted."""
    kind = "ws" if scope["type"] == "websocket" else "sse"
    return kind if scope.get("pylon.door") == kind else f"main_{kind}"
