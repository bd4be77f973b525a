"""Editors over real sockets: each with a session, a socket and a replica of one row's document."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from loro import ExportMode, LoroDoc, LoroText
from websockets.asyncio.client import ClientConnection, connect

from pylon import codec
from pylon.wire.crdt_frames import SNAPSHOT, UPDATE, read_document_frame
from tests.server import Server, bearer

WAIT_SECONDS = 60.0


class Editor:
    """One person with the document of one row open."""

    def __init__(self, http: httpx.AsyncClient, socket: ClientConnection) -> None:
        self.http, self.socket = http, socket
        self.doc = LoroDoc()
        self.events: list[dict[str, Any]] = []
        self.kinds: list[int] = []
        """Types of the frames and 0 for events, in the order of their coming."""
        self._sent = self.doc.oplog_vv

    async def say(self, kind: str, **more: Any) -> None:
        await self.socket.send(codec.encode({"type": kind, **more}).decode())

    async def subscribe(self, row_id: str, entity: str = "Page") -> None:
        await self.say("crdt-subscribe", entity=entity, rowId=row_id)

    async def next(self) -> int:
        """Take the next message; the type of its frame, 0 for an event."""
        message = await asyncio.wait_for(self.socket.recv(), WAIT_SECONDS)
        if isinstance(message, str):
            self.events.append(codec.decode_trusted(message))
            self.kinds.append(0)
            return 0
        frame = read_document_frame(message)
        assert frame is not None
        assert frame.entity == "Page"
        self.doc.import_(frame.payload)
        self.kinds.append(frame.type)
        self._sent = self.doc.oplog_vv
        return frame.type

    async def until_frame(self, kind: int) -> None:
        while await self.next() != kind:
            pass

    async def until_text(self, text: str, field: str = "body") -> None:
        while self.row.get(field) != text:
            await self.next()

    async def until_event(self, row_id: str, kind: str | None = None) -> None:
        """Take messages up to an event of this row."""
        while True:
            if await self.next() == 0:
                event = self.events[-1]
                if event["row_id"] == row_id and kind in (None, event["kind"]):
                    return

    @property
    def row(self) -> dict[str, Any]:
        value: Any = self.doc.get_deep_value()
        return dict(value.get("row", {}))

    def text(self) -> LoroText:
        container: Any = self.doc.get_map("row").get("body")
        assert isinstance(container.container, LoroText)
        return container.container

    def root(self) -> LoroText:
        return self.doc.get_text("body")

    def take_update(self) -> bytes:
        self.doc.commit()
        update = self.doc.export(ExportMode.Updates(self._sent))
        self._sent = self.doc.oplog_vv
        return update

    async def push(self, row_id: str, update: bytes | None = None) -> httpx.Response:
        body = {"update": (self.take_update() if update is None else update).hex()}
        return await self.http.post(f"/api/crdt/Page/{row_id}", json=body)


@asynccontextmanager
async def editing(server: Server, user: str) -> AsyncIterator[Editor]:
    """An editor who is connected."""
    token = await asyncio.to_thread(server.token_of, user)
    async with (
        server.async_client(token) as http,
        connect(
            server.ws_url(), additional_headers=bearer(token), proxy=None, max_size=None
        ) as socket,
    ):
        yield Editor(http, socket)


__all__ = ["SNAPSHOT", "UPDATE", "Editor", "editing"]
