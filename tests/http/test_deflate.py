"""Per-message deflate (RFC 7692): what is agreed on, interchange with other clients, bad input."""

from __future__ import annotations

import asyncio
import struct
import tracemalloc
import zlib
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
)
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN, SERVER, Protocol

from pylon import limits
from pylon.http.asgi import Receive, Scope, Send
from pylon.http.deflate import OFFERS, compressed_text_frame
from pylon.http.frames import text_frame
from pylon.http.listener import Bounds
from pylon.http.websocket import RawFrames
from tests.examples.chromium import CHROMIUM, browser
from tests.http.live import Live, Raw, answer, both_loops, live
from tests.http.test_websocket import Outcome, accepting, client_frame, close_code, dial, echo

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
TOKEN = "bearer.a%2Fb%3D"
LARGE = b'{"text":"%b"}' % (b"to be or not to be " * 100)


async def upgraded(server: Live, offer: str | None) -> tuple[Raw, str | None]:
    """A raw client after the handshake, and what the server agreed to."""
    raw = await server.connect()
    line = "" if offer is None else f"Sec-WebSocket-Extensions: {offer}\r\n"
    await raw.send(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
        + f"Sec-WebSocket-Protocol: {TOKEN}\r\n{line}\r\n".encode()
    )
    status, headers, _ = await raw.answer()
    assert status == 101
    assert headers.get("sec-websocket-protocol") in (None, TOKEN)
    return raw, headers.get("sec-websocket-extensions")


async def message(raw: Raw) -> tuple[bool, bytes]:
    """Whether the next message from the server is compressed, and its payload as sent."""
    first, length = await raw._within(raw.reader.readexactly(2))
    assert first & 0b1011_1111 == 0x80 | Opcode.TEXT
    if length == 126:
        (length,) = struct.unpack("!H", await raw._within(raw.reader.readexactly(2)))
    return bool(first & 0x40), await raw._within(raw.reader.readexactly(length))


def deflate(data: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """A message's payload as a client compresses it."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = deflater.compress(data) + deflater.flush(flush)
    return deflated.removesuffix(b"\0\0\xff\xff")


def inflate(data: bytes, window_bits: int = 15) -> bytes:
    return zlib.decompressobj(-window_bits).decompress(data + b"\0\0\xff\xff")


def deflated(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    """A client's frame with the bit RSV1."""
    frame = bytearray(client_frame(opcode, data, fin=fin))
    frame[0] |= 0x40
    return bytes(frame)


# --- agreeing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (None, None),
        ("permessage-deflate", AGREED),
        ("permessage-deflate; client_max_window_bits", AGREED),  # Chromium, ws
        ("permessage-deflate; server_no_context_takeover", AGREED),
        ("permessage-deflate; client_no_context_takeover", AGREED),
        ("permessage-deflate; client_max_window_bits=10", f"{AGREED}; client_max_window_bits=10"),
        ('permessage-deflate; client_max_window_bits="9"', f"{AGREED}; client_max_window_bits=9"),
        ("permessage-deflate; server_max_window_bits=15", f"{AGREED}; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=12", f"{AGREED}; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=11", None),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
        ("permessage-deflate; a_new_parameter", None),
        ("x-webkit-deflate-frame, permessage-bzip2", None),
        ("x-unknown, permessage-deflate", AGREED),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", AGREED),
        ("permessage-deflate, permessage-deflate; client_max_window_bits=10", AGREED),
    ],
)
@both_loops
async def test_the_first_offer_that_can_be_met_is_taken(
    offer: str | None, answer: str | None
) -> None:
    async with live(accepting(echo, subprotocol=TOKEN)) as server:
        raw, agreed = await upgraded(server, offer)
        assert agreed == answer
        await raw.send(client_frame(Opcode.TEXT, LARGE))  # may be sent as it is all the same
        is_compressed, payload = await message(raw)
        assert is_compressed == (answer is not None)
        assert (inflate(payload, 12) if is_compressed else payload) == LARGE


@both_loops
async def test_offers_in_two_headers_are_one_list() -> None:
    offer = "x-unknown\r\nSec-WebSocket-Extensions: permessage-deflate"
    async with live(accepting(echo)) as server:
        _, agreed = await upgraded(server, offer)
        assert agreed == AGREED


@both_loops
async def test_an_empty_offer_is_none() -> None:
    async with live(accepting(echo)) as server:
        _, agreed = await upgraded(server, "")
        assert agreed is None


@both_loops
async def test_an_offer_that_is_no_list_is_400() -> None:
    async with live(accepting(echo)) as server:
        with pytest.raises(AssertionError, match="400"):
            await upgraded(server, "permessage-deflate; =")


@both_loops
async def test_it_can_be_switched_off() -> None:
    async with live(accepting(echo), Bounds(deflate_level=0)) as server:
        async with dial(server, compression="deflate") as client:
            assert client.protocol.extensions == []
            await client.send(LARGE.decode())
            assert await client.recv() == LARGE.decode()
        raw, _ = await upgraded(server, "permessage-deflate")
        await raw.send(deflated(Opcode.TEXT, deflate(LARGE)))
        assert await close_code(raw) == 1002


# --- interchange -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "offer",
    [
        ClientPerMessageDeflateFactory(),
        ClientPerMessageDeflateFactory(True, True, 12, 9),
        ClientPerMessageDeflateFactory(compress_settings={"level": 0}),
        None,
    ],
    ids=["usual", "small windows", "stored blocks", "not compressed"],
)
@both_loops
async def test_what_is_sent_comes_back(offer: ClientPerMessageDeflateFactory | None) -> None:
    async with live(accepting(echo)) as server:
        extensions = [] if offer is None else [offer]
        async with dial(server, extensions=extensions) as client:
            assert len(client.protocol.extensions) == len(extensions)
            for text in ("", "a", "häl" * 50_000, LARGE.decode(), "x" * 1_000_000):
                await client.send(text)
                assert await client.recv() == text
            for data in (b"", b"\x00\xff" * 100_000):
                await client.send(data)
                assert await client.recv() == data
            await client.send(["ab", "", "c" * 5_000, "d"])
            assert await client.recv() == "ab" + "c" * 5_000 + "d"
            await (await client.ping())


@both_loops
async def test_short_messages_and_binary_ones_go_as_they_are() -> None:
    async def app(frames: RawFrames, receive: Receive, send: Send) -> None:
        assert frames.deflates
        for text in ("x" * (limits.DEFLATE_BYTES_MIN - 1), "x" * limits.DEFLATE_BYTES_MIN):
            await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.send", "bytes": LARGE})
        await receive()

    async with live(accepting(app)) as server:
        raw, _ = await upgraded(server, "permessage-deflate")
        assert await message(raw) == (False, b"x" * (limits.DEFLATE_BYTES_MIN - 1))
        is_compressed, payload = await message(raw)
        assert is_compressed
        assert inflate(payload) == b"x" * limits.DEFLATE_BYTES_MIN
        assert (await raw._within(raw.reader.readexactly(1)))[0] == 0x80 | Opcode.BINARY


@both_loops
async def test_clients_may_end_with_a_last_block() -> None:
    async with live(accepting(echo)) as server:
        raw, _ = await upgraded(server, "permessage-deflate")
        last = deflate(b"Hello", zlib.Z_FINISH)
        await raw.send(deflated(Opcode.TEXT, last + b"\0"))  # RFC 7692 section 7.2.3.4
        assert await message(raw) == (False, b"Hello")
        await raw.send(
            deflated(Opcode.TEXT, last, fin=False)
            + client_frame(Opcode.PING, b"")
            + client_frame(Opcode.CONT, b"\0")
        )
        assert await raw._within(raw.reader.readexactly(2)) == b"\x8a\x00"
        assert await message(raw) == (False, b"Hello")


@given(
    st.text(max_size=30),
    st.integers(0, 400),
    st.binary(max_size=3_000),
    st.integers(1, 9),
)
def test_any_message_is_read_by_any_client(text: str, times: int, noise: bytes, level: int) -> None:
    payload = text.encode() * times + noise.hex().encode() + text.encode()
    frame = compressed_text_frame(payload, level)
    client = Protocol(CLIENT, state=OPEN, max_size=None)
    client.extensions = [PerMessageDeflate(True, True, limits.DEFLATE_WINDOW_BITS, 15)]
    client.receive_data(frame * 2)
    received = [event for event in client.events_received() if isinstance(event, Frame)]
    assert client.parser_exc is None
    assert [bytes(each.data) for each in received] == [payload, payload]
    assert len(frame) <= len(text_frame(payload))


def test_what_would_grow_or_hold_the_loop_goes_as_it_is() -> None:
    noise = b"".join(sha256(b"%d" % number).digest() for number in range(100))
    assert compressed_text_frame(noise, 1) == text_frame(noise)
    huge = b"x" * (limits.DEFLATE_BYTES_MAX + 1)
    assert compressed_text_frame(huge, 1) == text_frame(huge)
    assert len(compressed_text_frame(huge[1:], 1)) < 10_000


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (deflated(Opcode.TEXT, deflate(b"x" * 1_000_001)), 1009),
        (
            deflated(Opcode.TEXT, deflate(b"x" * 1_100_000)[:1000], fin=False)
            + client_frame(Opcode.CONT, deflate(b"x" * 1_100_000)[1000:]),
            1009,
        ),
        (deflated(Opcode.TEXT, deflate(b"\xff" * 600)), 1007),
        (deflated(Opcode.TEXT, b"\xff\xff\xff"), 1002),
        (deflated(Opcode.PING, b""), 1002),
        (deflated(Opcode.CLOSE, b"\x03\xe8"), 1002),
        (
            deflated(Opcode.TEXT, deflate(b"a"), fin=False) + deflated(Opcode.CONT, deflate(b"b")),
            1002,
        ),
        (client_frame(Opcode.TEXT, b"a", fin=False) + deflated(Opcode.CONT, b"b"), 1002),
        (deflated(Opcode.TEXT, b"", fin=False) + deflated(Opcode.TEXT, deflate(b"a")), 1002),
        (
            deflated(Opcode.TEXT, deflate(b"a", zlib.Z_FINISH), fin=False)
            + client_frame(Opcode.CONT, b"xx", fin=False),
            1002,
        ),
    ],
    ids=[
        "bomb",
        "bomb in parts",
        "not UTF-8",
        "no deflate",
        "ping",
        "close",
        "part",
        "part of plain",
        "stray start",
        "after the last block",
    ],
)
@both_loops
async def test_bad_frames_get_their_code(data: bytes, code: int) -> None:
    outcome = Outcome()
    bounds = Bounds(message_bytes_max=1_000_000, close_seconds_max=0.2)
    async with live(accepting(outcome.listen), bounds) as server:
        raw, _ = await upgraded(server, "permessage-deflate")
        await raw.send(data)
        assert await close_code(raw) == code
        assert (await outcome.goodbye())[0] == code
        assert len(outcome.messages) == 1


@both_loops
async def test_a_message_of_exactly_the_bound_passes() -> None:
    bounds = Bounds(message_bytes_max=10_000)
    async with live(accepting(echo), bounds) as server:
        raw, _ = await upgraded(server, "permessage-deflate")
        await raw.send(deflated(Opcode.TEXT, deflate(b"x" * 10_000)))
        assert inflate((await message(raw))[1]) == b"x" * 10_000
        await raw.send(deflated(Opcode.TEXT, deflate(b"x" * 10_001)))
        assert await close_code(raw) == 1009


PARTS = st.sampled_from(
    [
        b"",
        b"\0",
        b"\xff" * 40,
        deflate(LARGE),
        deflate(LARGE)[:50],
        deflate(b"Hello", zlib.Z_FINISH),
        deflate(b"x" * 5_000),
    ]
)
OPCODES = st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.PING])


@given(st.lists(st.tuples(OPCODES, PARTS | st.binary(max_size=60), st.booleans(), st.booleans())))
def test_any_frames_end_as_the_protocol_says(
    parts: list[tuple[Opcode, bytes, bool, bool]],
) -> None:
    """Never in a failure of the parser, which would be our mistake or websockets'."""
    server = Protocol(SERVER, state=OPEN, max_size=4_000)
    server.extensions = [OFFERS[0].process_request_params([], [])[1]]
    for opcode, data, fin, is_deflated in parts:
        if opcode is Opcode.PING:
            data, fin = data[:125], True
        server.receive_data((deflated if is_deflated else client_frame)(opcode, data, fin=fin))
        assert isinstance(server.parser_exc, ProtocolError | PayloadTooBig | None)
        if server.parser_exc is not None:
            assert server.close_sent is not None
            assert server.close_sent.code in (1002, 1009)
            return


async def test_many_bombs_take_little_memory() -> None:
    """A thousand times what the socket may say, in one read: it waits for the app."""
    received = 0

    async def app(frames: RawFrames, receive: Receive, send: Send) -> None:
        nonlocal received
        while (await receive())["type"] == "websocket.receive":
            received += 1
            await asyncio.sleep(0)

    bombs = deflated(Opcode.BINARY, deflate(b"x" * limits.SOCKET_MESSAGE_BYTES_MAX)) * 60
    async with live(accepting(app)) as server:
        raw, _ = await upgraded(server, "permessage-deflate")
        tracemalloc.start()
        try:
            await raw.send(bombs + client_frame(Opcode.CLOSE, b"\x03\xe8"))
            assert await close_code(raw) == 1000
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert received == 60
        assert peak < 12 * limits.SOCKET_MESSAGE_BYTES_MAX


# --- a browser -------------------------------------------------------------------------------

ECHOES = """
new Promise((done, failed) => {
    const sent = ["", "short", "häl".repeat(50000), "x".repeat(1000000), JSON.stringify([...Array(999).keys()])];
    const socket = new WebSocket(%r), received = [];
    socket.onopen = () => sent.forEach((text) => socket.send(text));
    socket.onerror = () => failed("the socket failed");
    socket.onclose = (event) => failed(`closed ${event.code}`);
    socket.onmessage = (event) => {
        received.push(event.data);
        if (received.length == sent.length)
            done([socket.extensions, sent.every((text, place) => text === received[place])]);
    };
})
"""  # noqa: E501 - a program


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
async def test_chromium_speaks_it(tmp_path: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await accepting(echo)(scope, receive, send)
        else:
            await answer(send, b"a page")

    async with live(app) as server, browser(tmp_path) as chromium:
        page = await chromium.open(server.url)
        extensions, is_same = await page.evaluate(ECHOES % server.ws_url)
        assert extensions == AGREED
        assert is_same
