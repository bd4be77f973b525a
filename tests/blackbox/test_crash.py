"""SIGKILL under load: what was acknowledged is there, positions go on, replicas converge.

Three rounds by default, fifty with PYLON_LONG=1, all on one database.
"""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.blackbox.streams import Event, pull, websocket
from tests.conftest import BLACKBOX_APP
from tests.server import ADMIN_TOKEN, Server

ROUNDS = 50 if os.environ.get("PYLON_LONG") else 3
CLIENTS = 8
ACKNOWLEDGED_BEFORE_KILL = 150


@dataclass
class Ledger:
    """What one client was told of its rows, and what it asked for without an answer.

    `known` holds the acknowledged `n` of each row (None: deleted); `open` the one write that the
    kill may have let through or not.
    """

    known: dict[str, int | None] = field(default_factory=dict)
    open: tuple[str, int | None] | None = None

    def check(self, rows: dict[str, dict[str, Any]]) -> None:
        """Compare with the rows of the restarted server, and take them as known."""
        for row_id, n in self.known.items():
            possible = [n]
            if self.open is not None and self.open[0] == row_id:
                possible.append(self.open[1])
            found = rows[row_id]["n"] if row_id in rows else None
            assert found in possible, (row_id, possible, found)
            self.known[row_id] = found
        self.open = None


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
    """Eight clients that write, a replica that pulls and one that listens, until the kill."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.ledgers = [Ledger() for _ in range(CLIENTS)]
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
        tasks = [asyncio.create_task(self.write(ledger)) for ledger in self.ledgers]
        tasks += [asyncio.create_task(self.listen()), asyncio.create_task(self.keep_pulling())]
        waiting = asyncio.create_task(self.enough.wait())
        await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
        assert waiting.done(), [task.exception() for task in tasks if task.done()]
        self.server.kill()
        await asyncio.gather(*tasks)

    async def write(self, ledger: Ledger) -> None:
        rng = random.Random()
        async with self.server.async_client(ADMIN_TOKEN) as client:
            with suppress(httpx.TransportError):
                while True:
                    await self.write_once(client, ledger, rng)
                    self.acknowledged += 1
                    if self.acknowledged == ACKNOWLEDGED_BEFORE_KILL:
                        self.enough.set()

    async def write_once(
        self, client: httpx.AsyncClient, ledger: Ledger, rng: random.Random
    ) -> None:
        mine = [row_id for row_id, n in ledger.known.items() if n is not None]
        what = rng.random()
        if what < 0.5 or not mine:
            row_id = f"{rng.getrandbits(160):040x}"
            ledger.known[row_id], ledger.open = None, (row_id, 0)
            answer = await client.post("/api/entities/Mark", json={"id": row_id, "n": 0})
            assert answer.status_code == 201, answer.text
            ledger.known[row_id] = 0
        elif what < 0.8:
            row_id = rng.choice(mine)
            n = (ledger.known[row_id] or 0) + 1
            ledger.open = (row_id, n)
            answer = await client.patch(f"/api/entities/Mark/{row_id}", json={"n": n})
            assert answer.status_code == 200, answer.text
            ledger.known[row_id] = n
        else:
            row_id = rng.choice(mine)
            ledger.open = (row_id, None)
            answer = await client.delete(f"/api/entities/Mark/{row_id}")
            assert answer.status_code == 200, answer.text
            ledger.known[row_id] = None
        ledger.open = None

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
            answer = await client.get("/api/entities/Mark")
            rows = {row["id"]: row for row in answer.json()["data"]}
            for ledger in self.ledgers:
                ledger.check(rows)
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
