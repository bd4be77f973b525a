"""Who is connected: HTTP connections by client address, and who goes when there are too many.

What only waits for its client goes first, and of the address that has the most: so one address
cannot keep all others out, with heads that it does not finish, with bodies, or with answers that it
does not take. No I/O. Asked by `connection` at each accept; WebSockets leave it once they are that,
since they have bounds of their own (`api/places`). One for all doors of a process.
"""

from __future__ import annotations

import enum
import heapq
import logging
from ipaddress import ip_address
from itertools import islice
from typing import Final, Protocol

from pylon import limits
from pylon.asking import address_key

log = logging.getLogger("pylon.http")

_ADDRESSES_LOOKED_AT: Final = 3
"""The most crowded addresses in which somebody to go is looked for."""

_CUT_SHARE: Final = 64
_CUT_MAX: Final = 32
"""Cut at once: this part of all that there may be, and at most so many. A look walks through all
addresses, which is a millisecond or two, so it is not done for each newcomer."""

_LOOK_SECONDS: Final = 0.1
"""After a look that found nobody, how long newcomers are turned away without another."""

_LOG_SECONDS: Final = 60.0
"""Least time between two lines of the log about this."""


class Waiting(enum.Enum):
    """What a connection is doing, as far as it matters here."""

    REQUEST = enum.auto()
    """Its client may send a request, or has begun to: nothing is lost but an idle connection."""

    CLIENT = enum.auto()
    """A request is under way, and its client has to send the rest of it or to take the answer."""

    US = enum.auto()
    """The client waits for us."""


class Member(Protocol):
    """A connection."""

    @property
    def waiting(self) -> Waiting: ...

    def cut(self) -> None:
        """End it at once; it leaves the crowd by this."""
        ...


class Crowd:
    """The open HTTP connections of a process.

    `total_max` counts WebSockets too. `per_address_max` 0: addresses are those of proxies, which
    speak for many, or the operator wants no such bound. This machine's own are never bounded.
    """

    def __init__(self, *, total_max: int, per_address_max: int) -> None:
        self._total_max = total_max
        self._per_address_max = per_address_max
        self._share = max(1, total_max // limits.CONNECTIONS_SHARES)
        self._cut_at_once = max(1, min(_CUT_MAX, total_max // _CUT_SHARE))
        self._by_address: dict[str, dict[Member, None]] = {}  # The longest connected first.
        self._looks_at = 0.0
        self._logs_at = 0.0
        self.cut_count = 0
        """Connections that were cut to make room."""
        self.refused_count = 0
        """Connections that were closed at accept."""

    def __len__(self) -> int:
        return sum(map(len, self._by_address.values()))

    def of(self, address: str) -> int:
        """Connections of this address."""
        return len(self._by_address.get(address_key(address), ()))

    def admit(self, member: Member, address: str, total: int, now: float) -> bool:
        """Let a connection in, in the place of others if need be; whether there was room.

        `total` are the connections of the process without it.
        """
        key = address_key(address)
        mine = self._by_address.get(key)
        if (
            mine is not None
            and 0 < self._per_address_max <= len(mine)
            and not _is_this_machine(address)
            and not self._cut(mine, Waiting.REQUEST, 1)
        ) or (total >= self._total_max and not self._make_room(now)):
            self.refused_count += 1
            self._tell(now, address)
            return False
        self._by_address.setdefault(key, {})[member] = None
        return True

    def leave(self, member: Member, address: str) -> None:
        """It has ended, or has become a WebSocket. Does nothing for one that is not there."""
        key = address_key(address)
        mine = self._by_address.get(key)
        if mine is not None:
            mine.pop(member, None)
            if not mine:
                del self._by_address[key]

    def _make_room(self, now: float) -> bool:
        if now < self._looks_at:
            return False
        crowded = heapq.nlargest(
            _ADDRESSES_LOOKED_AT, self._by_address.items(), key=lambda item: len(item[1])
        )
        for key, members in crowded:
            count = self._cut(members, Waiting.REQUEST, self._cut_at_once)
            if not count and self._per_address_max and len(members) > self._share:
                count = self._cut(members, Waiting.CLIENT, self._cut_at_once)
            if count:
                self._tell(now, key)
                return True
        self._looks_at = now + _LOOK_SECONDS
        return False

    def _cut(self, members: dict[Member, None], waiting: Waiting, count_max: int) -> int:
        """Cut those of an address that wait so, the longest connected first; how many."""
        those = (member for member in members if member.waiting is waiting)
        found = list(islice(those, count_max))
        for member in found:
            member.cut()
        self.cut_count += len(found)
        return len(found)

    def _tell(self, now: float, address: str) -> None:
        if now >= self._logs_at:
            self._logs_at = now + _LOG_SECONDS
            log.warning(
                "too many connections, at last from %s: %d were cut and %d refused so far",
                *(address, self.cut_count, self.refused_count),
            )


def _is_this_machine(address: str) -> bool:
    """Whether an address is this machine's own; also that of a Unix socket, which is empty."""
    try:
        return not address or ip_address(address).is_loopback
    except ValueError:
        return False
