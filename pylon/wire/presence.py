"""Presence and topic messages as they go out (spec 03 section 4.3, 07 section 2.6).

Built here key by key, never copied from what a client sent: the official client takes any message
with `seq`, `entity` and `kind` for a change of a row. None of those keys can come out of here.
"""

from __future__ import annotations

from collections.abc import Iterable

from pylon.codec import Raw, encode


def presence_json(
    *,
    event: str,
    sender: str,
    client_id: int,
    topic: str | None,
    room: str | None,
    data: bytes | None,
) -> bytes:
    """What a client says of itself; `data` is JSON."""
    message: dict[str, object] = {"type": "presence", "event": event}
    _add(message, topic, room, data)
    return encode({**message, "from": sender, "clientId": client_id})


def topic_json(*, topic: str, sender: str, room: str | None, data: bytes | None) -> bytes:
    """A message to a topic."""
    message: dict[str, object] = {"type": "topic"}
    _add(message, topic, room, data)
    return encode({**message, "from": sender})


def disconnect_json(client_id: int, topic: str | None) -> bytes:
    """A client is no longer there."""
    message: dict[str, object] = {"type": "presence", "event": "disconnect"}
    _add(message, topic, None, None)
    return encode({**message, "clientId": client_id})


def here_json(client_id: int, sender: str, room: str | None, data: bytes | None) -> bytes:
    """One entry of a list of who is there."""
    entry: dict[str, object] = {"clientId": client_id, "from": sender}
    _add(entry, None, room, data)
    return encode(entry)


def list_json(here: Iterable[bytes], count: int, topic: str | None) -> bytes:
    """Who is there: entries, and how many there are in all."""
    message: dict[str, object] = {"type": "presence", "event": "list"}
    _add(message, topic, None, None)
    return encode({**message, "clients": [Raw(entry) for entry in here], "count": count})


def _add(
    message: dict[str, object], topic: str | None, room: str | None, data: bytes | None
) -> None:
    if topic is not None:
        message["topic"] = topic
    if room is not None:
        message["room"] = room
    if data is not None:
        message["data"] = Raw(data)
