"""Garbage on raw sockets: each gets an answer or a closed connection in bounded time, the server
goes on serving, nothing that it acknowledged is lost, and no request ends in a 500."""

from __future__ import annotations

import os
import random
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import httpx
import pytest

from pylon import limits
from tests.server import ADMIN_TOKEN, Server

ROWS = b"/api/entities/Mark"
AUTH = b"authorization: Bearer %b\r\n" % ADMIN_TOKEN.encode()
ROUNDS = 2_000 if os.environ.get("PYLON_LONG") else 150


@pytest.fixture
def written(server: Server, admin: httpx.Client) -> Iterator[None]:
    """Afterwards the server still writes and reads, and has what it acknowledged before."""
    before = [admin.post(ROWS.decode(), json={"n": n}).json()["id"] for n in range(3)]
    yield
    with server.client(ADMIN_TOKEN) as fresh:
        answer = fresh.post(ROWS.decode(), json={"n": 3})
        assert answer.status_code == 201, answer.text
        for n, row_id in enumerate([*before, answer.json()["id"]]):
            row = fresh.get(f"{ROWS.decode()}/{row_id}").json()
            assert row == {"id": row_id, "n": n, "text": None}
        assert fresh.get("/health").status_code == 200


def connected(server: Server, door: int = 0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port + door), timeout=60)


def request(body: bytes, *headers: bytes, target: bytes = ROWS, method: bytes = b"POST") -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"%b %b HTTP/1.1\r\nhost: x\r\n%b%b\r\n%b" % (method, target, AUTH, lines, body)


def all_of(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    received = b""
    try:
        while chunk := connection.recv(65_536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def statuses(received: bytes) -> list[int]:
    return [
        int(part.split(b" ", 1)[0])
        for part in received.split(b"HTTP/1.1 ")[1:]
        if part[:3].isdigit()
    ]


def told(server: Server, sent: bytes, door: int = 0, *, patience: float | None = 15.0) -> list[int]:
    """Send bytes and no more; the statuses that come back before the server closes.

    The client half-closes once something has come, or after `patience` seconds; at once for None.
    """
    with closing(connected(server, door)) as connection:
        received = b""
        # A server that closes in the midst of what is sent has answered, too.
        with suppress(ConnectionError):
            connection.sendall(sent)
            if patience is not None and select.select([connection], [], [], patience)[0]:
                received = connection.recv(65_536)
            with suppress(OSError):  # the server may have closed already
                connection.shutdown(socket.SHUT_WR)
        return statuses(received + all_of(connection))


CHUNKED = b"transfer-encoding: chunked"

BROKEN = {
    "no http": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", {400}),
    "unknown version": (b"GET / HTTP/9.9\r\n\r\n", {400, 505}),
    "no version": (b"GET /\r\n\r\n", {400, 505}),
    "space in target": (b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n", {400}),
    "control characters": (b"GET /\x00\x01 HTTP/1.1\r\nhost: x\r\n\r\n", {400}),
    "header without colon": (b"GET / HTTP/1.1\r\nhost\r\n\r\n", {400}),
    "header with nul": (b"GET / HTTP/1.1\r\nhost: x\r\na: \x00\r\n\r\n", {400}),
    "folded header": (b"GET / HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n", {400, 404, 200}),
    "two lengths": (request(b"{}", b"content-length: 2", b"content-length: 3"), {400}),
    "length and chunked": (request(b"0\r\n\r\n", b"content-length: 5", CHUNKED), {400}),
    "negative length": (request(b"", b"content-length: -1"), {400}),
    "length of words": (request(b"", b"content-length: two"), {400}),
    "huge length": (request(b"", b"content-length: " + b"9" * 40), {400, 413}),
    "length beyond the limit": (request(b"{}", b"content-length: 99999999"), {413}),
    "broken chunk size": (request(b"zz\r\n{}\r\n0\r\n\r\n", CHUNKED), {400}),
    "huge chunk size": (request(b"f" * 40 + b"\r\n{}", CHUNKED), {400, 413}),
    "chunk longer than said": (request(b"1\r\n{}\r\n0\r\n\r\n", CHUNKED), {400}),
    "unknown coding": (request(b"{}", b"transfer-encoding: gzip"), {400, 501}),
    "deep arrays": (request(b"[" * 60_000, b"content-length: 60000"), {400}),
    "not utf-8": (request(b'{"text":"\xc3\x28"}', b"content-length: 13"), {400}),
    "utf-16": (request("{}".encode("utf-16"), b"content-length: 6"), {400}),
    "long target": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", {414, 431, 400}),
    "bad escapes": (b"GET /api/entities/%zz/%f HTTP/1.1\r\nhost: x\r\n\r\n", {400, 404}),
    "bad query": (
        b"GET /api/entities/Mark?limit=%ff%fe&=&&&==;% HTTP/1.1\r\nhost: x\r\n\r\n",
        {400},
    ),
    "many query fields": (
        b"GET /api/entities/Mark?" + b"&".join([b"a=1"] * 5_000) + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        {200, 400, 414},
    ),
    "traversal": (b"GET /../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n", {400, 404}),
    "not an upgrade": (
        b"GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        {400, 426},
    ),
    "old websocket": (
        b"GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-version: 7\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        {400, 426},
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_requests_are_refused(server: Server, written: None, case: str) -> None:
    sent, allowed = BROKEN[case]
    found = told(server, sent)
    assert found, "each gets its answer"
    assert set(found) <= allowed, found


UPGRADE = (
    b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)

ASKED: dict[str, tuple[int, bytes, bytes]] = {
    "rest": (0, b"GET /api/entities/Mark", b""),
    "write": (0, b"POST /api/entities/Mark", b"content-length: 8\r\n" + AUTH),
    "probe": (0, b"GET /health", b""),
    "websocket": (0, b"GET /ws", UPGRADE + AUTH),
    "websocket's port": (1, b"GET /", UPGRADE + AUTH),
    "events": (0, b"GET /events", AUTH),
    "events' port": (2, b"GET /", AUTH),
}
"""Every door: which port, what is asked, and more lines."""


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"", 400),
        (b"host: x\r\nhost: x\r\n", 400),
        (b"host: app.example\r\nhost: evil\r\norigin: https://app.example\r\n", 400),
        (b"host: x/y\r\n", 400),
        (b"host: x%20y\r\n", 400),
        (b"host: x\r\ntransfer-encoding: gzip, chunked\r\n", 501),
    ],
)
@pytest.mark.parametrize("door", ASKED)
def test_no_door_takes_what_two_readers_read_in_two_ways(
    server: Server, written: None, admin: httpx.Client, door: str, lines: bytes, status: int
) -> None:
    port, asked, more = ASKED[door]
    if status == 501:
        more = more.replace(b"content-length: 8\r\n", b"")
    before = admin.get(ROWS.decode()).json()["count"]
    behind = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
    sent = b"%b HTTP/1.1\r\n%b%b\r\n%b" % (asked, lines, more, b'{"n":99}' + behind)
    assert told(server, sent, port) == [status]
    assert admin.get(ROWS.decode()).json()["count"] == before


@pytest.mark.parametrize("cut", [1, 10, 40, 120, -1, -3])
def test_a_truncated_request_writes_nothing(
    server: Server, written: None, admin: httpx.Client, cut: int
) -> None:
    before = admin.get(ROWS.decode()).json()["count"]
    whole = request(b'{"n":99}', b"content-length: 8")
    for sent in (whole[:cut], b"\r\n" * 500, request(b'8\r\n{"n":99}\r\n0\r\n\r\n', CHUNKED)[:cut]):
        assert set(told(server, sent, patience=None)) <= {400}
    assert admin.get(ROWS.decode()).json()["count"] == before


def test_headers_without_end_are_431(server: Server, written: None) -> None:
    many = b"".join(b"x-%d: y\r\n" % n for n in range(limits.HEADER_COUNT_MAX + 10))
    assert told(server, b"GET / HTTP/1.1\r\nhost: x\r\n" + many + b"\r\n") == [431]
    large = b"x: " + b"y" * (limits.HEADER_BYTES_MAX + 10)
    assert told(server, b"GET / HTTP/1.1\r\nhost: x\r\n" + large + b"\r\n\r\n") == [431]
    # One that never ends is cut off at the same bound, long before its sender is done.
    assert set(told(server, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200_000)) <= {431}


def test_pipelined_requests_are_answered_in_order_up_to_the_garbage(
    server: Server, written: None
) -> None:
    good = request(b'{"n":1}', b"content-length: 7")
    wrong = request(b"{", b"content-length: 1")
    unknown = b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n"
    with closing(connected(server)) as connection:
        connection.sendall(good + wrong + unknown + good + b"\x00garbage\r\n\r\n" + good)
        assert statuses(all_of(connection)) == [201, 400, 404, 201, 400]


def test_a_flood_of_pipelined_requests_is_bounded(server: Server, written: None) -> None:
    found = told(server, b"GET /api/entities/Mark/1 HTTP/1.1\r\nhost: x\r\n\r\n" * 5_000)
    assert set(found) <= {404, 429}
    assert found[0] == 404


def test_half_open_connections_harm_nobody(server: Server, written: None) -> None:
    """Two hundred clients that stop in the midst of a head, a body, a handshake or before it."""
    beginnings = [
        b"",
        b"POST /api/enti",
        request(b'{"n":', b"content-length: 100"),
        request(b"5\r\n{", CHUNKED),
        b"GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n",
    ]
    with ExitStack() as stack:
        for number in range(200):
            connection = stack.enter_context(closing(connected(server, number % 3)))
            connection.sendall(beginnings[number % len(beginnings)])
        with server.client(ADMIN_TOKEN) as client:
            for n in range(20):
                assert client.post(ROWS.decode(), json={"n": n}).status_code == 201


def test_a_client_that_resets_harms_nobody(server: Server, written: None) -> None:
    for number in range(60):
        connection = connected(server, number % 3)
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # Close with a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        connection.sendall(
            (
                request(b'{"n":1}', b"content-length: 7"),
                b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n",
                request(b"", target=ROWS, method=b"GET") * 20,
                b"GET / HT",
            )[number % 4]
        )
        connection.close()


@pytest.mark.parametrize("door", [0, 1, 2], ids=["main", "websocket", "events"])
def test_random_bytes_at_every_door(server: Server, written: None, door: int) -> None:
    rng = random.Random(door)
    for _ in range(ROUNDS // 3):
        sent = rng.randbytes(rng.randrange(1, 400)) + rng.choice((b"", b"\r\n\r\n"))
        assert set(told(server, sent, door, patience=None)) <= {400, 431}


def test_mutated_requests_are_never_a_500(server: Server, written: None) -> None:
    rng = random.Random(7)
    seeds = [
        request(b'{"n":1,"text":"x"}', b"content-length: 18"),
        request(b'12\r\n{"n":1,"text":"x"}\r\n0\r\n\r\n', CHUNKED),
        request(b'{"n":1}', b"content-length: 7", target=ROWS + b"/0", method=b"PATCH"),
        request(b"", target=ROWS + b"/cursor?after=0&limit=5", method=b"GET"),
        request(b"", target=b"/api/sync/pull?since=0", method=b"GET"),
        request(b'{"user_id":"a"}', b"content-length: 15", target=b"/api/auth/session"),
        request(b"", target=b"/api/auth/me", method=b"GET"),
    ]
    for _ in range(ROUNDS):
        sent = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(sent))
            what = rng.random()
            if what < 0.5:
                sent[at] = rng.randrange(256)
            elif what < 0.75:
                del sent[at : at + rng.randrange(1, 8)]
            else:
                sent[at:at] = rng.randbytes(rng.randrange(1, 8))
        found = told(server, bytes(sent), patience=0.2)
        assert all(status < 500 or status in (501, 505) for status in found), (sent, found)


def test_garbage_in_websocket_frames_closes_that_socket_only(server: Server, written: None) -> None:
    handshake = (
        b"GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%b\r\n" % AUTH
    )
    rng = random.Random(3)
    frames = [
        b"\x81\x05hello",  # not masked
        b"\xff\x80\x00\x00\x00\x00",  # reserved bits, unknown opcode
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",  # longer than any memory
        b"\x89\xfe\x10\x00\x00\x00\x00\x00",  # a ping that is too long
        b"\x81\x82\x00\x00\x00\x00\xc3\x28",  # not UTF-8
        b"\x80\x80\x00\x00\x00\x00",  # a continuation of nothing
        b"\x88\x81\x00\x00\x00\x00\x03",  # a close with half a code
        *(rng.randbytes(rng.randrange(2, 60)) for _ in range(20)),
    ]
    for frame in frames:
        with closing(connected(server)) as connection:
            connection.sendall(handshake)
            assert connection.recv(12) == b"HTTP/1.1 101"
            connection.sendall(frame)
            with suppress(OSError):  # the server may have closed already
                connection.shutdown(socket.SHUT_WR)
            all_of(connection)
