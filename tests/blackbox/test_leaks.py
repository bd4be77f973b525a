"""Nobody is ever told of a row or a field that a get would refuse, through any door.

Random rows change hands under random rules while every kind of reader listens and pulls. The test
has an oracle of its own (a few lines of Python for each rule), and expects of each live stream
exactly what the oracle says, no more and no less.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.blackbox.streams import Stream, event_source, position, pull, until_row, websocket
from tests.server import ADMIN_TOKEN, Server

Row = dict[str, Any]
USERS = ("ann", "bob", None)
PRIVATE = "secret"
STEPS = 1_500 if os.environ.get("PYLON_LONG") else 150

VISIBLE: dict[str, Callable[[str | None, Row], bool]] = {
    "Note": lambda user, row: (
        (user is not None and user == row["ownerId"]) or row["public"] is True
    ),
    "Mine": lambda user, row: user is not None and user == row["ownerId"],
    "Shown": lambda user, row: row["shown"] is True,
}
"""The read rules of the app, said again."""

FIELDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "Note": {
        "text": ("a", "b", None),
        "ownerId": ("ann", "bob", "", None),
        "public": (True, False, None),
        "secret": ("s", "t", None),
    },
    "Mine": {"text": ("a", "b", None), "ownerId": ("ann", "bob", "null", None)},
    "Shown": {"n": (1, 2, None), "shown": (True, False, None)},
}


@dataclass
class History:
    """Every state that each row has had, by the position of the change that made it."""

    states: dict[tuple[str, str], dict[int, Row | None]] = field(default_factory=dict)
    order: list[tuple[int, str, str]] = field(default_factory=list)
    patches: dict[int, Row] = field(default_factory=dict)

    def add(
        self, seq: int, entity: str, row_id: str, row: Row | None, patch: Row | None = None
    ) -> None:
        self.states.setdefault((entity, row_id), {})[seq] = row
        self.patches[seq] = patch or {}
        self.order.append((seq, entity, row_id))

    def at(self, entity: str, row_id: str, seq: int) -> Row | None:
        """The row as it was just after `seq`."""
        known = self.states.get((entity, row_id), {})
        return next((known[s] for s in sorted(known, reverse=True) if s <= seq), None)

    def now(self, entity: str) -> dict[str, Row]:
        """The rows that there are."""
        found = {r: states[max(states)] for (e, r), states in self.states.items() if e == entity}
        return {row_id: row for row_id, row in found.items() if row is not None}

    def told(self, user: str | None, since: int) -> list[tuple[int, str, str, Row | None]]:
        """What a reader's stream must carry: position, row, kind and data.

        An update of private fields alone says nothing and so is not sent.
        """
        expected: list[tuple[int, str, str, Row | None]] = []
        for seq, entity, row_id in self.order:
            if seq <= since:
                continue
            before, after = self.at(entity, row_id, seq - 1), self.at(entity, row_id, seq)
            seen_before = before is not None and VISIBLE[entity](user, before)
            if after is not None and VISIBLE[entity](user, after):
                if not seen_before:
                    expected.append((seq, row_id, "insert", public(after)))
                elif shown := public(self.patches[seq]):
                    expected.append((seq, row_id, "update", shown))
            elif seen_before:
                expected.append((seq, row_id, "delete", None))
        return expected


def public(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != PRIVATE}


class Reader:
    """One kind of caller and all the doors that it may use."""

    def __init__(self, user: str | None, client: httpx.AsyncClient) -> None:
        self.user, self.client = user, client
        self.streams: list[Stream] = []
        self.cursor = 0
        self.replica: dict[tuple[str, str], Row] = {}

    async def reads_what_a_get_shows(self, history: History, rng: random.Random) -> None:
        for entity, rule in VISIBLE.items():
            rows = history.now(entity)
            visible = {r: public(row) for r, row in rows.items() if rule(self.user, row)}
            assert await self.listed(entity) == visible
            assert await self.paged(entity, rng.choice((1, 3, 100))) == visible
            for row_id in rng.sample(sorted(rows), min(5, len(rows))):
                answer = await self.client.get(f"/api/entities/{entity}/{row_id}")
                if row_id in visible:
                    assert answer.json() == visible[row_id]
                else:
                    assert answer.status_code in (403, 404)
                    assert set(answer.json()) == {"error"}
                    assert row_id not in answer.text

    async def listed(self, entity: str) -> dict[str, Row]:
        answer = await self.client.get(f"/api/entities/{entity}")
        if answer.status_code == 403:
            return {}
        return {row["id"]: row for row in answer.json()["data"]}

    async def paged(self, entity: str, limit: int) -> dict[str, Row]:
        rows: dict[str, Row] = {}
        after = ""
        while True:
            path = f"/api/entities/{entity}/cursor"
            answer = await self.client.get(path, params={"after": after, "limit": limit})
            if answer.status_code == 403:
                return {}
            page = answer.json()
            rows.update({row["id"]: row for row in page["data"]})
            if not page["has_more"]:
                return rows
            assert len(page["data"]) == limit
            after = page["next_cursor"]

    async def pulls_what_a_get_shows(self, history: History) -> None:
        events, until_seq = await pull(self.client, self.cursor)
        for event in events:
            entity, row_id = event["entity"], event["row_id"]
            if entity not in VISIBLE:
                continue
            now = history.now(entity).get(row_id)
            if event["kind"] == "delete":
                assert now is None or not VISIBLE[entity](self.user, now)
                was = [s for q, s in history.states[(entity, row_id)].items() if s is not None]
                assert any(VISIBLE[entity](self.user, row) for row in was), "told of a stranger"
                assert "data" not in event
                self.replica.pop((entity, row_id), None)
            else:
                assert now is not None
                assert VISIBLE[entity](self.user, now)
                assert event["data"] == public(now)
                self.replica[(entity, row_id)] = event["data"]
        self.cursor = until_seq
        assert self.replica == {
            (entity, row_id): public(row)
            for entity, rule in VISIBLE.items()
            for row_id, row in history.now(entity).items()
            if rule(self.user, row)
        }


async def change(admin: httpx.AsyncClient, history: History, rng: random.Random, seq: int) -> bool:
    """One random write by the administrator; whether there was one."""
    entity = rng.choice(sorted(FIELDS))
    rows = history.now(entity)
    values = {
        name: rng.choice(choices) for name, choices in FIELDS[entity].items() if rng.random() < 0.5
    }
    path = f"/api/entities/{entity}"
    what = rng.random()
    if what < 0.35 or not rows:
        answer = await admin.post(path, json=values)
        assert answer.status_code == 201, answer.text
        row_id = answer.json()["id"]
        row = {"id": row_id, **dict.fromkeys(FIELDS[entity]), **values}
        history.add(seq, entity, row_id, row)
        return True
    row_id = rng.choice(sorted(rows))
    if what < 0.9:
        if not values:
            return False
        answer = await admin.patch(f"{path}/{row_id}", json=values)
        assert answer.status_code == 200, answer.text
        history.add(seq, entity, row_id, {**rows[row_id], **values}, values)
        return True
    answer = await admin.delete(f"{path}/{row_id}")
    assert answer.status_code == 200, answer.text
    history.add(seq, entity, row_id, None)
    return True


@pytest.mark.parametrize("seed", [1, 2])
async def test_nobody_is_told_what_a_get_would_refuse(server: Server, seed: int) -> None:
    rng = random.Random(seed)
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(server.async_client(ADMIN_TOKEN))
        for entity in FIELDS:
            for row in (await admin.get(f"/api/entities/{entity}")).json()["data"]:
                await admin.delete(f"/api/entities/{entity}/{row['id']}")
        start = seq = await position(server)
        readers: list[Reader] = []
        for user in USERS:
            token = None if user is None else server.token_of(user)
            reader = Reader(user, await stack.enter_async_context(server.async_client(token)))
            await pull(reader.client, 0)  # a session's cursors are its own, so it starts at 0
            reader.cursor = start
            for own_door in (False, True):
                source = event_source(
                    server, token, since=start, own_door=own_door, is_public=token is None
                )
                reader.streams.append(await stack.enter_async_context(source))
                if token is not None:
                    socket = websocket(server, token, since=start, own_door=own_door)
                    reader.streams.append(await stack.enter_async_context(socket))
            readers.append(reader)
        history = History()
        for step in range(STEPS):
            if await change(admin, history, rng, seq + 1):
                seq += 1
            if step % 10 == 9:
                await rng.choice(readers).pulls_what_a_get_shows(history)
            if step % 25 == 24:
                await rng.choice(readers).reads_what_a_get_shows(history, rng)
        last = (await admin.post("/api/entities/Mark", json={"n": 1})).json()["id"]
        for reader in readers:
            await reader.pulls_what_a_get_shows(history)
            await reader.reads_what_a_get_shows(history, rng)
            expected = history.told(reader.user, start)
            for stream in reader.streams:
                assert [
                    (event["seq"], event["row_id"], event["kind"], event.get("data"))
                    for event in await until_row(stream, last)
                ] == expected
