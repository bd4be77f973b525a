"""Bytes past the transport: order, cut and full sockets, descriptors that change hands."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from websockets.frames import Opcode

from pylon.http.asgi import Receive, Send
from pylon.http.frames import text_frame
from pylon.http.straight import StraightLine
from pylon.http.websocket import RawFrames
from pylon.live.outlet import FRAMES
from pylon.live.sockets import FramesOutlet, write_to_all
from tests.http.live import both_loops, live
from tests.http.test_websocket import accepting, frame, upgraded

FULL_BYTES = 40_000_000
"""More than the kernel takes for a client that does not read."""


class Peer(asyncio.Protocol):
    """The server's side of one connection."""

    def __init__(self, made: asyncio.Queue[Peer]) -> None:
        self._made = made
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.line = StraightLine(self.transport)
        self.number = transport.get_extra_info("socket").fileno()
        self._made.put_nowait(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.line.end()
        self.lost.set()


@dataclass(kw_only=True)
class Wires:
    """Pairs of connected sockets; a client is a stream, which reads only when it is asked to."""

    port: int
    made: asyncio.Queue[Peer]
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, Peer]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1024)
        self.writers.append(writer)
        return reader, await self.made.get()


@asynccontextmanager
async def wires() -> AsyncIterator[Wires]:
    made: asyncio.Queue[Peer] = asyncio.Queue()
    server = await asyncio.get_running_loop().create_server(lambda: Peer(made), "127.0.0.1", 0)
    found = Wires(port=server.sockets[0].getsockname()[1], made=made)
    try:
        async with asyncio.timeout(60):
            yield found
    finally:
        for writer in found.writers:
            writer.close()
        server.close()
        await server.wait_closed()


class Socketlike:
    """What a fan-out needs of a WebSocket."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.line = peer.line
        self.write = peer.line.write
        self.backlog = peer.transport.get_write_buffer_size
        self.written = self.backlog
        self.close: Callable[[int, str], None] = lambda code, reason: None

    def write_rest(self, data: bytes) -> None:
        if not self._peer.lost.is_set():
            self._peer.line.write_now(data)


def outlet_of(peer: Peer) -> FramesOutlet:
    return FramesOutlet(Socketlike(peer), FRAMES)


def fan_out(outlet: FramesOutlet, data: bytes) -> None:
    write_to_all([outlet], data, lambda one, rest: one.write_rest(rest))


class Cutting:
    """A socket that takes a part of what it is given, as a kernel with little room does."""

    def __init__(self, real: Any, takes: int) -> None:
        self._real = real
        self.takes = takes

    def send(self, data: bytes) -> int:
        part = data[: self.takes]
        self.takes = max(0, self.takes - len(data))
        if data and not part:
            raise BlockingIOError
        return int(self._real.send(part))

    def detach(self) -> int:
        return int(self._real.detach())


@both_loops
async def test_bytes_cut_anywhere_arrive_whole_and_in_order() -> None:
    async with wires() as net:
        reader, peer = await net.connect()
        outlet = outlet_of(peer)
        for takes in range(16):
            peer.line.write_now(b"<")  # the line is free, unless the transport still writes
            while not peer.line.is_free:
                await asyncio.sleep(0)
                peer.line.write_now(b"")
            real = peer.line._socket
            peer.line._socket = Cutting(real, takes)  # type: ignore[assignment]
            peer.line.send = peer.line._socket.send  # type: ignore[union-attr]
            fan_out(outlet, b"0123456789abcde")
            assert peer.line.is_free == (takes >= 15)
            fan_out(outlet, b"second")
            peer.line.write(b">")
            peer.line._socket = real
            assert await reader.readuntil(b">") == b"<0123456789abcdesecond>"


@both_loops
async def test_straight_and_by_the_transport_keep_their_order() -> None:
    rng = random.Random(5)
    async with wires() as net:
        reader, peer = await net.connect()
        outlet = outlet_of(peer)
        wanted, got = bytearray(), bytearray()
        for number in range(2_000):
            data = b"%d;" % number * rng.choice((1, 10, 3_000))
            wanted += data
            rng.choice((lambda d: fan_out(outlet, d), peer.line.write, peer.line.write_now))(data)
            if rng.random() < 0.2:
                got += await reader.read(rng.choice((100, 100_000)))
        peer.line.write(b"end")
        while not got.endswith(b"end"):
            got += await reader.read(1_000_000)
        assert bytes(got) == bytes(wanted) + b"end"


@both_loops
async def test_a_full_socket_is_left_to_the_transport_until_it_is_empty() -> None:
    async with wires() as net:
        reader, peer = await net.connect()
        outlet = outlet_of(peer)
        fan_out(outlet, b"x" * FULL_BYTES)
        assert peer.line.is_free is False
        assert peer.transport.get_write_buffer_size()
        fan_out(outlet, b"behind")
        rest = await reader.readexactly(FULL_BYTES + 6)
        assert rest.endswith(b"xbehind")
        await until(lambda: not peer.transport.get_write_buffer_size())
        fan_out(outlet, b"free")
        assert outlet.line.is_free
        assert await reader.readexactly(4) == b"free"


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0)


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


@both_loops
async def test_nothing_reaches_the_next_owner_of_a_descriptor() -> None:
    async with wires() as net:
        reader, peer = await net.connect()
        outlet = outlet_of(peer)
        fan_out(outlet, b"mine")
        kept = peer.line.send  # as a loop in the middle of its call has it
        other, other_end = socket.socketpair()
        peer.transport.abort()
        await until(lambda: not is_open(peer.number))
        os.dup2(other.fileno(), peer.number)
        try:
            fan_out(outlet, b"strayed")
            with contextlib.suppress(OSError):
                kept(b"strayed")
            other.send(b"own")
            assert other_end.recv(100) == b"own"
        finally:
            os.close(peer.number)
            other.close()
            other_end.close()
        assert await reader.read() == b"mine"


@both_loops
async def test_the_descriptor_is_still_ours_when_a_connection_is_told_that_it_is_lost() -> None:
    """However it ends: else another one might have the number before the line lets go of it."""
    held: list[bool] = []

    class Looking(Peer):
        def connection_lost(self, error: Exception | None) -> None:
            held.append(os.fstat(self.number).st_ino == self.inode)
            super().connection_lost(error)

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.inode = os.fstat(self.number).st_ino

    made: asyncio.Queue[Peer] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Looking(made), "127.0.0.1", 0)
    for number in range(5):
        client = socket.socket()
        client.setblocking(False)
        await loop.sock_connect(client, server.sockets[0].getsockname())
        peer = await made.get()
        if number == 0:
            peer.transport.close()
        elif number == 1:
            peer.transport.abort()
        elif number == 2:
            client.shutdown(socket.SHUT_WR)
        else:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            if number == 4:
                peer.line.write(b"x" * FULL_BYTES)
                await asyncio.sleep(0)
            client.close()
        async with asyncio.timeout(60):
            await peer.lost.wait()
        client.close()
    server.close()
    await server.wait_closed()
    assert held == [True] * 5


class Secured:
    """What a transport of TLS says of itself."""

    def get_extra_info(self, name: str) -> object:
        return {"sslcontext": object(), "socket": socket.socket}.get(name)


def test_tls_is_never_written_past() -> None:
    line = StraightLine(cast("asyncio.Transport", Secured()))
    assert line._socket is None
    assert line.send(b"plain") == 0


@both_loops
async def test_nothing_follows_a_close_frame_in_the_middle_of_a_fan_out() -> None:
    async def app(frames: RawFrames, receive: Receive, send: Send) -> None:
        outlet = FramesOutlet(frames, FRAMES)
        while not frames.line.is_free:
            fan_out(outlet, text_frame(b"a"))
            await asyncio.sleep(0)
        kept = frames.line.send
        outlet.close(1013, "resync required")
        fan_out(outlet, text_frame(b"b"))
        with pytest.raises(OSError, match="Bad file descriptor"):
            kept(text_frame(b"b"))
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with live(accepting(app)) as server:
        raw = await upgraded(server)
        heard = await frame(raw)
        while heard == (Opcode.TEXT, b"a"):
            heard = await frame(raw)
        assert heard == (Opcode.CLOSE, (1013).to_bytes(2, "big") + b"resync required")
        raw.writer.write_eof()
        assert await raw.rest() == b""


@both_loops
async def test_a_pong_and_a_message_of_the_app_stand_in_line() -> None:
    async def app(frames: RawFrames, receive: Receive, send: Send) -> None:
        outlet = FramesOutlet(frames, FRAMES)
        number = 0
        while (await receive())["type"] == "websocket.receive":
            for _ in range(3):
                fan_out(outlet, text_frame(b"%d" % number))
                await send({"type": "websocket.send", "text": str(number + 1)})
                outlet.write(text_frame(b"%d" % (number + 2)))
                number += 3

    async with live(accepting(app)) as server:
        raw = await upgraded(server)
        numbers: list[int] = []
        for asked in range(1, 20):
            await raw.send(b"\x81\x81\0\0\0\0x\x89\x80\0\0\0\0")
            while len(numbers) < 9 * asked:
                opcode, payload = await frame(raw)
                if opcode == Opcode.TEXT:
                    numbers.append(int(payload))
    assert numbers == list(range(9 * 19))
