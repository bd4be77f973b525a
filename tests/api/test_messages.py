"""Messages of clients: handled by type, bounded in size and pace, ignored when they are nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pylon import limits
from pylon.api.messages import Messages
from pylon.clock import ManualClock
from pylon.codec import encode
from pylon.errors import PylonError
from pylon.identity import Identity
from pylon.live.outlet import FRAMES, LINES, SERVER_SENT_EVENTS, BinaryMessage, Outlet
from pylon.live.sockets import QueueOutlet

ANN = Identity(user_id="ann")


async def test_messages_go_to_the_handler_of_their_type() -> None:
    heard: list[Any] = []
    messages = Messages(ManualClock())

    async def hear(identity: Identity, outlet: Outlet, said: dict[str, Any]) -> None:
        heard.append((identity, said["n"]))
        raise PylonError(400, "NO", "no")

    messages.on("hear", hear)
    talk = messages.conversation(ANN, QueueOutlet(LINES))
    sent: list[Any] = [{"type": "hear", "n": 1}, {"type": "other"}, {"type": 3}, [], {"n": 2}]
    for said in sent:
        await talk.receive({"type": "websocket.receive", "text": encode(said).decode()})
    for odd in ({"text": "{"}, {"bytes": b"x"}, {"text": None}, {}):
        await talk.receive({"type": "websocket.receive", **odd})
    long = encode({"type": "hear", "n": 2, "x": "y" * limits.SOCKET_TEXT_BYTES_MAX}).decode()
    await talk.receive({"type": "websocket.receive", "text": long})
    assert heard == [(ANN, 1)]


async def test_a_flood_is_read_at_a_steady_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    clock = ManualClock()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    talk = Messages(clock).conversation(ANN, QueueOutlet(LINES))
    for _ in range(limits.SOCKET_MESSAGES_BURST + 100):
        await talk.receive({"type": "websocket.receive", "text": "{}"})
    assert len(waits) == 100
    assert sum(waits) == pytest.approx(100 / limits.SOCKET_MESSAGES_PER_SECOND)
    clock.advance(3_600)
    for _ in range(limits.SOCKET_MESSAGES_BURST):
        await talk.receive({"type": "websocket.receive", "text": "{}"})
    assert len(waits) == 100


async def test_long_messages_count_more(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    clock = ManualClock()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    talk = Messages(clock).conversation(ANN, QueueOutlet(LINES))
    long = "[" + "[]," * 20_000 + "1]"
    for _ in range(100):
        await talk.receive({"type": "websocket.receive", "text": long})
    assert sum(waits) * limits.SOCKET_MESSAGES_PER_SECOND >= 1_500


def test_leaving_is_told() -> None:
    left: list[Outlet] = []
    messages = Messages(ManualClock())
    messages.on_leave(left.append)
    outlet = QueueOutlet(LINES)
    messages.leave(outlet)
    assert left == [outlet]


def test_binary_messages_of_each_carrier() -> None:
    assert FRAMES.binary(b"abc") == b"\x82\x03abc"
    assert isinstance(LINES.binary(b"a\nb"), BinaryMessage)
    assert SERVER_SENT_EVENTS.binary(b"abc") == b""
