"""Days in the life of a server, one after another: at their end it has what it had at the begin.

Memory, descriptors and the size of the file are looked at after the first day and after the last.
The default run is minutes short; `PYLON_LONG=1` takes half an hour with 5 000 streams that stay,
20 000 that come and go, 20 000 sessions, 50 000 rows and storms in which 2 000 come back at once.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.blackbox.crowd import ADDRESSES, Crowd, Traces, ask
from tests.server import ADMIN_TOKEN, Server, bearer, serving

LONG = bool(os.environ.get("PYLON_LONG"))
APP = Path(__file__).parents[1] / "crdt" / "app.py"
SECONDS_MIN = 1_800 if LONG else 0
RETAIN_SECONDS = 1
AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Day:
    """What happens in one."""

    stay: int
    connects: int
    sessions: int
    rows: int
    storm: int


DAY = Day(5_000, 4_000, 4_000, 10_000, 2_000) if LONG else Day(200, 200, 200, 500, 100)
DAYS = 6 if LONG else 3
GROWTH_KIB_MAX = 65_536 if LONG else 16_384
"""Of 20 000 sessions, connects and 50 000 rows a kilobyte each would be 90 000."""
FILE_KIB_MAX = 16_384
"""Up to 8 MiB of free pages are kept, and the log of writes is as long as the day made it."""


class Listener(asyncio.Protocol):
    """A stream that stays, and takes whatever it is sent."""

    def __init__(self) -> None:
        self.is_gone = False
        self.taken = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.taken += len(data)
        # A ping of the server is two bytes, with others or alone, and no text has them. The answer
        # is a frame with a mask of zeros.
        if b"\x89\x00" in data and self.transport is not None:
            self.transport.write(b"\x8a\x80\0\0\0\0")

    def connection_lost(self, _error: Exception | None) -> None:
        self.is_gone = True


class Town:
    """The server, its standing crowd, and what goes on in a day."""

    def __init__(self, server: Server, crowd: Crowd) -> None:
        self.server, self.crowd = server, crowd
        self.standing: list[Listener] = []

    async def stand(self, count: int) -> None:
        """Have `count` more streams that stay."""
        for start in range(0, count, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, count))
            self.standing += await asyncio.gather(*map(self._join, numbers))

    async def _join(self, number: int) -> Listener:
        loop = asyncio.get_running_loop()
        listener = Listener()
        transport, _ = await loop.create_connection(
            lambda: listener,
            "127.0.0.1",
            self.server.port,
            local_addr=(f"127.0.1.{1 + number % ADDRESSES}", 0),
        )
        headers = bearer(self.crowd.tokens[number % len(self.crowd.tokens)])
        ask(transport, "/ws", headers, socket=True)
        return listener

    async def storm(self, count: int) -> None:
        """`count` of those who stand are gone at once, and come back at once."""
        leaving, self.standing = self.standing[:count], self.standing[count:]
        for listener in leaving:
            assert listener.transport is not None
            listener.transport.abort()
        self.standing += await asyncio.gather(*map(self._join, range(count)))

    async def day(self, day: Day) -> None:
        await asyncio.gather(
            self.crowd.come_and_go(day.connects),
            self._each(self._session, day.sessions),
            self._each(self._row, day.rows),
        )
        await self.storm(day.storm)
        async with asyncio.timeout(120):
            while (await self._streams()) < len(self.standing):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        assert not any(listener.is_gone for listener in self.standing)

    async def _streams(self) -> int:
        async with self.server.async_client(ADMIN_TOKEN) as admin:
            answer = await admin.get("/api/sync/status")
            open_ones: int = answer.json()["streams"]["open"]
            return open_ones

    async def _each(self, do: Any, count: int) -> None:
        """Do something `count` times, a few at once, over connections that are kept."""
        numbers = iter(range(count))

        async def work() -> None:
            async with self.server.async_client() as client:
                for number in numbers:
                    await do(client, number)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(work())

    async def _session(self, client: httpx.AsyncClient, number: int) -> None:
        """Somebody signs in, looks, and leaves."""
        user = {"user_id": f"visitor {number}"}
        answer = await client.post("/api/auth/session", json=user, headers=bearer(ADMIN_TOKEN))
        caller = bearer(answer.json()["token"])
        if number % 4 == 0:
            answer = await client.get("/api/sync/pull?since=0", headers=caller)
            assert answer.status_code == 200
        answer = await client.delete("/api/auth/session", headers=caller)
        assert answer.status_code < 300

    async def _row(self, client: httpx.AsyncClient, number: int) -> None:
        """A row is made, and deleted; some with a document, some that all hear of."""
        caller = bearer(self.crowd.tokens[number % len(self.crowd.tokens)])
        row = {"text": "x" * 200} if number % 50 == 0 else {"title": None, "ownerId": "nobody"}
        path = "/api/entities/Plain" if number % 50 == 0 else "/api/entities/Page"
        who = caller if number % 50 == 0 else bearer(ADMIN_TOKEN)
        answer = await client.post(path, json=row, headers=who)
        assert answer.status_code == 201, answer.text
        answer = await client.delete(f"{path}/{answer.json()['id']}", headers=who)
        assert answer.status_code == 200, answer.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the server has."""

    resident_kib: int
    descriptors: int
    file_kib: int
    kept: dict[str, int]
    """Rows of tables that are kept for a while."""

    @classmethod
    async def take(cls, traces: Traces, database: Path, tables: Sequence[str]) -> Reading:
        import apsw

        connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(10_000)
        kept = {
            name: len(connection.execute(f"SELECT 1 FROM {name}").fetchall()) for name in tables
        }
        connection.close()
        return cls(
            resident_kib=traces.resident_kib(),
            descriptors=traces.descriptors(),
            file_kib=sum(
                path.stat().st_size
                for path in database.parent.glob(f"{database.name}*")
                if not path.name.endswith(".stderr")
            )
            // 1024,
            kept=kept,
        )


TABLES = ("_pylon_changes", "_pylon_sessions", "_pylon_op_ids")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.timeout(7_200 if LONG else 300)
async def test_a_server_has_in_the_end_what_it_had(tmp_path: Path) -> None:
    database = tmp_path / "app.db"
    env = {
        "PYLON_DRAIN_SECS": "2",
        "PYLON_CHANGE_LOG_RETAIN": str(RETAIN_SECONDS),
        "PYLON_SOCKETS_PER_ADDRESS": "0",
    }
    with serving(APP, database, env=env) as server:
        traces = Traces(server)
        async with server.async_client(ADMIN_TOKEN) as admin:
            answer = await admin.post("/api/entities/Page", json={"body": "text"})
        town = Town(server, Crowd(server, answer.json()["id"]))
        await town.stand(DAY.stay)
        await town.day(DAY)
        begin = await settled(traces, database)
        started = time.monotonic()
        days = 0
        while days < DAYS - 1 or time.monotonic() - started < SECONDS_MIN:
            await town.day(DAY)
            days += 1
            print(days, await Reading.take(traces, database, TABLES))
        end = await settled(traces, database)
        for listener in town.standing:
            assert listener.transport is not None
            listener.transport.abort()
    print(f"{days} days: {begin} to {end}")
    assert end.resident_kib - begin.resident_kib < GROWTH_KIB_MAX
    assert end.file_kib - begin.file_kib < FILE_KIB_MAX
    assert abs(end.descriptors - begin.descriptors) <= 2
    assert end.kept["_pylon_sessions"] == begin.kept["_pylon_sessions"]


async def settled(traces: Traces, database: Path) -> Reading:
    """A reading once what was deleted is gone: two in a row that differ in nothing but memory."""
    before = None
    async with asyncio.timeout(180):
        while True:
            now = await Reading.take(traces, database, TABLES)
            if before is not None and (now.descriptors, now.kept) == before:
                return now
            before = now.descriptors, now.kept
            await asyncio.sleep(5)
