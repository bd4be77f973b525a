"""SIGKILL under load: what was acknowledged is there, nothing half-done is, operation ids are
remembered, positions go on, replicas converge.

Three rounds by default, fifty with PYLON_LONG=1, all on one database.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.blackbox.streams import Event, pull, websocket
from tests.blackbox.writers import (
    DocumentWriter,
    FamilyWriter,
    PushWriter,
    Rows,
    RowWriter,
    Writer,
)
from tests.conftest import BLACKBOX_APP
from tests.server import ADMIN_TOKEN, Server

ROUNDS = 50 if os.environ.get("PYLON_LONG") else 3
ACKNOWLEDGED_BEFORE_KILL = 200


class Replica:
    """A client's copy, kept over crashes by pulls from its cursor, and live in between."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.cursor = 0

    async def catch_up(self, client: httpx.AsyncClient) -> list[Event]:
        events, self.cursor = await pull(client, self.cursor)
        for event in events:
            self.apply(event)
        return events

    def apply(self, event: Event) -> None:
        if event["kind"] == "delete":
            self.rows.pop(event["row_id"], None)
        else:
            self.rows[event["row_id"]] = {**self.rows.get(event["row_id"], {}), **event["data"]}


class Load:
    """Clients that write in every way, and replicas that pull and listen, until the kill."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.writers: list[Writer] = [
            *(RowWriter() for _ in range(4)),
            *(FamilyWriter() for _ in range(2)),
            *(PushWriter() for _ in range(2)),
            *(DocumentWriter(server) for _ in range(2)),
        ]
        self.pulled, self.listened = Replica(), Replica()
        self.writer_of: dict[int, tuple[str, str]] = {}
        self.acknowledged = 0
        self.enough = asyncio.Event()

    def saw(self, event: Event) -> None:
        """A position belongs to one change for ever, also across crashes."""
        change = (event["entity"], event["row_id"])
        assert self.writer_of.setdefault(event["seq"], change) == change, "a seq was repeated"

    async def run_until_killed(self) -> None:
        self.acknowledged, self.enough = 0, asyncio.Event()
        tasks = [asyncio.create_task(self.write(writer)) for writer in self.writers]
        tasks += [asyncio.create_task(self.listen()), asyncio.create_task(self.keep_pulling())]
        waiting = asyncio.create_task(self.enough.wait())
        await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
        assert waiting.done(), [task.exception() for task in tasks if task.done()]
        self.server.kill()
        await asyncio.gather(*tasks)

    async def write(self, writer: Writer) -> None:
        async with self.server.async_client(ADMIN_TOKEN) as client:
            with suppress(httpx.TransportError):
                while True:
                    await writer.write_once(client)
                    self.acknowledged += 1
                    if self.acknowledged == ACKNOWLEDGED_BEFORE_KILL:
                        self.enough.set()

    async def listen(self) -> None:
        replica = self.listened
        with suppress(ConnectionClosed, ConnectionError):
            async with websocket(self.server, ADMIN_TOKEN, since=replica.cursor) as stream:
                while True:
                    event = await stream.next()
                    self.saw(event)
                    assert event["seq"] > replica.cursor
                    replica.apply(event)
                    replica.cursor = event["seq"]

    async def keep_pulling(self) -> None:
        async with self.server.async_client(ADMIN_TOKEN) as client:
            with suppress(httpx.TransportError):
                while True:
                    for event in await self.pulled.catch_up(client):
                        self.saw(event)

    async def check(self) -> None:
        """After a restart: nothing lost, nobody diverged."""
        newest = max(self.writer_of, default=0)
        async with self.server.async_client(ADMIN_TOKEN) as client:
            rows = await all_rows(client)
            for writer in self.writers:
                await writer.check(client, rows)
            rows = await all_rows(client)
            for replica in (self.pulled, self.listened, Replica()):
                for event in await replica.catch_up(client):
                    self.saw(event)
                assert replica.rows == rows
            assert self.pulled.cursor >= newest, "what readers were told of was durable"
            row_id = (await client.post("/api/entities/Mark", json={"n": -1})).json()["id"]
            (event,) = await self.pulled.catch_up(client)
            assert event["row_id"] == row_id
            assert event["seq"] == self.listened.cursor + 1
            self.saw(event)


async def all_rows(client: httpx.AsyncClient) -> Rows:
    """What the writers write to, by id."""
    answers = [await client.get(f"/api/entities/{name}") for name in ("Mark", "Sample")]
    return {row["id"]: row for answer in answers for row in answer.json()["data"]}


@pytest.mark.timeout(1_800)
async def test_a_kill_under_load_loses_nothing(tmp_path: Path) -> None:
    server = Server(BLACKBOX_APP, tmp_path / "app.db")
    load = Load(server)
    try:
        server.start()
        for _ in range(ROUNDS):
            await load.run_until_killed()
            server.start()
            await load.check()
    except BaseException:
        if server.child is not None:
            server.kill()
        raise
    server.stop()
