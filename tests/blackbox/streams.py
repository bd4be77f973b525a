"""Live streams as a client has them: WebSocket and server-sent events, read with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Protocol

import httpx
from websockets.asyncio.client import ClientConnection, connect

from pylon import codec
from tests.server import ADMIN_TOKEN, Server, bearer

Event = dict[str, Any]
WAIT_SECONDS = 60.0


class Stream(Protocol):
    """One open stream."""

    async def next(self) -> Event:
        """The next change event."""
        ...


async def until(stream: Stream, done: Callable[[Event], bool]) -> list[Event]:
    """Events up to and with the first for which `done` holds."""
    events: list[Event] = []
    while True:
        events.append(await stream.next())
        if done(events[-1]):
            return events


async def until_row(stream: Stream, row_id: str) -> list[Event]:
    """Events before the first one of this row; write it last, and nothing else can come."""
    return (await until(stream, lambda event: event["row_id"] == row_id))[:-1]


class SocketStream:
    """A WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def next(self) -> Event:
        message = await asyncio.wait_for(self.socket.recv(), WAIT_SECONDS)
        assert isinstance(message, str), "changes are text"
        event: Event = codec.decode_trusted(message)
        return event


class EventSource:
    """A stream of server-sent events, parsed as a browser does."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self.lines = lines
        self.last_id = ""

    async def next(self) -> Event:
        data: list[str] = []
        async with asyncio.timeout(WAIT_SECONDS):
            async for line in self.lines:
                if line.startswith("id: "):
                    self.last_id = line[4:]
                elif line.startswith("data: "):
                    data.append(line[6:])
                elif not line and data:
                    event: Event = codec.decode_trusted("\n".join(data))
                    assert self.last_id == str(event["seq"])
                    return event
        raise EOFError("the stream has ended")


@asynccontextmanager
async def websocket(
    server: Server,
    token: str | None,
    *,
    since: int | None = None,
    own_door: bool = False,
    compressed: bool = False,
) -> AsyncIterator[SocketStream]:
    """A WebSocket with a bearer header; one that offers compression, as browsers do, if asked."""
    query = "" if since is None else f"?since={since}"
    url = server.ws_url(f"/ws{query}", own_door=own_door)
    async with connect(
        url,
        additional_headers=bearer(token),
        proxy=None,
        max_size=None,
        compression="deflate" if compressed else None,
    ) as socket:
        yield SocketStream(socket)


class _EventSourceContext:
    """An event stream as a context; `async with` cannot nest two httpx contexts in one line."""

    def __init__(
        self, server: Server, token: str | None, params: dict[str, Any], own: bool
    ) -> None:
        headers = bearer(token)
        if "last_event_id" in params:
            headers["last-event-id"] = str(params.pop("last_event_id"))
        self._client = httpx.AsyncClient(trust_env=False, verify=False, timeout=60)
        base = server.sse_url if own else server.url
        self._stream = self._client.stream("GET", f"{base}/events", params=params, headers=headers)

    async def __aenter__(self) -> EventSource:
        response = await self._stream.__aenter__()
        assert response.status_code == 200, response.status_code
        assert response.headers["content-type"] == "text/event-stream"
        self._lines = _lines(response)  # Kept: collected, it would close the response.
        assert await anext(self._lines) == ": connected"
        return EventSource(self._lines)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stream.__aexit__(kind, error, trace)
        await self._client.aclose()


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    """Lines as the format has them; httpx would also split at other Unicode line ends."""
    rest = b""
    async for chunk in response.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode()


def event_source(
    server: Server,
    token: str | None,
    *,
    since: int | None = None,
    last_event_id: int | None = None,
    own_door: bool = False,
    is_public: bool = False,
) -> _EventSourceContext:
    """Server-sent events, anonymous too; `is_public` says that it pulls as nobody."""
    params: dict[str, Any] = {"public": "1"} if is_public else {}
    if since is not None:
        params["since"] = since
    if last_event_id is not None:
        params["last_event_id"] = last_event_id
    return _EventSourceContext(server, token, params, own_door)


async def position(server: Server) -> int:
    """Where the log is now; a stream with `since=` this hears only what comes after."""
    async with server.async_client(ADMIN_TOKEN) as admin:
        return (await pull(admin, 0))[1]


async def pull(client: httpx.AsyncClient, since: int) -> tuple[list[Event], int]:
    """All pages after a cursor, and the cursor then."""
    events: list[Event] = []
    while True:
        answer = await client.get("/api/sync/pull", params={"since": since})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert list(page) == ["changes", "cursor", "has_more"]
        events += page["changes"]
        until_seq = page["cursor"]["last_seq"]
        assert until_seq > since or not page["has_more"], "a cursor moves"
        since = until_seq
        if not page["has_more"]:
            return events, since
