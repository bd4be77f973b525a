"""What features write to: one open stream of one reader, whatever carries it, and its encodings.

`sockets.py` has the outlets of a WebSocket with raw frames, of one without, and of a stream of
server-sent events. Whoever writes asks each only for the encoding it takes, so that bytes are made
once for all readers of a kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pylon import limits
from pylon.http.deflate import compressed_text_frame
from pylon.http.frames import binary_frame, text_frame
from pylon.wire.events import sse_event

Event = tuple[int, bytes]
"""Position and JSON of one event."""


class BinaryMessage(bytes):
    """Marks one write of a carrier of lines as a binary message."""

    __slots__ = ()


class Outlet(Protocol):
    """One stream. None of these calls ever waits."""

    encoding: Encoding

    def write(self, data: bytes) -> None:
        """Send what `encoding.join` made; silently nothing once closed."""
        ...

    def written(self) -> int:
        """Bytes written in all, as far as any of them may have had to wait."""
        ...

    def backlog(self) -> int:
        """Bytes that the reader has not taken yet."""
        ...

    def close(self, code: int, reason: str) -> None:
        """End the stream; WebSocket close codes (RFC 6455 section 7.4)."""
        ...


class Encoding(Protocol):
    """How events become the bytes of one write."""

    def join(self, events: Sequence[Event]) -> bytes: ...

    def binary(self, message: bytes) -> bytes:
        """One binary message; empty where the carrier has none."""
        ...


class FrameEncoding:
    """WebSocket text frames, one an event, back to back."""

    def join(self, events: Sequence[Event]) -> bytes:
        return b"".join([text_frame(payload) for _, payload in events])

    def binary(self, message: bytes) -> bytes:
        return binary_frame(message)


class DeflatedFrameEncoding(FrameEncoding):
    """The same, compressed where it is worth it, once for all who read a message.

    Documents go as they are: their snapshots are compressed already, and most updates are short.
    """

    def __init__(self, level: int) -> None:
        self._level = level
        self._frames: dict[bytes, bytes] = {}
        self._size = 0

    def join(self, events: Sequence[Event]) -> bytes:
        return b"".join([self._frame(payload) for _, payload in events])

    def _frame(self, payload: bytes) -> bytes:
        if not limits.DEFLATE_BYTES_MIN <= len(payload) <= limits.DEFLATE_BYTES_MAX:
            return text_frame(payload)  # without looking it up: hashing takes its time too
        frame = self._frames.get(payload)
        if frame is None:
            frame = compressed_text_frame(payload, self._level)
            self._keep(payload, frame)
        return frame

    def _keep(self, payload: bytes, frame: bytes) -> None:
        """Remember a frame; the oldest are forgotten first."""
        frames = self._frames
        frames[payload] = frame
        self._size += len(payload) + len(frame)
        while self._size > limits.DEFLATE_KEPT_BYTES_MAX:
            oldest = next(iter(frames))
            self._size -= len(oldest) + len(frames.pop(oldest))


class SseEncoding:
    """Server-sent events."""

    def join(self, events: Sequence[Event]) -> bytes:
        return b"".join([sse_event(payload, seq) for seq, payload in events])

    def binary(self, message: bytes) -> bytes:
        return b""


class LineEncoding:
    """One event a line, for carriers that frame each message themselves."""

    def join(self, events: Sequence[Event]) -> bytes:
        return b"\n".join([payload for _, payload in events])

    def binary(self, message: bytes) -> bytes:
        return BinaryMessage(message)


FRAMES = FrameEncoding()
SERVER_SENT_EVENTS = SseEncoding()
LINES = LineEncoding()
