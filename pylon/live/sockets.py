"""The outlets there are: a WebSocket with raw frames, and a stream that somebody else writes.

`api/live.py` makes one of each connection. How much may wait in them is bounded from outside, since
only the features know what to do about a reader that stops: `slow.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from pylon.live.outlet import Encoding


class FramesOutlet:
    """A WebSocket of our own server: bytes go to the transport as they are, those of a fan-out
    (`write_to_all`) past it."""

    __slots__ = ("backlog", "close", "encoding", "line", "write", "write_rest", "written")

    def __init__(self, frames: Any, encoding: Encoding) -> None:
        self.encoding = encoding
        self.line = frames.line
        self.write_rest: Callable[[bytes], None] = frames.write_rest
        self.write: Callable[[bytes], None] = frames.write
        self.written: Callable[[], int] = frames.written
        self.backlog: Callable[[], int] = frames.backlog
        self.close: Callable[[int, str], None] = frames.close


def write_to_all(
    outlets: Sequence[FramesOutlet], data: bytes, write_rest: Callable[[FramesOutlet, bytes], None]
) -> int:
    """Write the same bytes to each; how many took all of them at once. For the others `write_rest`
    is called, which has to see whether they are still open.

    Nothing else stands in this loop: it runs for every reader of every turn.
    """
    size, cut = len(data), 0
    for outlet in outlets:
        try:
            sent = outlet.line.send(data)
        except OSError:
            sent = 0
        if sent != size:
            cut += 1
            write_rest(outlet, data[sent:])
    return len(outlets) - cut


class QueueOutlet:
    """A stream that somebody else writes: bytes wait here until `take` fetches them."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self.ended: tuple[int, str] | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._written = 0
        self._filled = asyncio.Event()

    def write(self, data: bytes) -> None:
        if self.ended is None:
            self._chunks.append(data)
            self._size += len(data)
            self._written += len(data)
            self._filled.set()

    def written(self) -> int:
        return self._written

    def backlog(self) -> int:
        return self._size

    def close(self, code: int, reason: str) -> None:
        if self.ended is None:
            self.ended = (code, reason)
            self._filled.set()

    async def take(self) -> list[bytes]:
        """What has been written since the last call; empty once the stream has ended."""
        while not self._chunks and self.ended is None:
            self._filled.clear()
            await self._filled.wait()
        chunks, self._chunks, self._size = self._chunks, [], 0
        return chunks
