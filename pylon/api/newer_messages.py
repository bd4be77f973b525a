"""What newer clients say on their socket that is not there yet, and their ping (spec 09 section 3).

Live functions and rooms are answered in the shape of their errors, so that a client can say so and
does not wait for ever. Ends of such subscriptions need no answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pylon.api.messages import Handler
from pylon.codec import encode
from pylon.identity import Identity
from pylon.live.outlet import Outlet

PONG: Final = b'{"type":"pong"}'

NOT_SUPPORTED: Final = "NOT_SUPPORTED"

ECHOED_CHARACTERS_MAX: Final = 1_024
"""Of an id or a name that an answer repeats; a client with a longer one is not answered."""


class NewerMessages:
    """Answers them, by `write` of the hub."""

    def __init__(self, write: Callable[[Outlet, bytes, int], None]) -> None:
        self._write = write

    def handlers(self) -> dict[str, Handler]:
        """By type of message."""
        return {
            "ping": self.ping,
            "reactive-subscribe": self.refuse_live_function,
            "room-subscribe": self.refuse_room,
        }

    async def ping(self, _: Identity, outlet: Outlet, __: dict[str, Any]) -> None:
        self._tell(outlet, PONG)

    async def refuse_live_function(self, _: Identity, outlet: Outlet, said: dict[str, Any]) -> None:
        sub_id = said.get("sub_id")
        if _is_short(sub_id):
            message = "This server has no live functions. Call the function, or query rows live."
            self._refuse(outlet, {"type": "reactive-error", "sub_id": sub_id}, message)

    async def refuse_room(self, _: Identity, outlet: Outlet, said: dict[str, Any]) -> None:
        room = said.get("room")
        if _is_short(room):
            message = "This server has no rooms. Presence and topics do without them."
            self._refuse(outlet, {"type": "error", "room": room}, message)

    def _refuse(self, outlet: Outlet, answer: dict[str, Any], message: str) -> None:
        self._tell(outlet, encode({**answer, "code": NOT_SUPPORTED, "message": message}))

    def _tell(self, outlet: Outlet, payload: bytes) -> None:
        self._write(outlet, outlet.encoding.join([(0, payload)]), 0)


def _is_short(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= ECHOED_CHARACTERS_MAX
    return isinstance(value, int)
