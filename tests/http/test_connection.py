"""The HTTP connection over real sockets: framing, order, bounds, bad bytes, disconnects."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random

import httpx
import pytest

from pylon import limits
from pylon.http.asgi import Receive, Scope, Send
from pylon.http.listener import Bounds
from pylon.tasks import in_task
from tests.http.live import Live, Raw, answer, both_loops, echo, live, read_body, with_lifespan


def code_of(body: bytes) -> str:
    return str(json.loads(body)["error"]["code"])


GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@both_loops
async def test_ordinary_requests_keep_the_connection() -> None:
    async with (
        live(echo) as server,
        httpx.AsyncClient(trust_env=False, verify=False, timeout=60) as client,
    ):
        first = await client.get(server.url + "/a%20b?q=1")
        second = await client.post(server.url + "/p", content=b"body")
        assert first.text == "GET /a b q=1 "
        assert second.text == "POST /p  body"
        assert first.headers["content-length"] == str(len(first.content))
        assert "date" in first.headers
        assert "connection" not in first.headers


@both_loops
async def test_scope_has_the_raw_facts() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await answer(send, b"")

    async with live(app) as server:
        raw = await server.connect()
        await raw.send(b"GET http://x/p%41?q HTTP/1.1\r\nHost: x\r\nX-A:  b \r\n\r\n")
        assert (await raw.answer())[0] == 200
        await raw.send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await raw.answer())[0] == 200
        raw.close()
    scope = seen[0]
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/pA", b"/p%41", b"q")
    assert scope["headers"] == [(b"host", b"x"), (b"x-a", b"b")]
    assert scope["client"][0] == "127.0.0.1"
    assert scope["server"] == ("127.0.0.1", server.ports.main)
    assert "pylon.door" not in scope
    assert seen[1]["path"] == "*"


class AtOnce:
    """An app that may begin before it has a task; notes which requests had one."""

    begins_at_once = True

    def __init__(self) -> None:
        self.had_task: list[bool] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await with_lifespan(self.answer)(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.had_task.append(asyncio.current_task() is not None)
        if scope["path"] == "/waits":
            await in_task()
            async with asyncio.timeout(60):
                await asyncio.sleep(0.01)
        if scope["path"] == "/fails":
            raise ValueError("of its own making")
        await answer(send, scope["path"].encode())


@both_loops
async def test_an_app_that_may_begin_at_once_is_given_a_task_when_it_waits() -> None:
    app = AtOnce()
    async with live(app, has_lifespan=True) as server:
        raw = await server.connect()
        for path in (b"/brief", b"/waits", b"/brief"):
            await raw.send(GET.replace(b"/ ", path + b" "))
            assert (await raw.answer())[2] == path
        assert app.had_task == [False, False, False]
        await raw.send(GET.replace(b"/ ", b"/fails "))
        assert (await raw.answer())[0] == 500
        raw.close()


@both_loops
async def test_of_pipelined_requests_only_the_first_begins_at_once() -> None:
    app = AtOnce()
    async with live(app, has_lifespan=True) as server:
        raw = await server.connect()
        await raw.send(GET * limits.PIPELINED_REQUESTS_MAX)
        for _ in range(limits.PIPELINED_REQUESTS_MAX):
            assert (await raw.answer())[0] == 200
        raw.close()
    assert app.had_task == [False, *[True] * (limits.PIPELINED_REQUESTS_MAX - 1)]


@both_loops
async def test_other_apps_have_a_task_from_the_beginning() -> None:
    had_task: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        had_task.append(asyncio.current_task() is not None)
        await answer(send, b"")

    async with live(app) as server:
        raw = await server.connect()
        await raw.send(GET)
        assert (await raw.answer())[0] == 200
        raw.close()
    assert had_task == [True]


@both_loops
async def test_pipelined_requests_are_answered_in_order() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/0":
            await asyncio.sleep(0.05)
        await answer(send, scope["path"].encode() + b":" + await read_body(receive))

    async with live(app) as server:
        raw = await server.connect()
        await raw.send(
            b"".join(
                b"POST /%d HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n%d" % (n, n)
                for n in range(10)
            )
        )
        bodies = [(await raw.answer())[2] for _ in range(10)]
        assert bodies == [b"/%d:%d" % (n, n) for n in range(10)]
        raw.close()


@both_loops
async def test_too_many_pipelined_requests_close_after_the_answers() -> None:
    async with live(echo) as server:
        raw = await server.connect()
        await raw.send(GET * (limits.PIPELINED_REQUESTS_MAX + 10))
        statuses = []
        for _ in range(limits.PIPELINED_REQUESTS_MAX + 2):
            statuses.append((await raw.answer())[0])
        assert statuses == [200] * (limits.PIPELINED_REQUESTS_MAX + 1) + [429]
        assert await raw.rest() == b""


@both_loops
async def test_head_has_a_length_and_no_body() -> None:
    async with live(echo) as server:
        raw = await server.connect()
        await raw.send(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n" + GET)
        head = await raw._within(raw.reader.readuntil(b"\r\n\r\n"))
        assert b"content-length: 8\r\n" in head
        assert (await raw.answer())[2] == b"GET /  "
        raw.close()


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    for piece in (b"", b"ab", b"", b"c" * 40_000):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


@both_loops
async def test_unknown_length_is_chunked_and_the_connection_is_kept() -> None:
    async with live(stream) as server:
        raw = await server.connect()
        for _ in range(2):
            await raw.send(GET)
            status, headers, body = await raw.answer()
            assert (status, body) == (200, b"ab" + b"c" * 40_000)
            assert headers["transfer-encoding"] == "chunked"
        raw.close()


@both_loops
async def test_http_1_0_gets_the_body_up_to_the_close() -> None:
    async with live(stream) as server:
        raw = await server.connect()
        await raw.send(b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = (await raw.rest()).partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert b"connection: close" in head
        assert body == b"ab" + b"c" * 40_000


@pytest.mark.parametrize("status", [204, 304])
@both_loops
async def test_statuses_without_body(status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"", status)

    async with live(app) as server:
        raw = await server.connect()
        await raw.send(GET + GET)
        for _ in range(2):
            got, headers, _ = await raw.answer()
            assert got == status
            assert "transfer-encoding" not in headers
        raw.close()


@both_loops
async def test_large_bodies_go_both_ways() -> None:
    async with (
        live(echo) as server,
        httpx.AsyncClient(trust_env=False, verify=False, timeout=60) as client,
    ):
        body = bytes(range(256)) * 20_000
        response = await client.post(server.url, content=body)
        assert response.content.endswith(body)


@both_loops
async def test_connection_close_is_honoured() -> None:
    async with live(echo) as server:
        raw = await server.connect()
        await raw.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" + GET)
        answer_bytes = await raw.rest()
        assert answer_bytes.count(b"HTTP/1.1") == 1
        assert b"connection: close" in answer_bytes


@both_loops
async def test_100_continue_is_sent_when_the_body_is_read() -> None:
    go = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await echo(scope, receive, send)

    async with live(app) as server:
        raw = await server.connect()
        await raw.send(
            b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        )
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(raw.reader.read(1), 0.05)
        go.set()
        assert (await raw.answer())[0] == 100
        await raw.send(b"hi")
        assert (await raw.answer())[2] == b"POST /  hi"
        raw.close()


@both_loops
async def test_an_early_answer_to_an_expecting_client_closes() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"no", 413)

    async with live(app) as server:
        raw = await server.connect()
        await raw.send(
            b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"
        )
        status, headers, _ = await raw.answer()
        assert (status, headers["connection"]) == (413, "close")
        assert await raw.rest() == b""


@both_loops
async def test_unknown_expectation_is_417() -> None:
    async with live(echo) as server:
        raw = await server.connect()
        await raw.send(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: tea\r\ncontent-length: 1\r\n\r\nx")
        assert (await raw.answer())[0] == 417
        assert await raw.rest() == b""


@both_loops
async def test_an_early_answer_reaches_a_client_that_still_sends() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            await answer(send, b"too large", 413)
        else:
            await answer(send, b"still here")

    async with live(app) as server:
        raw = await server.connect()
        size = 3_000_000
        await raw.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size)
        await raw.send(b"x" * size)
        assert (await raw.answer())[0] == 413
        await raw.send(GET)
        assert (await raw.answer())[2] == b"still here"
        raw.close()


@both_loops
async def test_an_unfinished_body_is_not_waited_for_for_ever() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"no", 413)

    async with live(app, Bounds(linger_seconds_max=0.1)) as server:
        raw = await server.connect()
        await raw.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx")
        assert (await raw.answer())[0] == 413
        assert await raw.rest() == b""


GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
    b"HELO there\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
    b"\x00" * 100,
]


@pytest.mark.parametrize("data", GARBAGE)
@both_loops
async def test_garbage_is_400_in_the_envelope_and_closes(data: bytes) -> None:
    async with live(echo) as server:
        raw = await server.connect()
        await raw.send(data)
        status, headers, body = await raw.answer()
        assert (status, code_of(body)) == (400, "BAD_REQUEST")
        assert headers["content-type"] == "application/json"
        assert headers["connection"] == "close"
        assert await raw.rest() == b""


@both_loops
async def test_http_2_0_is_505() -> None:
    async with live(echo) as server:
        raw = await server.connect()
        await raw.send(b"GET / HTTP/2.0\r\nhost: x\r\n\r\n")
        assert (await raw.answer())[0] == 505


@both_loops
async def test_garbage_behind_a_request_waits_for_its_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.05)
        await answer(send, b"fine")

    async with live(app) as server:
        raw = await server.connect()
        await raw.send(GET + b"\x00\x01\r\n\r\n")
        assert (await raw.answer())[2] == b"fine"
        assert (await raw.answer())[0] == 400
        assert await raw.rest() == b""


@both_loops
async def test_broken_chunks_tell_the_app_and_the_client() -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await read_body(receive)
        except ConnectionError:
            ended.set()

    async with live(app) as server:
        raw = await server.connect()
        await raw.send(
            b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n"
        )
        await raw.send(b"zz\r\nab\r\n")
        status, _, body = await raw.answer()
        assert (status, code_of(body)) == (400, "BAD_REQUEST")
        async with asyncio.timeout(60):
            await ended.wait()


@both_loops
async def test_endless_trailers_are_cut() -> None:
    async with live(echo, Bounds(header_bytes_max=2_000)) as server:
        raw = await server.connect()
        await raw.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ")
        for _ in range(20):
            await raw.send(b"y" * 500)
            await asyncio.sleep(0.001)
        assert (await raw.answer())[0] == 400


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 3_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 3_000,
        b"GET /" + b"y" * 3_000,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (limits.HEADER_COUNT_MAX + 1) + b"\r\n",
    ],
)
@both_loops
async def test_large_heads_are_431(head: bytes) -> None:
    async with live(echo, Bounds(header_bytes_max=2_000)) as server:
        raw = await server.connect()
        await raw.send(head)
        status, _, body = await raw.answer()
        assert (status, code_of(body)) == (431, "HEADERS_TOO_LARGE")
        assert await raw.rest() == b""


@both_loops
async def test_a_head_that_drips_in_is_closed() -> None:
    async with live(echo, Bounds(head_read_seconds_max=0.15)) as server:
        fresh, silent, used = [await server.connect() for _ in range(3)]
        await used.send(GET)
        assert (await used.answer())[0] == 200

        async def drip(raw: Raw) -> None:
            try:
                for byte in b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 10_000:
                    await raw.send(bytes((byte,)))
                    await asyncio.sleep(0.01)
            except (ConnectionError, RuntimeError):  # the latter is uvloop's word for closed
                pass

        drips = [asyncio.ensure_future(drip(raw)) for raw in (fresh, used)]
        for raw in (fresh, silent, used):
            assert await raw.rest() == b""
        for task in drips:
            await task


@both_loops
async def test_idle_connections_are_closed_and_busy_ones_are_not() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.3)
        await answer(send, b"late")

    bounds = Bounds(keep_alive_seconds=0.1, head_read_seconds_max=0.1)
    async with live(app, bounds) as server:
        raw = await server.connect()
        await raw.send(GET)
        assert (await raw.answer())[2] == b"late"
        assert await raw.rest() == b""


LARGE = b"x" * 16_000_000
HALF_HEAD = b"GET / HTTP/1.1\r\nhost: x\r\nx"
HALF_BODY = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx"


class Working:
    """An app that works until it is told that it is done; `/large` answers much at once."""

    def __init__(self) -> None:
        self.begun = 0
        self.done = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/large":
            self.begun += 1
            await answer(send, LARGE)
            return
        try:
            await read_body(receive)
        except ConnectionError:
            return
        if scope["path"] == "/work":
            self.begun += 1
            await self.done.wait()
        await answer(send, b"done")

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(60):
            while self.begun < count:  # noqa: ASYNC110 (the app is told nothing of the test)
                await asyncio.sleep(0.01)


@both_loops
async def test_connections_beyond_the_bound_are_closed() -> None:
    app = Working()
    async with live(app, Bounds(connections_max=2)) as server:
        busy = [await server.connect() for _ in range(2)]
        for raw in busy:
            await raw.send(GET.replace(b"/ ", b"/work "))
        await app.wait_for(2)
        third = await server.connect()
        assert await third.rest() == b""
        app.done.set()
        for raw in busy:
            assert (await raw.answer())[2] == b"done"


@both_loops
@pytest.mark.parametrize("sent", [b"", HALF_HEAD, HALF_BODY, GET, GET.replace(b"/ ", b"/large ")])
async def test_who_keeps_the_server_waiting_makes_room_for_others(sent: bytes) -> None:
    """Silent ones, half heads, half bodies, idle ones, answers that are not taken; those that wait
    for the server stay."""
    app = Working()
    async with live(app, Bounds(connections_max=40)) as server:
        busy = [await server.connect() for _ in range(10)]
        for raw in busy:
            await raw.send(GET.replace(b"/ ", b"/work "))
        await app.wait_for(10)
        hogs = [await server.connect() for _ in range(60)]
        for raw in hogs:
            raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
            with contextlib.suppress(ConnectionError):
                await raw.send(sent)
        if b"large" in sent:
            await app.wait_for(20)
        for _ in range(3):
            newcomer = await server.connect()
            await newcomer.send(GET)
            assert (await newcomer.answer())[2] == b"done"
        app.done.set()
        for raw in busy:
            assert (await raw.answer())[2] == b"done"


@both_loops
async def test_the_app_hears_of_a_disconnect_and_later_sends_go_nowhere() -> None:
    heard = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.body", "body": b"y"})
        heard.set()

    async with live(app) as server:
        raw = await server.connect()
        await raw.send(GET)
        await raw.reader.readuntil(b"x")
        raw.close()
        async with asyncio.timeout(60):
            await heard.wait()


@both_loops
async def test_send_waits_for_a_slow_client() -> None:
    count, piece, sent = 400, b"x" * 100_000, 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200})
        for _ in range(count):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            sent += 1
            await asyncio.sleep(0)
        await send({"type": "http.response.body"})

    async with live(app) as server:
        raw = await server.connect()
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await raw.send(GET)
        await asyncio.sleep(0.2)
        assert sent < count, "what the client does not take is not made"
        raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert (await raw.answer())[2] == piece * count


@both_loops
async def test_a_client_that_stops_reading_is_dropped() -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(1_000):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        ended.set()

    async with live(app, Bounds(stall_seconds_max=0.1)) as server:
        raw = await server.connect()
        await raw.send(GET)
        async with asyncio.timeout(60):
            await ended.wait()
        raw.close()


@both_loops
async def test_failures_of_the_app_are_500_or_a_cut(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/none":
            return
        if scope["path"] == "/smuggle":
            headers = [(b"x", b"a\r\nset-cookie: b")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["path"] == "/short":
            headers = [(b"content-length", b"9")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"four", "more_body": True})
            await send({"type": "http.response.body"})
        raise ValueError("planned")

    async with live(app) as server:
        for path in (b"/", b"/none", b"/smuggle"):
            raw = await server.connect()
            await raw.send(b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n")
            status, _, body = await raw.answer()
            assert (status, code_of(body)) == (500, "INTERNAL")
            assert await raw.rest() == b""
        raw = await server.connect()
        await raw.send(b"GET /short HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200" in await raw._within(raw.reader.readuntil(b"\r\n\r\n"))
        assert len(await raw.rest()) <= 4
    assert "planned" in caplog.text


@both_loops
async def test_an_upgrade_to_something_else_is_an_ordinary_request() -> None:
    async with live(echo) as server:
        raw = await server.connect()
        await raw.send(
            b"POST / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n"
            b"content-length: 2\r\n\r\nhi"
        )
        assert (await raw.answer())[2] == b"POST /  hi"
        raw.close()


SEEDS = [
    GET,
    b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc",
    b"POST /b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET /c HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
    b"POST /d HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    b"PUT /e HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx",
]


@both_loops
async def test_mutated_requests_never_break_the_server() -> None:
    """Random edits of ordinary requests, in random pieces: the loop meets no exception of ours."""
    failures: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    choose = random.Random(7)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await receive()
            await receive()
        elif scope["path"] == "/d":
            await answer(send, b"early")
        else:
            try:
                await echo(scope, receive, send)
            except ConnectionError:
                return

    async def talk(server: Live) -> None:
        data = bytearray(b"".join(choose.choices(SEEDS, k=choose.randint(1, 3))))
        for _ in range(choose.randint(0, 4)):
            at = choose.randrange(len(data))
            if choose.random() < 0.5:
                data[at] = choose.randrange(256)
            else:
                del data[at : at + choose.randint(1, 9)]
        raw = await server.connect()
        try:
            while data:
                size = choose.randint(1, len(data))
                await raw.send(bytes(data[:size]))
                del data[:size]
                await asyncio.sleep(0)
            raw.writer.write_eof()
            await raw.rest()
        except (ConnectionError, OSError):
            pass
        raw.close()

    async with live(app, Bounds(linger_seconds_max=0.05, close_seconds_max=0.05)) as server:
        for _ in range(20):
            await asyncio.gather(*(talk(server) for _ in range(20)))
        raw = await server.connect()
        await raw.send(GET)
        assert (await raw.answer())[0] == 200
    assert failures == []
