"""Presence between processes: tells on the bus what is so here, and hears what is so elsewhere.

A thin shell: what is told stands in `presence_news.py`, what is made of what is heard in
`presence_others.py`. Where a process is alone nothing is gathered, encoded or sent. It may be a
beat (`limits.PRESENCE_BEAT_SECONDS`) until two processes know of each other, and until a lost
message is noticed; one that dies takes its members along after `limits.PRESENCE_GONE_SECONDS`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pylon import limits
from pylon.bus.base import Bus, Unanswered
from pylon.clock import Clock
from pylon.sync.presence_news import Batch, News, Page, Stands, weight
from pylon.sync.presence_others import Others
from pylon.sync.presence_state import PresenceState
from pylon.tasks import Tasks

TOPIC = "presence"

_encode = msgspec.msgpack.Encoder().encode
_decode_batch = msgspec.msgpack.Decoder(Batch).decode
_decode_page = msgspec.msgpack.Decoder(Page).decode
_decode_after = msgspec.msgpack.Decoder(int).decode


def first_id(node: int) -> int:
    """From where on a process numbers its sockets: 0 where it is alone for ever; else apart from
    all others for four million sockets, and exact in JavaScript (53 bits)."""
    return node << 22


class PresenceExchange:
    """One process's part. `heard` is called when members here may have to be told something."""

    def __init__(
        self,
        state: PresenceState,
        bus: Bus,
        tasks: Tasks,
        clock: Clock,
        heard: Callable[[], None],
    ) -> None:
        self.others = Others(state)
        self._state = state
        self._bus = bus
        self._tasks = tasks
        self._now = clock.monotonic
        self._heard = heard
        self._number = 0
        self._is_on = False

    async def start(self) -> None:
        """Be there for others."""
        if self._bus.node == 0:
            return
        self._is_on = True
        self._bus.subscribe(TOPIC, self._hear)
        self._bus.answer(_name(self._bus.node), self._answer)
        await self.beat()

    def stop(self) -> None:
        """Take leave, so that others need not wait for it."""
        if self._is_on:
            self._is_on = False
            self._state.news = None
            self._publish(Batch(self._number, is_last=True))

    def tell(self) -> None:
        """Tell what has gathered; with each relay."""
        news = self._state.news
        if news:
            for items in news.take(self._state.own):
                self._number += 1
                self._publish(Batch(self._number, items))

    async def beat(self) -> None:
        """A sign of life, and a look at those of the others; for a timer."""
        if self._bus.is_alone:
            if self._state.news is not None:
                # Whoever comes next, or was only cut off, is to notice that it missed something.
                self._state.news = None
                self._number += 1
        else:
            if self._state.news is None:
                self._state.news = News()
            self._publish(Batch(self._number))
        self.others.expire(self._now())
        self._ask_who_wants()
        self._heard()

    # --- parts -------------------------------------------------------------------------------

    def _publish(self, batch: Batch) -> None:
        if not self._bus.is_alone:
            self._bus.publish(TOPIC, _encode(batch))

    def _hear(self, node: int, message: bytes) -> None:
        if self._is_on:
            self.others.hear(node, _decode_batch(message), self._now())
            self._ask_who_wants()
            self._heard()

    def _ask_who_wants(self) -> None:
        for node in self.others.wanting(self._now()):
            self.others.ask(node, self._now())
            self._tasks.start("ask who is there", self._ask(node))

    async def _ask(self, node: int) -> None:
        after: int | None = -1
        try:
            while after is not None:
                answer = await self._bus.ask(
                    _name(node), _encode(after), seconds=limits.PRESENCE_ASK_SECONDS
                )
                page = _decode_page(answer)
                after = page.after if self.others.page(node, page) else None
        except Unanswered:
            self.others.give_up(node)
        self._heard()

    async def _answer(self, question: bytes) -> bytes:
        """All that is so here, of the members above one; in pages."""
        after = _decode_after(question)
        entries: list[Stands] = []
        size = 0
        for member, own in self._state.own_after(after):
            entries += own
            size += sum(map(weight, own))
            if size > limits.BUS_PAGE_BYTES:
                return _encode(Page(self._number, entries, member))
        return _encode(Page(self._number, entries, None))


def _name(node: int) -> str:
    return f"presence {node}"
