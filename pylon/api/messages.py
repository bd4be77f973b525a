"""What clients say on their WebSocket: JSON objects, handled by their `type` (spec 03 section 4.2).

Each connection has a bound of size and a token bucket, of which a long message takes more; one that
sends too fast is read more slowly, so nothing of an honest client is lost. What is malformed or
unknown is ignored, as the protocol has no errors. The features add their types with `on`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from pylon import limits
from pylon.clock import Clock
from pylon.codec import decode
from pylon.errors import PylonError
from pylon.http.allowance import Allowance
from pylon.http.asgi import Message
from pylon.identity import Identity
from pylon.live.outlet import Outlet

log = logging.getLogger("pylon.api")

Handler: TypeAlias = Callable[[Identity, Outlet, dict[str, Any]], Awaitable[None]]
"""Handles one message. It may raise `PylonError`, which nobody is told of; nothing else."""


class Messages:
    """The handlers by type."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._handlers: dict[str, Handler] = {}
        self._joiners: list[Callable[[Identity, Outlet], None]] = []
        self._leavers: list[Callable[[Outlet], None]] = []

    def on(self, kind: str, handler: Handler) -> None:
        """Handle messages of a type. A second handler for the same is a bug."""
        assert kind not in self._handlers, f"{kind} is handled twice"
        self._handlers[kind] = handler

    def on_join(self, joiner: Callable[[Identity, Outlet], None]) -> None:
        """Call `joiner` when a connection is open, before its first message."""
        self._joiners.append(joiner)

    def on_leave(self, leaver: Callable[[Outlet], None]) -> None:
        """Call `leaver` when a connection has ended, after its last message."""
        self._leavers.append(leaver)

    def leave(self, outlet: Outlet) -> None:
        """The connection has ended."""
        for leaver in self._leavers:
            leaver(outlet)

    def conversation(self, identity: Identity, outlet: Outlet) -> Conversation:
        """One connection's messages, from its first on."""
        for joiner in self._joiners:
            joiner(identity, outlet)
        return Conversation(self._handlers, self._clock, identity, outlet)


class Conversation:
    """The messages of one connection, one after another."""

    def __init__(
        self, handlers: dict[str, Handler], clock: Clock, identity: Identity, outlet: Outlet
    ) -> None:
        self._handlers = handlers
        self._clock = clock
        self._identity = identity
        self._outlet = outlet
        self._allowance = Allowance(
            per_second=limits.SOCKET_MESSAGES_PER_SECOND,
            burst=limits.SOCKET_MESSAGES_BURST,
            now=clock.monotonic(),
        )

    async def receive(self, message: Message) -> None:
        """Handle a `websocket.receive`; binary ones are ignored."""
        text = message.get("text")
        count = 1 + len(text or "") // limits.SOCKET_MESSAGE_CHARACTERS
        wait = self._allowance.take(count, self._clock.monotonic())
        if wait > 0:
            await asyncio.sleep(wait)
        if not text or len(text) > limits.SOCKET_TEXT_BYTES_MAX:
            return
        try:
            said = decode(text)
            kind = said.get("type") if isinstance(said, dict) else None
            handler = self._handlers.get(kind) if isinstance(kind, str) else None
            if handler is not None:
                await handler(self._identity, self._outlet, said)
        except PylonError as error:
            log.debug("a client message was ignored: %s", error.code)
