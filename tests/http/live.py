"""A real server for one test, in the test's own loop, and raw ways to talk to it."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import uvloop

from pylon.http.asgi import Message, Receive, Scope, Send
from pylon.http.doors import Ports
from pylon.http.listener import DEFAULT_BOUNDS, ASGIApp, Bounds
from pylon.server import Stop, serve

T = TypeVar("T")


def both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on asyncio's loop and on uvloop, whose transports differ."""

    @functools.wraps(test)
    def run(loop: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(test(**arguments))

    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    parameters = [*inspect.signature(test).parameters.values(), loop]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    del run.__wrapped__
    factories = [asyncio.new_event_loop, uvloop.new_event_loop]
    marked: Callable[..., None] = pytest.mark.parametrize(
        "loop", factories, ids=["asyncio", "uvloop"]
    )(run)
    return marked


@dataclass(kw_only=True)
class Live:
    """A running server."""

    ports: Ports
    stop: Stop
    task: asyncio.Task[int]
    clients: list[Raw] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports.main}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.ports.main}"

    async def connect(self) -> Raw:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports.main)
        self.clients.append(Raw(reader=reader, writer=writer))
        return self.clients[-1]


@dataclass(kw_only=True)
class Raw:
    """One TCP connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next response."""
        head = (await self._within(self.reader.readuntil(b"\r\n\r\n"))).decode()
        first, *lines = head.split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines if x)
        }
        status = int(first.split()[1])
        if headers.get("transfer-encoding") == "chunked":
            return status, headers, await self._chunks()
        length = int(headers.get("content-length", 0))
        return status, headers, await self._within(self.reader.readexactly(length))

    async def _chunks(self) -> bytes:
        parts = []
        while True:
            size = int(await self._within(self.reader.readline()), 16)
            parts.append((await self._within(self.reader.readexactly(size + 2)))[:-2])
            if size == 0:
                return b"".join(parts)

    async def rest(self) -> bytes:
        """Everything until the server closes; a reset counts as an end."""
        try:
            return await self._within(self.reader.read())
        except ConnectionError:
            return b""

    async def _within(self, coroutine: Awaitable[T]) -> T:
        async with asyncio.timeout(60):
            return await coroutine

    def close(self) -> None:
        self.writer.close()


def with_lifespan(app: ASGIApp) -> ASGIApp:
    """Answer the lifespan for an app that has none."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    return wrapped


@asynccontextmanager
async def live(
    app: ASGIApp,
    bounds: Bounds = DEFAULT_BOUNDS,
    *,
    single_port: bool = True,
    has_lifespan: bool = False,
    **options: Any,
) -> AsyncIterator[Live]:
    """Serve `app` on free ports while the block runs; the stop must be clean."""
    started: asyncio.Future[Ports] = asyncio.get_running_loop().create_future()
    stop = Stop()
    task = asyncio.ensure_future(
        serve(
            app if has_lifespan else with_lifespan(app),
            port=0,
            single_port=single_port,
            bounds=bounds,
            on_started=started.set_result,
            stop=stop,
            handle_signals=False,
            **{"drain_seconds": 0.5, **options},
        )
    )
    waited: set[asyncio.Future[Any]] = {task, started}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    server = Live(ports=await started, stop=stop, task=task)
    try:
        yield server
    finally:
        for client in server.clients:
            client.writer.transport.abort()
        if not task.done():
            if not stop.asked.is_set():
                stop()
            async with asyncio.timeout(60):
                await task


async def read_body(receive: Receive) -> bytes:
    """The whole body; raises ConnectionError when the client goes away before its end."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        body += bytes(message["body"])
        if not message["more_body"]:
            return body


async def answer(send: Send, body: bytes, status: int = 200, **start: Any) -> None:
    """A whole response."""
    await send({"type": "http.response.start", "status": status, "headers": [], **start})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with method, path, query and body."""
    body = await read_body(receive)
    parts = (scope["method"].encode(), scope["path"].encode(), scope["query_string"], body)
    await answer(send, b" ".join(parts))


def disconnect_of(message: Message) -> tuple[int, str]:
    """Code and reason of a `websocket.disconnect`."""
    assert message["type"] == "websocket.disconnect"
    return message["code"], message["reason"]
