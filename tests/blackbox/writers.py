"""Clients that write in every way there is, and know what they may find after a crash.

Each keeps what was acknowledged, and the one write whose answer was never heard: the crash may have
let that one through, whole, or not at all. Used by `test_crash`.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import asyncio
import random
from typing import Any, Protocol

import httpx
from loro import ExportMode, LoroDoc
from websockets.asyncio.client import connect

from pylon import codec
from pylon.wire.crdt_frames import SNAPSHOT, read_document_frame
from tests.blackbox.streams import WAIT_SECONDS
from tests.server import ADMIN_TOKEN, Server, bearer

Row = dict[str, Any]
Rows = dict[str, Row]


class Writer(Protocol):
    """One client."""

    async def write_once(self, client: httpx.AsyncClient) -> None:
        """One write, acknowledged when this returns; the connection's error when it was lost."""
        ...

    async def check(self, client: httpx.AsyncClient, rows: Rows) -> None:
        """After a restart: compare with the rows by id, and take them as known."""
        ...


def new_id() -> str:
    return f"{random.getrandbits(160):040x}"


async def done(client: httpx.AsyncClient, path: str, body: Any) -> Any:
    """Post what has to succeed; the answer."""
    answer = await client.post(path, json=body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


class RowWriter:
    """Inserts, updates and deletes one row at a time.

    `known` holds the acknowledged `n` of each row (None: deleted).
    """

    def __init__(self) -> None:
        self.known: dict[str, int | None] = {}
        self.open: tuple[str, int | None] | None = None

    async def write_once(self, client: httpx.AsyncClient) -> None:
        mine = [row_id for row_id, n in self.known.items() if n is not None]
        what = random.random()
        if what < 0.5 or not mine:
            row_id = new_id()
            self.known[row_id], self.open = None, (row_id, 0)
            answer = await client.post("/api/entities/Mark", json={"id": row_id, "n": 0})
            assert answer.status_code == 201, answer.text
        else:
            row_id = random.choice(mine)
            n = (self.known[row_id] or 0) + 1 if what < 0.8 else None
            self.open = (row_id, n)
            path = f"/api/entities/Mark/{row_id}"
            sent = client.delete(path) if n is None else client.patch(path, json={"n": n})
            answer = await sent
            assert answer.status_code == 200, answer.text
        self.known.update([self.open])
        self.open = None

    async def check(self, client: httpx.AsyncClient, rows: Rows) -> None:
        for row_id, n in self.known.items():
            possible = [n]
            if self.open is not None and self.open[0] == row_id:
                possible.append(self.open[1])
            found = rows[row_id]["n"] if row_id in rows else None
            assert found in possible, (row_id, possible, found)
            self.known[row_id] = found
        self.open = None


class FamilyWriter:
    """Changes several rows in one transaction: they are equal at any time, or all absent."""

    def __init__(self) -> None:
        self.ids: tuple[str, ...] = ()
        self.known: int | None = None
        self.open = False

    async def write_once(self, client: httpx.AsyncClient) -> None:
        if self.known is None or self.known == 9:
            self.ids, self.known = tuple(new_id() for _ in range(3)), None
            steps = [
                {"op": "insert", "entity": "Mark", "data": {"id": row_id, "n": 0}}
                for row_id in self.ids
            ]
        else:
            data = {"n": self.known + 1}
            steps = [
                {"op": "update", "entity": "Mark", "id": row_id, "data": data}
                for row_id in self.ids
            ]
        self.open = True
        assert (await done(client, "/api/transact", steps))["committed"]
        self.known, self.open = self.next(), False

    def next(self) -> int:
        return 0 if self.known is None else self.known + 1

    async def check(self, client: httpx.AsyncClient, rows: Rows) -> None:
        (found,) = {rows[row_id]["n"] if row_id in rows else None for row_id in self.ids}
        assert found in ([self.known, self.next()] if self.open else [self.known])
        self.known, self.open = found, False


class PushWriter:
    """Pushes changes with operation ids, and sends some of them again after the crash."""

    def __init__(self) -> None:
        self.counter = new_id()
        self.n = 0
        self.acknowledged: list[dict[str, Any]] = []
        """The pushes of this round; each would set the counter back."""
        self.open: dict[str, Any] | None = None

    async def write_once(self, client: httpx.AsyncClient) -> None:
        kind = "update" if self.n else "insert"
        self.n += 1
        self.open = {
            "changes": [
                _change("insert", f"_pending_{new_id()}", {"n": self.n}),
                _change(kind, self.counter, {"n": self.n}),
                _change("insert", new_id(), {"n": self.n}),
            ]
        }
        answer = await done(client, "/api/sync/push", self.open)
        assert (answer["applied"], answer["deduped"]) == (3, 0), answer
        self.acknowledged.append(self.open)
        self.open = None

    async def check(self, client: httpx.AsyncClient, rows: Rows) -> None:
        found = rows[self.counter]["n"] if self.counter in rows else 0
        was_lost = found == self.n - 1
        assert found == self.n or (self.open is not None and was_lost), (found, self.n)
        for pushed in (*self.acknowledged[:1], *self.acknowledged[-1:]):
            assert pushed["changes"][2]["row_id"] in rows
            before = await marks(client)
            answer = await done(client, "/api/sync/push", pushed)
            assert (answer["applied"], answer["deduped"]) == (3, 3), answer
            assert len(answer["ids"]) == 1, "the id of its temporary row is told again"
            assert await marks(client) == before
        if self.open is not None:
            assert (self.open["changes"][2]["row_id"] in rows) is not was_lost, "half of a push"
            answer = await done(client, "/api/sync/push", self.open)
            assert (answer["applied"], answer["deduped"]) == (3, 0 if was_lost else 3), answer
        self.acknowledged, self.open = [], None


class DocumentWriter:
    """Adds words to the document of one row; the row says the same as its document."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.row_id = ""
        self.doc = LoroDoc()
        self.known = self.said = ""
        self.open: bytes | None = None
        """The update that was sent last, while its answer is not there."""

    async def write_once(self, client: httpx.AsyncClient) -> None:
        if not self.row_id:
            made = await done(client, "/api/entities/Sample", {"body": ""})
            self.row_id = made["id"]
        before = self.doc.oplog_vv
        text = self.doc.get_text("body")
        text.insert(text.len_unicode, f"{random.randrange(1_000)} ")
        self.doc.commit()
        self.said, self.open = text.to_string(), self.doc.export(ExportMode.Updates(before))
        await self.send(client)

    async def send(self, client: httpx.AsyncClient) -> None:
        assert self.open is not None
        await done(client, f"/api/crdt/Sample/{self.row_id}", {"update": self.open.hex()})
        self.known, self.open = self.said, None

    async def check(self, client: httpx.AsyncClient, rows: Rows) -> None:
        if not self.row_id:
            return
        found = rows[self.row_id]["body"]
        assert found in (self.known, self.said), (found, self.known, self.said)
        assert found == await self.stored_text()
        if self.open is not None:
            await self.send(client)  # the other updates build on it
        assert await self.stored_text() == self.known

    async def stored_text(self) -> str:
        """What the server's document says to somebody who opens it."""
        async with connect(
            self.server.ws_url(),
            additional_headers=bearer(ADMIN_TOKEN),
            proxy=None,
            max_size=None,
        ) as socket:
            said = {"type": "crdt-subscribe", "entity": "Sample", "rowId": self.row_id}
            await socket.send(codec.encode(said).decode())
            while True:
                message = await asyncio.wait_for(socket.recv(), WAIT_SECONDS)
                frame = read_document_frame(message) if isinstance(message, bytes) else None
                if frame is not None and frame.type == SNAPSHOT:
                    copy = LoroDoc()
                    copy.import_(frame.payload)
                    return copy.get_text("body").to_string()


def _change(kind: str, row_id: str, data: Row) -> dict[str, Any]:
    change = {"entity": "Mark", "row_id": row_id, "kind": kind, "data": data}
    return {**change, "op_id": new_id()}


async def marks(client: httpx.AsyncClient) -> Rows:
    """All rows of `Mark`, by id."""
    answer = await client.get("/api/entities/Mark")
    return {row["id"]: row for row in answer.json()["data"]}
