"""How the engine double reaches a server: over real sockets, or straight into an ASGI app.

The second kind is for thousands of schedules, and can fail on purpose: before the server hears of
a request, or after it has answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from pylon import codec
from pylon.service import Service
from tests.server import ORIGIN, bearer
from tests.sync.engine import Answer, Offline, Stream

FAR_SECONDS = 30.0


class RealNetwork:
    """httpx and websockets, at the addresses that the official client derives from its base."""

    def __init__(self, base_url: str, *, is_newer: bool = False) -> None:
        """With `is_newer` at those of clients that know of one port only."""
        parts = urlsplit(base_url)
        assert parts.port is not None
        self._base = base_url
        self._websocket = f"ws://{parts.hostname}:{parts.port + 1}"
        if is_newer:
            self._websocket = f"ws://{parts.netloc}/api/sync/ws"
        self._events = f"http://{parts.hostname}:{parts.port + 2}/events"
        self._client = httpx.AsyncClient(trust_env=False, verify=False, timeout=FAR_SECONDS)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def request(
        self, method: str, path: str, *, token: str | None, body: Any = None
    ) -> Answer:
        try:
            answer = await self._client.request(
                method, self._base + path, headers=bearer(token), json=body
            )
        except httpx.TransportError as error:
            raise Offline from error
        return Answer(answer.status_code, answer.json())

    async def websocket(self, token: str | None) -> Stream:
        entry = None if token is None else Subprotocol(f"bearer.{quote(token, safe='')}")
        try:
            socket = await connect(
                self._websocket,
                subprotocols=None if entry is None else [entry],
                proxy=None,
                max_size=None,
            )
        except (OSError, WebSocketException, TimeoutError) as error:
            raise Offline from error
        # A browser fails the connection when the server does not echo the entry.
        assert socket.subprotocol == entry
        return _RealSocket(socket)

    async def events(self) -> Stream:
        request = self._client.build_request(
            "GET",
            self._events,
            headers={"accept": "text/event-stream", "origin": ORIGIN},
            timeout=None,
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            raise Offline from error
        if response.status_code != 200:
            await response.aclose()
            raise Offline
        return _RealEvents(response)


class _RealSocket:
    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def receive(self) -> str | bytes | None:
        try:
            return await self._socket.recv()
        except WebSocketException:
            return None

    async def send(self, text: str) -> None:
        await self._socket.send(text)

    async def close(self) -> None:
        await self._socket.close()


class _RealEvents:
    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks = response.aiter_bytes()
        self._rest = b""

    async def receive(self) -> str | None:
        while b"\n\n" not in self._rest:
            try:
                self._rest += await anext(self._chunks)
            except (StopAsyncIteration, httpx.TransportError, httpx.StreamError):
                return None
        block, self._rest = self._rest.split(b"\n\n", 1)
        data = [line[6:] for line in block.split(b"\n") if line.startswith(b"data: ")]
        return b"\n".join(data).decode() if data else "{}"

    async def send(self, text: str) -> None:
        raise NotImplementedError("an event stream goes one way")

    async def close(self) -> None:
        await self._response.aclose()


class AsgiNetwork:
    """Straight into the app. `fate` decides about each request: "ok", "lost" before the server
    hears of it, or "unanswered" after it has done its work."""

    def __init__(
        self,
        service: Service,
        fate: Callable[[str], str] = lambda path: "ok",
        *,
        address: str = "127.0.0.1",
        agent: str | None = None,
    ) -> None:
        self._service = service
        self._fate = fate
        self._address = address
        self._agent = agent

    async def request(
        self, method: str, path: str, *, token: str | None, body: Any = None
    ) -> Answer:
        fate = self._fate(path)
        if fate == "lost":
            raise Offline
        url, _, query = path.partition("?")
        sent = [{"type": "http.request", "body": b"" if body is None else codec.encode(body)}]
        status, content = 0, b""

        async def receive() -> dict[str, Any]:
            if sent:
                return sent.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal status, content
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                content += message.get("body", b"")

        scope = {"type": "http", "method": method, **self._scope(url, query, token)}
        await self._service(scope, receive, send)
        if fate == "unanswered":
            raise Offline
        return Answer(status, codec.decode(content))

    async def websocket(self, token: str | None) -> Stream:
        if self._fate("websocket") == "lost":
            raise Offline
        scope = {"type": "websocket", "pylon.door": "ws", **self._scope("/", "", token)}
        return self._open(scope)

    async def events(self) -> Stream:
        if self._fate("events") == "lost":
            raise Offline
        scope = {"type": "http", "method": "GET", **self._scope("/events", "", None)}
        scope["headers"].append((b"origin", ORIGIN.encode()))
        return self._open(scope)

    def _open(self, scope: dict[str, Any]) -> _AsgiStream:
        return _AsgiStream(self._service, scope)

    def _scope(self, path: str, query: str, token: str | None) -> dict[str, Any]:
        headers = [(name.encode(), value.encode()) for name, value in bearer(token).items()]
        if self._agent is not None:
            headers.append((b"user-agent", self._agent.encode()))
        return {
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
            "client": (self._address, 1),
            "scheme": "http",
            "extensions": {},
        }


class _AsgiStream:
    """A WebSocket or an event stream of an app."""

    def __init__(self, service: Service, scope: dict[str, Any]) -> None:
        self._inbox: asyncio.Queue[str | None] = asyncio.Queue()
        self._outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        first = "websocket.connect" if scope["type"] == "websocket" else "http.request"
        self._outbox.put_nowait({"type": first, "body": b""})
        self._gone = first.split(".")[0] + ".disconnect"
        self._task = asyncio.create_task(self._run(service, scope))

    async def _run(self, service: Service, scope: dict[str, Any]) -> None:
        try:
            await service(scope, self._outbox.get, self._take)
        finally:
            self._inbox.put_nowait(None)

    async def _take(self, message: MutableMapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "websocket.send":
            if message.get("text") is not None:
                self._inbox.put_nowait(message["text"])
        elif kind == "websocket.close":
            self._inbox.put_nowait(None)
            self._outbox.put_nowait({"type": self._gone, "code": message["code"]})
        elif kind == "http.response.body":
            for line in message.get("body", b"").split(b"\n"):
                if line.startswith(b"data: "):
                    self._inbox.put_nowait(line[6:].decode())

    async def receive(self) -> str | None:
        return await self._inbox.get()

    async def send(self, text: str) -> None:
        self._outbox.put_nowait({"type": "websocket.receive", "text": text})

    async def close(self) -> None:
        self._outbox.put_nowait({"type": self._gone, "code": 1006})
        self._inbox.put_nowait(None)
        with suppress(asyncio.CancelledError):
            await self._task
