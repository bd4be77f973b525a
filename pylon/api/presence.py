"""Presence and topics: the messages of the socket, and the list over HTTP (spec 03 section 4.2).

Here what clients say is read and bounded; who hears it is decided in `sync/presence_state.py`.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from pylon import limits
from pylon.api.messages import Handler
from pylon.codec import Raw, encode
from pylon.errors import PylonError
from pylon.http.describe import Docs, Parameter, json, listed, nullable, object_of
from pylon.http.request import Request
from pylon.http.response import Response, raw_json
from pylon.http.router import Router
from pylon.identity import Identity, require_session
from pylon.live.outlet import Outlet
from pylon.sync.presence import Presence

PRESENCE_PATH = "/api/sync/presence"


PRESENCE = Docs(
    operation_id="listPresent",
    tag="sync",
    answers=json(
        object_of(
            topic=nullable({"type": "string"}),
            clients=listed({"type": "object"}),
            count={"type": "integer"},
        )
    ),
    description="Those who have announced themselves on the topic, or in the space without one.",
    query=(Parameter(name="topic", schema={"type": "string"}, description="A topic's name."),),
    errors=("401 AUTH_REQUIRED",),
)


class PresenceRoutes:
    """The handlers."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence

    def register(self, router: Router) -> None:
        """Add the route."""
        router.add("GET", PRESENCE_PATH, self.list_present, summary="Who is present", docs=PRESENCE)

    def messages(self) -> dict[str, Handler]:
        """What sockets may say of presence and topics."""
        return {
            "presence": self.presence,
            "topic": self.topic,
            "topic-subscribe": self.subscribe,
            "topic-unsubscribe": self.unsubscribe,
        }

    async def list_present(self, request: Request) -> Response:
        """`{"topic", "clients": [{"clientId", "from", "data"?}], "count"}`."""
        identity = require_session(request.identity)
        topic = request.query("topic")
        clients, count = self._presence.listed(identity, topic)
        listed = [Raw(client) for client in clients]
        return raw_json(encode({"topic": topic, "clients": listed, "count": count}))

    # --- messages of the socket --------------------------------------------------------------

    async def presence(self, _: Identity, outlet: Outlet, said: dict[str, Any]) -> None:
        event, topic, room = said.get("event", "update"), said.get("topic"), said.get("room")
        if not (_is_name(event) and _is_name_or_none(topic) and _is_name_or_none(room)):
            return
        if event == "update":
            await self._presence.announce(outlet, topic, _data(said), room)
        elif event == "disconnect":
            self._presence.withdraw(outlet, topic)
        elif event == "list":
            self._presence.tell_list(outlet, topic)
        else:
            await self._presence.say(outlet, topic, _data(said), room=room, event=event)

    async def topic(self, _: Identity, outlet: Outlet, said: dict[str, Any]) -> None:
        topic, room = said.get("topic"), said.get("room")
        if _is_name(topic) and _is_name_or_none(room):
            await self._presence.say(outlet, topic, _data(said), room=room)

    async def subscribe(self, _: Identity, outlet: Outlet, said: dict[str, Any]) -> None:
        topic = said.get("topic")
        if _is_name(topic):
            self._presence.subscribe(outlet, topic)

    async def unsubscribe(self, _: Identity, outlet: Outlet, said: dict[str, Any]) -> None:
        topic = said.get("topic")
        if _is_name(topic):
            self._presence.unsubscribe(outlet, topic)


def _is_name(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= limits.PRESENCE_NAME_CHARACTERS_MAX


def _is_name_or_none(value: Any) -> bool:
    return value is None or _is_name(value)


def _data(said: dict[str, Any]) -> bytes | None:
    """The `data` of a message as JSON; None where there is none. Raises on too much of it."""
    if "data" not in said:
        return None
    try:
        data = encode(said["data"])
    except (RecursionError, ValueError, OverflowError):
        raise PylonError(400, "INVALID_DATA", "The data cannot be written as JSON.") from None
    if len(data) > limits.PRESENCE_DATA_BYTES_MAX:
        raise PylonError(413, "PAYLOAD_TOO_LARGE", "The data of a message is too large.")
    return data
