"""The inbox of a WebSocket: order and its two marks."""

from __future__ import annotations

import pytest

from pylon import limits
from pylon.http.asgi import Message
from pylon.http.inbox import Inbox


def text(data: str) -> Message:
    return {"type": "websocket.receive", "text": data}


def test_messages_come_out_as_they_went_in() -> None:
    inbox = Inbox()
    assert inbox.take() is None
    for number in range(3):
        inbox.put(text(str(number)))
    assert len(inbox) == 3
    assert [inbox.take() for _ in range(4)] == [text("0"), text("1"), text("2"), None]


@pytest.mark.parametrize(
    ("size", "upper", "lower"),
    [
        (0, limits.SOCKET_INBOX_MESSAGES_MAX, limits.SOCKET_INBOX_MESSAGES_MAX // 2),
        (limits.SOCKET_INBOX_BYTES_MAX // 8, 8, 4),
    ],
    ids=["messages", "bytes"],
)
def test_full_at_the_upper_mark_until_the_lower(size: int, upper: int, lower: int) -> None:
    inbox = Inbox()
    for _ in range(2):
        while len(inbox) < upper:
            assert not inbox.is_full
            inbox.put({"type": "websocket.receive", "bytes": b"x" * size})
        while len(inbox) > lower:
            assert inbox.is_full
            inbox.take()
        assert not inbox.is_full


def test_a_full_inbox_drops_nothing() -> None:
    inbox = Inbox()
    for number in range(3 * limits.SOCKET_INBOX_MESSAGES_MAX):
        inbox.put(text(str(number)))
    assert len(inbox) == 3 * limits.SOCKET_INBOX_MESSAGES_MAX
