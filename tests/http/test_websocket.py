"""WebSockets over real sockets: ASGI, raw frames, order, bounds, pings, closing."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from pylon import limits
from pylon.http.asgi import Message, Receive, Scope, Send
from pylon.http.frames import binary_frame, text_frame
from pylon.http.inbox import Inbox
from pylon.http.listener import ASGIApp, Bounds
from pylon.http.websocket import RawFrames, WebSocketConnection
from tests.http.live import Live, Raw, both_loops, disconnect_of, live

Handler = Callable[[RawFrames, Receive, Send], Awaitable[None]]


def accepting(handler: Handler, **accept: Any) -> ASGIApp:
    """An app that accepts and then does what `handler` says."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", **accept})
        await handler(scope["extensions"]["pylon.frames"], receive, send)

    return app


async def echo(frames: RawFrames, receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


class Outcome:
    """Where an app puts what it saw for the test to read."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.ended = asyncio.Event()

    async def listen(self, frames: RawFrames, receive: Receive, send: Send) -> None:
        while True:
            self.messages.append(await receive())
            if self.messages[-1]["type"] == "websocket.disconnect":
                self.ended.set()
                return

    async def goodbye(self) -> tuple[int, str]:
        async with asyncio.timeout(60):
            await self.ended.wait()
        return disconnect_of(self.messages[-1])


def assert_closed(frames: RawFrames) -> None:
    assert frames.closed


def client_frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


async def upgraded(server: Live, *, then: bytes = b"") -> Raw:
    """A raw client after the handshake."""
    raw = await server.connect()
    key = base64.b64encode(b"0123456789abcdef")
    await raw.send(
        b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: " + key + b"\r\n\r\n" + then
    )
    status, _, _ = await raw.answer()
    assert status == 101
    return raw


async def frame(raw: Raw) -> tuple[int, bytes]:
    """Opcode and payload of the next (short) frame from the server."""
    first, length = await raw._within(raw.reader.readexactly(2))
    if length == 126:
        (length,) = struct.unpack("!H", await raw._within(raw.reader.readexactly(2)))
    return first & 15, await raw._within(raw.reader.readexactly(length))


async def close_code(raw: Raw) -> int:
    opcode, payload = await frame(raw)
    assert opcode == Opcode.CLOSE
    return int.from_bytes(payload[:2], "big")


def dial(server: Live, **options: Any) -> connect:
    return connect(server.ws_url, proxy=None, **{"compression": None, **options})


@both_loops
async def test_text_and_binary_come_back() -> None:
    async with live(accepting(echo)) as server, dial(server) as client:
        for message in ("", "häl" * 50_000, b"", b"\x00\xff" * 100_000):
            await client.send(message)
            assert await client.recv() == message


@both_loops
async def test_fragments_are_one_message() -> None:
    async with live(accepting(echo)) as server, dial(server) as client:
        await client.send(["ab", "", "c"])
        assert await client.recv() == "abc"
        await client.send([b"a"] * 300)
        assert await client.recv() == b"a" * 300


@both_loops
async def test_the_scope_and_the_subprotocol() -> None:
    seen: list[Scope] = []
    protocol = "bearer.a%2Fb%3D+c=/x"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        chosen = scope["subprotocols"][-1]
        headers = [(b"x-own", b"1")]
        await send({"type": "websocket.accept", "subprotocol": chosen, "headers": headers})
        await receive()

    async with live(app) as server:
        raw = await server.connect()
        await raw.send(
            b"GET /ws%20x?since=3 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
            b"Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
            b"Sec-WebSocket-Protocol: first, " + protocol.encode() + b"\r\n\r\n"
        )
        status, headers, _ = await raw.answer()
        assert status == 101
        assert headers["sec-websocket-protocol"] == protocol
        assert headers["x-own"] == "1"
    scope = seen[0]
    assert (scope["path"], scope["raw_path"]) == ("/ws x", b"/ws%20x")
    assert scope["query_string"] == b"since=3"
    assert scope["subprotocols"] == ["first", protocol]
    assert (b"host", b"x") in scope["headers"]
    assert scope["client"][0] == "127.0.0.1"


@both_loops
async def test_no_subprotocol_is_answered_with_none() -> None:
    async with live(accepting(echo)) as server, dial(server) as client:
        assert client.subprotocol is None
        assert client.response is not None
        assert "sec-websocket-protocol" not in client.response.headers


@both_loops
async def test_send_and_write_stay_in_order() -> None:
    async def app(frames: RawFrames, receive: Receive, send: Send) -> None:
        for n in range(0, 300, 3):
            await send({"type": "websocket.send", "text": str(n)})
            frames.write(text_frame(b"%d" % (n + 1)) + text_frame(b"%d" % (n + 2)))
        await receive()

    async with live(accepting(app)) as server, dial(server) as client:
        assert [await client.recv() for _ in range(300)] == [str(n) for n in range(300)]


@both_loops
async def test_a_slow_reader_grows_the_backlog_and_is_closed_in_time() -> None:
    outcome = Outcome()
    backlog = asyncio.get_running_loop().create_future()

    async def app(frames: RawFrames, receive: Receive, send: Send) -> None:
        assert frames.backlog() == 0
        assert frames.closed is False
        while frames.backlog() < 3_000_000:
            frames.write(binary_frame(b"x" * 100_000))
        backlog.set_result(frames.backlog())
        frames.close(1013, "too slow")
        assert_closed(frames)
        before = frames.backlog()
        frames.write(binary_frame(b"never"))
        frames.close(1000)
        assert frames.backlog() == before
        await outcome.listen(frames, receive, send)

    async with live(accepting(app), Bounds(close_seconds_max=0.2)) as server:
        raw = await upgraded(server)
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        assert await backlog >= 3_000_000
        assert await outcome.goodbye() == (1013, "too slow")
        await asyncio.sleep(0.3)
        raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await raw.rest()) < 3_000_000 + 10_000_000


@both_loops
async def test_send_waits_for_a_slow_reader() -> None:
    sent = 0

    async def app(frames: RawFrames, receive: Receive, send: Send) -> None:
        nonlocal sent
        for _ in range(200):
            await send({"type": "websocket.send", "bytes": b"x" * 100_000})
            sent += 1

    async with live(accepting(app)) as server, dial(server, max_queue=1) as client:
        await asyncio.sleep(0.1)
        assert sent < 200
        received = 0
        async for _ in client:
            received += 1
        assert received == 200
        assert client.close_code == 1000


@both_loops
async def test_the_app_closes_with_code_and_reason() -> None:
    outcome = Outcome()

    async def app(frames: RawFrames, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close", "code": 1008, "reason": "no token"})
        with pytest.raises(OSError, match="closed"):
            await send({"type": "websocket.send", "text": "late"})
        await outcome.listen(frames, receive, send)

    async with live(accepting(app)) as server, dial(server) as client:
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (1008, "no token")
        assert (await outcome.goodbye())[0] == 1008


@both_loops
async def test_the_client_closes() -> None:
    outcome = Outcome()
    async with live(accepting(outcome.listen)) as server:
        async with dial(server) as client:
            await client.send("last")
            await client.close(4001, "bye")
        assert await outcome.goodbye() == (4001, "bye")
        assert outcome.messages[0]["text"] == "last"


@both_loops
async def test_a_lost_client_is_1006() -> None:
    outcome = Outcome()
    async with live(accepting(outcome.listen)) as server:
        raw = await upgraded(server)
        raw.writer.transport.abort()
        assert (await outcome.goodbye())[0] == 1006


@both_loops
async def test_a_client_that_never_answers_the_close_is_cut() -> None:
    async def app(frames: RawFrames, receive: Receive, send: Send) -> None:
        frames.close(1000)

    async with live(accepting(app), Bounds(close_seconds_max=0.1)) as server:
        raw = await upgraded(server)
        assert await close_code(raw) == 1000
        assert await raw.rest() == b""


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (client_frame(Opcode.TEXT, b"x" * 1_001), 1009),
        (
            client_frame(Opcode.TEXT, b"x" * 900, fin=False)
            + client_frame(Opcode.CONT, b"y" * 200),
            1009,
        ),
        (client_frame(Opcode.TEXT, b"\xff\xfe"), 1007),
        (client_frame(Opcode.CONT, b"x"), 1002),
        (b"\x81\x01x", 1002),
        (b"\xff\xff\xff\xff\xff\xff", 1002),
        (b"\x89\x7e\x01\x00" + b"x" * 300, 1002),
    ],
    ids=["large", "large in parts", "not UTF-8", "stray part", "no mask", "noise", "long ping"],
)
@both_loops
async def test_bad_frames_get_their_code(data: bytes, code: int) -> None:
    outcome = Outcome()
    bounds = Bounds(message_bytes_max=1_000, close_seconds_max=0.2)
    async with live(accepting(outcome.listen), bounds) as server:
        raw = await upgraded(server)
        await raw.send(data)
        assert await close_code(raw) == code
        assert (await outcome.goodbye())[0] == code
        assert await raw.rest() == b""
        assert len(outcome.messages) == 1


@pytest.mark.parametrize(
    ("behind", "code"),
    [
        (client_frame(Opcode.CLOSE, b"\x03\xe8"), 1000),
        (client_frame(Opcode.CONT, b"x"), 1002),
        (b"\x81\x81\x00\x22x\x22}\x00\x00\x00\xff", 1002),
    ],
    ids=["close", "stray part", "noise"],
)
@both_loops
async def test_bad_text_together_with_the_end(
    behind: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Both are read before the text is looked at."""
    outcome = Outcome()
    async with live(accepting(outcome.listen), Bounds(close_seconds_max=0.2)) as server:
        raw = await upgraded(server)
        await raw.send(client_frame(Opcode.TEXT, b"\xff") + behind)
        assert await close_code(raw) == code
        assert (await outcome.goodbye())[0] == 1007
        assert await raw.rest() == b""
    assert not caplog.records


@both_loops
async def test_the_close_frame_reaches_a_client_that_still_sends() -> None:
    outcome = Outcome()
    async with live(accepting(outcome.listen), Bounds(message_bytes_max=1_000)) as server:
        raw = await upgraded(server)
        await raw.send(client_frame(Opcode.BINARY, b"x" * 5_000_000))
        assert await close_code(raw) == 1009
        raw.close()
        assert (await outcome.goodbye())[0] == 1009


@both_loops
async def test_pings_go_out_and_silence_ends_it() -> None:
    outcome = Outcome()
    bounds = Bounds(ping_seconds=0.05, close_seconds_max=0.1)
    async with live(accepting(outcome.listen), bounds) as server, dial(server) as lively:
        silent = await upgraded(server)
        opcodes = [(await frame(silent))[0] for _ in range(limits.SOCKET_PONGS_MISSED_MAX + 1)]
        assert opcodes == [Opcode.PING] * limits.SOCKET_PONGS_MISSED_MAX + [Opcode.CLOSE]
        assert await silent.rest() == b""
        assert (await outcome.goodbye())[0] == 1011
        await lively.send("still here")
        await (await lively.ping())


@both_loops
async def test_client_pings_are_answered() -> None:
    async with live(accepting(echo)) as server:
        raw = await upgraded(server)
        await raw.send(client_frame(Opcode.PING, b"abc"))
        assert await frame(raw) == (Opcode.PONG, b"abc")


@both_loops
async def test_a_flood_waits_until_the_app_receives() -> None:
    go = asyncio.Event()
    total = 50_000
    inboxes: list[Inbox] = []

    async def app(frames: RawFrames, receive: Receive, send: Send) -> None:
        inboxes.append(frames._socket.state.inbox)
        await go.wait()
        count = 0
        while count < total:
            assert (await receive())["type"] == "websocket.receive"
            count += 1
        await send({"type": "websocket.send", "text": str(count)})

    async with live(accepting(app)) as server:
        raw = await upgraded(server)
        raw.writer.write(client_frame(Opcode.TEXT, b"x") * total)
        await asyncio.sleep(0.1)
        assert 0 < len(inboxes[0]) < 8_192
        go.set()
        assert await frame(raw) == (Opcode.TEXT, b"50000")


@pytest.mark.parametrize(
    "minor",
    [
        client_frame(Opcode.CONT, b"", fin=False),
        client_frame(Opcode.CONT, b"y", fin=False),
        client_frame(Opcode.PING, b""),
        client_frame(Opcode.PONG, b""),
    ],
    ids=["empty parts", "small parts", "pings", "pongs"],
)
@both_loops
async def test_frames_that_say_nothing_are_read_more_slowly(
    minor: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SOCKET_MINOR_FRAMES_PER_SECOND", 0.001)
    sockets: list[WebSocketConnection] = []

    async def app(frames: RawFrames, receive: Receive, send: Send) -> None:
        sockets.append(frames._socket)
        await echo(frames, receive, send)

    bounds = Bounds(close_seconds_max=0.1)  # The flooding one is not read, its end neither.
    async with live(accepting(app), bounds) as server, dial(server) as other:
        flooding = await upgraded(server)
        flooding.writer.write(client_frame(Opcode.TEXT, b"x", fin=False))
        flooding.writer.write(minor * (limits.SOCKET_MINOR_FRAMES_BURST + 1_000))
        while not sockets[-1]._reading.is_paused:
            flooding.writer.write(minor)
            await other.send("still here")
            assert await asyncio.wait_for(other.recv(), 60) == "still here"
        assert sockets[-1].state._held, "what came meanwhile is kept"


@both_loops
async def test_a_message_in_many_parts_arrives_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SOCKET_MINOR_FRAMES_BURST", 10)
    monkeypatch.setattr(limits, "SOCKET_MINOR_FRAMES_PER_SECOND", 20_000)
    async with live(accepting(echo)) as server:
        raw = await upgraded(server)
        raw.writer.write(client_frame(Opcode.TEXT, b"", fin=False))
        raw.writer.write(client_frame(Opcode.CONT, b"y", fin=False) * 3_000)
        raw.writer.write(client_frame(Opcode.PING, b"p") + client_frame(Opcode.CONT, b""))
        assert await frame(raw) == (Opcode.PONG, b"p")
        assert await frame(raw) == (Opcode.TEXT, b"y" * 3_000)


@both_loops
async def test_frames_sent_before_the_101_are_kept() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.02)
        await accepting(echo)(scope, receive, send)

    async with live(app) as server:
        early = client_frame(Opcode.TEXT, b"early") + client_frame(Opcode.PING, b"p")
        raw = await upgraded(server, then=early)
        assert {await frame(raw), await frame(raw)} == {
            (Opcode.TEXT, b"early"),
            (Opcode.PONG, b"p"),
        }


@both_loops
async def test_refusals_are_http() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if scope["path"] == "/own":
            headers = [(b"content-type", b"text/x"), (b"retry-after", b"3")]
            await send({"type": "websocket.http.response.start", "status": 429, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": b"a", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"b"})
        elif scope["path"] == "/close":
            await send({"type": "websocket.close"})
        elif scope["path"] == "/fail":
            raise ValueError("planned")
        assert (await receive())["type"] == "websocket.disconnect"

    async with live(app, Bounds(handshake_seconds_max=0.2)) as server:
        for path, status in {"/own": 429, "/close": 403, "/fail": 500, "/sleep": 503}.items():
            with pytest.raises(InvalidStatus) as caught:
                async with connect(server.ws_url + path, proxy=None):
                    pass
            assert caught.value.response.status_code == status
            if path == "/own":
                assert caught.value.response.body == b"ab"
                assert caught.value.response.headers["retry-after"] == "3"


@both_loops
async def test_bad_handshakes_are_400_and_the_app_hears_nothing() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("the app was called")

    upgrade = {"connection": "upgrade", "upgrade": "websocket"}
    async with (
        live(app) as server,
        httpx.AsyncClient(trust_env=False, verify=False, timeout=60) as client,
    ):
        for headers in ({}, {"sec-websocket-key": "short", "sec-websocket-version": "13"}):
            answer = await client.get(server.url, headers={**upgrade, **headers})
            assert answer.status_code == 400
            assert answer.json()["error"]["code"] == "BAD_REQUEST"
        answer = await client.request("PUT", server.url, headers=upgrade)
        assert answer.status_code == 405


@both_loops
async def test_a_failing_app_closes_1011(caplog: pytest.LogCaptureFixture) -> None:
    async def app(frames: RawFrames, receive: Receive, send: Send) -> None:
        raise ValueError("planned")

    async with live(accepting(app)) as server, dial(server) as client:
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1011
    assert "planned" in caplog.text


@both_loops
async def test_a_stop_closes_1001() -> None:
    outcome = Outcome()
    async with live(accepting(outcome.listen)) as server:
        clients: list[ClientConnection] = [await dial(server) for _ in range(3)]
        server.stop()
        for client in clients:
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1001
            await client.close()
        assert await server.task == 0
        assert (await outcome.goodbye())[0] == 1001


@both_loops
async def test_under_a_plain_uvicorn() -> None:
    import uvicorn

    from pylon.http.websocket import WebSocketConnection

    config = uvicorn.Config(
        accepting(echo),
        port=0,
        http="httptools",
        ws=WebSocketConnection,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    uvicorn_server = uvicorn.Server(config)
    task = asyncio.ensure_future(uvicorn_server._serve())
    while not uvicorn_server.started:  # noqa: ASYNC110 (uvicorn offers no event)
        await asyncio.sleep(0.01)
    port = uvicorn_server.servers[0].sockets[0].getsockname()[1]
    async with connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
        await client.send("x")
        assert await client.recv() == "x"
    uvicorn_server.should_exit = True
    await task
