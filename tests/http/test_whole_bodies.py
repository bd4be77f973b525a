"""Bodies that have come already are taken at once, and are the same as those that are received."""

from __future__ import annotations

import asyncio
import json

import pytest

from pylon.errors import PylonError
from pylon.http.asgi import Message, Receive, Scope, Send
from pylon.http.request import Request
from tests.http.live import answer, both_loops, live

BODY = b"0123456789" * 20


async def told(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what the request says its body is, twice, and with what is left to receive."""
    request = Request(scope, receive)
    try:
        first = await request.body(bytes_max=1_000)
    except PylonError as error:
        await answer(send, error.code.encode())
        return
    assert await request.body() is first
    await answer(send, json.dumps([first.decode("latin-1"), len(first)]).encode())


def head(framing: str) -> bytes:
    return f"POST / HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n".encode()


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@both_loops
@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("framing", ["length", "chunks", "expect"])
async def test_a_body_is_the_same_whether_or_not_it_has_come(framing: str, is_cut: bool) -> None:
    length = f"content-length: {len(BODY)}"
    first, second = {
        "length": (head(length), BODY),
        "chunks": (head("transfer-encoding: chunked"), chunked(BODY)),
        "expect": (head(f"{length}\r\nexpect: 100-continue"), BODY),
    }[framing]
    async with live(told) as server:
        raw = await server.connect()
        for _ in range(2):  # the connection goes on with the next request
            if is_cut:
                await raw.send(first)
                await asyncio.sleep(0.01)
                await raw.send(second[:7])
                await asyncio.sleep(0.01)
                await raw.send(second[7:])
            else:
                await raw.send(first + second)
            status, _, body = await raw.answer()
            while status == 100:
                status, _, body = await raw.answer()
            assert (status, json.loads(body)) == (200, [BODY.decode(), len(BODY)])


@both_loops
async def test_a_body_in_chunks_is_bounded_when_it_has_come() -> None:
    async with live(told) as server:
        raw = await server.connect()
        await raw.send(head("transfer-encoding: chunked") + chunked(b"x" * 1_001))
        assert (await raw.answer())[2] == b"PAYLOAD_TOO_LARGE"


@both_loops
async def test_who_stands_between_is_asked() -> None:
    """What changes a body on its way is not gone round."""

    async def between(scope: Scope, receive: Receive, send: Send) -> None:
        async def changed() -> Message:
            message = await receive()
            return {**message, "body": message["body"].upper()}

        await told(scope, changed, send)

    async with live(between) as server:
        raw = await server.connect()
        await raw.send(head("content-length: 3") + b"abc")
        assert json.loads((await raw.answer())[2]) == ["ABC", 3]


@both_loops
async def test_whole_answers_wait_for_a_slow_client_too() -> None:
    """What a client that sends many requests at once does not take is not made."""
    made = 0

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        nonlocal made
        body = b"x" * 1_000_000
        if not scope["extensions"]["pylon.respond"](200, b"", body):
            await answer(send, body)
        made += 1

    async with live(app) as server:
        raw = await server.connect()
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await raw.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 40)
        await asyncio.sleep(0.2)
        assert made < 40
        raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(40):
            assert len((await raw.answer())[2]) == 1_000_000
