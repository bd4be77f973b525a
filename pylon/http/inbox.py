"""What a client has said and its app has not received: bounded by two marks, without I/O.

At the upper mark the client must wait; it goes on when the app has received down to the lower one.
Filled and emptied by `websocket_state`.
"""

from __future__ import annotations

from typing import Final

from pylon import limits
from pylon.http.asgi import Message

_LOW: Final = 2
"""The lower mark is the upper one divided by this: reading that goes on after each message would
stop again after the next, and each stop is a system call."""


class Inbox:
    """Messages in the order of their arrival.

    OPEN -> full (upper mark of bytes or messages) -> OPEN (lower marks of both)

    It takes what is put in also while it is full: what one piece of input brought is not dropped.
    `messages` is to be looked at only.
    """

    __slots__ = ("_bytes", "is_full", "messages")

    def __init__(self) -> None:
        self.is_full = False
        # A list: a deque takes half a kilobyte when it is empty, and most sockets are idle.
        self.messages: list[Message] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.messages)

    def put(self, message: Message) -> None:
        """Add what `take` gives later."""
        self.messages.append(message)
        self._bytes += _size(message)
        if (
            self._bytes >= limits.SOCKET_INBOX_BYTES_MAX
            or len(self.messages) >= limits.SOCKET_INBOX_MESSAGES_MAX
        ):
            self.is_full = True

    def take(self) -> Message | None:
        """The oldest message; None when there is none."""
        if not self.messages:
            return None
        message = self.messages.pop(0)
        self._bytes -= _size(message)
        if (
            self.is_full
            and self._bytes <= limits.SOCKET_INBOX_BYTES_MAX // _LOW
            and len(self.messages) <= limits.SOCKET_INBOX_MESSAGES_MAX // _LOW
        ):
            self.is_full = False
        return message


def _size(message: Message) -> int:
    return len(message.get("text") or message.get("bytes") or b"")
