"""Clients that come and go in every way there is, and what a server shows of them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

from websockets.frames import Frame, Opcode

from pylon import limits
from tests.server import ADMIN_TOKEN, ORIGIN, Server, bearer

AT_ONCE = 40
SESSIONS = 50
ADDRESSES = 200

SAID = (
    '{"type":"crdt-subscribe","entity":"Page","rowId":"%s"}',
    '{"type":"crdt-subscribe","entity":"Page","rowId":"to come %d"}',
    '{"type":"presence","event":"update","data":%d}',
    '{"type":"topic-subscribe","topic":"topic %d"}',
    '{"type":"topic","topic":"another %d","data":"x"}',
)


class Crowd:
    """Clients from many addresses, with a few sessions among them."""

    def __init__(self, server: Server, page: str) -> None:
        self.server, self.page = server, page
        self.tokens = [server.token_of(f"user{number}") for number in range(SESSIONS)]
        self.ways = cycle((self.socket, self.events))

    async def come_and_go(self, count: int) -> None:
        numbers = iter(range(count))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self.one_after_another(numbers))

    async def one_after_another(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            async with asyncio.timeout(60):
                await next(self.ways)(number)

    def token(self, number: int) -> str | None:
        """Some have none, some one that is not good, the others share sessions."""
        if number % 20 < 2:
            return (None, "wrong")[number % 20]
        return self.tokens[number % SESSIONS]

    async def socket(self, number: int) -> None:
        own_door = number % 3 == 0
        reader, writer = await self.dial(number, self.server.port + own_door)
        token = self.token(number)
        query = ("", "?since=0", "?since=999999999")[number % 7 % 3]
        ask(writer, f"/ws{query}", bearer(token), socket=True)
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        for text in SAID:
            said = text % (self.page if "%s" in text else number % 1_000)
            writer.write(masked(Opcode.TEXT, said.encode()))
        if token in self.tokens and number % 2:
            await reader.readexactly(2)  # the server has taken it in and says something
        await leave(writer, number, is_socket=True)

    async def events(self, number: int) -> None:
        own_door = 2 * (number % 3 == 0)
        reader, writer = await self.dial(number, self.server.port + own_door)
        headers = bearer(self.token(number)) | ({"origin": ORIGIN} if number % 4 else {})
        ask(writer, ("/events", "/events?since=0")[number % 2], headers)
        if number % 5:
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        await leave(writer, number, is_socket=False)

    async def dial(
        self, number: int, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = f"127.0.1.{1 + number % ADDRESSES}"
        return await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))


def ask(
    writer: asyncio.StreamWriter | asyncio.WriteTransport,
    path: str,
    headers: dict[str, str],
    *,
    socket: bool = False,
) -> None:
    upgrade = {
        "upgrade": "websocket",
        "connection": "upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    }
    lines = {"host": "x", **(upgrade if socket else {}), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())


def masked(opcode: Opcode, data: bytes) -> bytes:
    return Frame(opcode, data).serialize(mask=True)


async def leave(writer: asyncio.StreamWriter, number: int, *, is_socket: bool) -> None:
    """With a close frame, by closing the connection, or by resetting it."""
    way = number // 2 % 3
    if way == 0:
        if is_socket:
            writer.write(masked(Opcode.CLOSE, struct.pack("!H", 1000)))
        if number % 2:
            writer.write_eof()
    elif way == 1:
        raw: Any = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


class Traces:
    """What a server shows of the streams that it has, or had."""

    def __init__(self, server: Server) -> None:
        assert server.child is not None
        self.process = Path(f"/proc/{server.child.pid}")
        self.server = server

    async def status(self) -> dict[str, Any]:
        async with self.server.async_client(ADMIN_TOKEN) as admin:
            answer = await admin.get("/api/sync/status")
            status: dict[str, Any] = answer.json()
            return status

    async def none_is_open(self) -> None:
        """Wait until the server has heard that everybody is gone."""
        async with asyncio.timeout(90):
            while (await self.status())["streams"]["open"] or self.descriptors() > self.idle:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        status = await self.status()
        assert status["streams"] | {"refused": 0} == {
            "open": 0,
            "by_door": {"main_ws": 0, "ws": 0, "main_sse": 0, "sse": 0},
            "addresses": 0,
            "refused": 0,
            "audiences": 0,
            "joining": 0,
            "backlog_bytes": 0,
        }
        assert status["documents"]["followed"] == 0
        assert (status["presence"]["members"], status["presence"]["channels"]) == (0, 0)
        assert status["clients_remembered"] <= SESSIONS + ADDRESSES + 10

    async def begin(self) -> None:
        await self.status()
        self.idle = self.descriptors() + 2  # a connection of this test, and one that is closing

    def descriptors(self) -> int:
        """But for those of the database: its connections are opened as reads need them, and stay;
        there are `limits.READER_THREADS` of them at most, with two files each."""
        names = []
        for each in (self.process / "fd").iterdir():
            with suppress(FileNotFoundError):  # Closed meanwhile.
                names.append(str(each.readlink()))
        of_database = [name for name in names if name.endswith((".db", ".db-wal"))]
        # The writer's, and the one on the loop, beside those.
        assert len(of_database) <= 2 * (limits.READER_THREADS + 3), of_database
        return len(names) - len(of_database)

    def resident_kib(self) -> int:
        lines = (self.process / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
