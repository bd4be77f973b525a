"""The way of bytes to one client: straight to the kernel, past the transport, wherever it is free.

A transport's `write` costs a microsecond beside the system call. A fan-out calls `send` of a
thousand sockets instead, which is the C method of a socket and nothing around it. Bytes keep their
order, since it is that only while the transport holds none. Called by `websocket` for its own
writes and, through `RawFrames`, by the live hub.

    BUSY -> FREE      `write_now`, where the transport has nothing left to write
    FREE -> BUSY      anything is given to the transport
    any -> ENDED      `end`: nothing is sent straight any more
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable


class StraightLine:
    """One socket of a transport. `end` it before the transport closes: in `connection_lost`."""

    __slots__ = ("_socket", "_transport", "is_free", "send")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._socket = _socket_of(transport)
        self.is_free = False
        """Whether `send` reaches the kernel: nothing waits in the transport then."""
        self.send: Callable[[bytes], int] = _nothing
        """Take at once what the kernel takes of whole frames, and say how many bytes that was; the
        rest is for `write_now`. OSError where it is full or broken: `write_now` knows. Look it up
        anew for every call, as it changes."""

    def write(self, data: bytes) -> None:
        """Write by the transport, which may join it with what follows in this turn of the loop."""
        self._block()
        self._transport.write(data)

    def write_now(self, data: bytes) -> None:
        """Write straight if nothing stands before it; what cannot be is left to the transport."""
        sent = 0
        if self._socket is not None and not self._transport.get_write_buffer_size():
            self.send, self.is_free = self._socket.send, True
            with contextlib.suppress(OSError):  # The transport will meet the same one, and knows.
                sent = self.send(data)
        if sent < len(data):
            self.write(data[sent:])

    def end(self) -> None:
        """Let go of the descriptor, which the next connection may be given as soon as this one is
        closed: from now on nothing that still holds the socket reaches it."""
        self._block()
        if self._socket is not None:
            self._socket.detach()
            self._socket = None

    def _block(self) -> None:
        self.send, self.is_free = _nothing, False


def _nothing(data: bytes) -> int:
    return 0


def _socket_of(transport: asyncio.Transport) -> socket.socket | None:
    """A second handle of the transport's socket, which does not own it; None where bytes may not
    go past the transport (TLS) or it has none."""
    if transport.get_extra_info("sslcontext") is not None:
        return None
    found = transport.get_extra_info("socket")
    number = -1 if found is None else found.fileno()
    if number < 0:
        return None
    handle = socket.socket(found.family, found.type, found.proto, fileno=number)
    handle.setblocking(False)
    return handle
