"""Presence and topics on open sockets: carries what `presence_state.py` decides.

The relay is best effort, unlike the changes of rows: it never closes a stream and never waits for a
reader; one that is behind misses what is said meanwhile, and asks for the list. When it may write
is `live/budget.py`'s. Other processes are told in the same rhythm, and heard, by
`presence_exchange.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from pylon import limits
from pylon.bus.base import Bus
from pylon.clock import Clock
from pylon.identity import ADMIN_USER_ID, Identity
from pylon.live.budget import Budget, Write
from pylon.live.outlet import Encoding, Outlet
from pylon.sync.presence_exchange import PresenceExchange, first_id
from pylon.sync.presence_state import Delivery, PresenceState, Sharing, space_of
from pylon.tasks import Tasks


class Presence:
    """The relay of one server. All of it runs on the loop."""

    def __init__(
        self, sharing: Sharing, clock: Clock, budget: Budget, bus: Bus, tasks: Tasks
    ) -> None:
        self.state = PresenceState(first_id(bus.node))
        self.exchange = PresenceExchange(self.state, bus, tasks, clock, self._wake)
        self._sharing: Sharing = sharing
        self._now = clock.monotonic
        self._ids: dict[Outlet, int] = {}
        self._outlets: dict[int, Outlet] = {}
        self._lane = budget.lane(
            "presence",
            self,
            part=limits.PRESENCE_SHARE,
            slice_seconds=limits.PRESENCE_SLICE_SECONDS,
            tick_seconds=limits.PRESENCE_TICK_SECONDS,
        )
        self.relayed = 0
        """Messages written to sockets."""
        self.skipped = 0
        """Messages not written because the reader was behind."""

    # --- sockets come and go -----------------------------------------------------------------

    def join(self, identity: Identity, outlet: Outlet) -> None:
        """A socket has opened; it is told who is there, if anybody is."""
        space = space_of(identity, self._sharing)
        member_id = self.state.join(space, name_of(identity), self._now())
        self._ids[outlet] = member_id
        self._outlets[member_id] = outlet
        if self.state.listed(space, None)[1]:
            self.tell_list(outlet, None)

    def leave(self, outlet: Outlet) -> None:
        """It has closed."""
        member_id = self._ids.pop(outlet, None)
        if member_id is not None:
            del self._outlets[member_id]
            self.state.leave(member_id)
            self._wake()

    # --- what sockets say --------------------------------------------------------------------

    async def announce(
        self, outlet: Outlet, topic: str | None, data: bytes | None, room: str | None
    ) -> None:
        """Something that is so from now on, such as where the pointer is."""
        member_id = self._ids.get(outlet)
        if member_id is not None and self.state.announce(member_id, topic, data, room):
            await self._said(member_id, data)

    def withdraw(self, outlet: Outlet, topic: str | None) -> None:
        """The client does not want to be listed any more."""
        member_id = self._ids.get(outlet)
        if member_id is not None:
            self.state.withdraw(member_id, topic)
            self._wake()

    async def say(
        self,
        outlet: Outlet,
        topic: str | None,
        data: bytes | None,
        *,
        room: str | None = None,
        event: str | None = None,
    ) -> None:
        """A message, which is forgotten once it is sent."""
        member_id = self._ids.get(outlet)
        if member_id is not None:
            self.state.say(member_id, topic, data, room=room, event=event)
            await self._said(member_id, data)

    def subscribe(self, outlet: Outlet, topic: str) -> None:
        """Hear a topic. The answer is the list of who is present in it."""
        member_id = self._ids.get(outlet)
        if member_id is not None and self.state.subscribe(member_id, topic):
            self.tell_list(outlet, topic)
            self._wake()

    def unsubscribe(self, outlet: Outlet, topic: str) -> None:
        """No longer hear it."""
        member_id = self._ids.get(outlet)
        if member_id is not None:
            self.state.unsubscribe(member_id, topic)
            self._wake()

    def tell_list(self, outlet: Outlet, topic: str | None) -> None:
        """Send who is present, to one socket."""
        member_id = self._ids.get(outlet)
        message = None if member_id is None else self.state.list_message(member_id, topic)
        if message is not None:
            self.write(outlet, outlet.encoding.join([(0, message)]), 1)

    def listed(self, identity: Identity, topic: str | None) -> tuple[list[bytes], int]:
        """Who is present where this caller is; nobody in a topic that it does not hear."""
        space = space_of(identity, self._sharing)
        if topic is not None and not self.state.hears(space, name_of(identity), topic):
            return [], 0
        return self.state.listed(space, topic)

    async def _said(self, member_id: int, data: bytes | None) -> None:
        """Pass it on, and read the next message of a talkative client later."""
        self._wake()
        size = limits.PRESENCE_MESSAGE_BYTES_MIN + len(data or b"")
        wait = self.state.charge(member_id, size, self._now())
        if wait > 0:
            await asyncio.sleep(wait)

    # --- what sockets hear -------------------------------------------------------------------

    def _wake(self) -> None:
        if not self.state.is_quiet:
            self._lane.wake()

    def begin(self) -> Iterator[Write]:
        """The writes of a turn (`live/budget.Source`)."""
        self.exchange.tell()
        return self._writes(self.state.take())

    def _writes(self, deliveries: Sequence[Delivery]) -> Iterator[Write]:
        for delivery in deliveries:
            made: dict[Encoding, bytes] = {}
            count = len(delivery.messages)
            for member_id in delivery.members:
                outlet = self._outlets.get(member_id)
                if outlet is None:
                    continue
                data = made.get(outlet.encoding)
                if data is None:
                    events = [(0, message) for message in delivery.messages]
                    data = made[outlet.encoding] = outlet.encoding.join(events)
                yield outlet, data, count

    def write(self, outlet: Outlet, data: bytes, count: int) -> None:
        """Make one of them, unless the reader is behind."""
        if outlet.backlog() > limits.PRESENCE_BACKLOG_BYTES_MAX:
            self.skipped += count
            return
        self.relayed += count
        outlet.write(data)

    def end(self) -> bool:
        """Whether more has been said meanwhile."""
        return not self.state.is_quiet

    def fail(self) -> None:
        """What was lost is lost: it may be."""


def name_of(identity: Identity) -> str:
    """What others are told of a caller (spec 03 section 4.2)."""
    return "admin" if identity.user_id == ADMIN_USER_ID else identity.user_id or ""
