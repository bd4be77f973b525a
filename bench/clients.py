"""Asyncio clients by hand: a keep-alive HTTP connection and a WebSocket, one object each.

For the processes that play many whole clients at once (`returners`, `editors`). Those that only
count what arrives use blocking sockets (`sockets`, `readers`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from bench.processes import BenchError
from bench.sockets import masked_frame, source_address, upgrade_request

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class HttpClient(asyncio.Protocol):
    """One keep-alive connection; `request` is awaited before the next one is made."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    async def request(self, data: bytes) -> tuple[int, bytes]:
        """Send one raw request; status and body of its answer."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return await self._answer

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, so there is nothing to assert.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body = bytes(self._body)
        self._body.clear()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), body))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(BenchError("the server closed a connection"))


class SocketClient(asyncio.Protocol):
    """One WebSocket: sends its upgrade by itself and hands each message to `on_message`."""

    def __init__(
        self, request: bytes, on_message: Callable[[int, bytes], None] | None = None
    ) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_open = False
        self._request = request
        self._on_message = on_message
        self._head: bytearray | None = bytearray()
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, mark, data = bytes(self._head).partition(b"\r\n\r\n")
            if not mark:
                return
            self._head = None
            if not head.startswith(b"HTTP/1.1 101"):
                self._fail(f"the server refused a WebSocket: {head[:200]!r}")
                return
            self.is_open = True
            self.opened.set_result(None)
        for opcode, payload in self._frames.feed(data):
            if opcode == PING:
                self.send(PONG, payload)
            elif opcode == CLOSE:
                self.close()
            elif self._on_message is not None:
                self._on_message(opcode, payload)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._fail("the server closed a WebSocket while it opened")

    def send(self, opcode: int, payload: bytes) -> None:
        """Send one message of at most 125 bytes."""
        assert self._transport is not None
        self._transport.write(masked_frame(opcode, payload))

    def close(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.close()

    def _fail(self, text: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(BenchError(text))
        self.close()


class Frames:
    """Takes the frames of a server apart, wherever they are cut. No fragments, no masks."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Opcode and payload of each frame that is whole now."""
        buffer = self._buffer
        buffer += data
        found: list[tuple[int, bytes]] = []
        place = 0
        while len(buffer) - place >= 2:
            size, head = buffer[place + 1] & 0x7F, 2
            if size >= 126:
                head = 4 if size == 126 else 10
                if len(buffer) - place < head:
                    break
                size = int.from_bytes(buffer[place + 2 : place + head], "big")
            if len(buffer) - place < head + size:
                break
            found.append((buffer[place] & 0x0F, bytes(buffer[place + head : place + head + size])))
            place += head + size
        del buffer[:place]
        return found


async def open_http(port: int, number: int) -> HttpClient:
    """A connection from client `number`'s own address."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(
        HttpClient, "127.0.0.1", port, local_addr=(source_address(number), 0)
    )
    return client


async def open_socket(
    port: int,
    number: int,
    *,
    path: str,
    token: str,
    on_message: Callable[[int, bytes], None] | None = None,
) -> SocketClient:
    """An open WebSocket from client `number`'s own address."""
    loop = asyncio.get_running_loop()
    request = upgrade_request(path, token)
    _, client = await loop.create_connection(
        lambda: SocketClient(request, on_message),
        "127.0.0.1",
        port,
        local_addr=(source_address(number), 0),
    )
    await client.opened
    return client
