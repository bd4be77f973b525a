"""How much each kind of caller may send: what is too much or no JSON is answered with the code that
it deserves, what is large and means something passes, and bodies take no more memory than they may.

That nobody else waits for the worst of them is asked in `test_holds`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from pylon import limits
from tests.server import ADMIN_TOKEN, ORIGIN, Server


@pytest.fixture(scope="module")
def guest(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        token = client.post("/api/auth/guest", headers={"origin": ORIGIN}).json()["token"]
    with server.client(token) as client:
        yield client


def send(client: httpx.Client, path: str, body: bytes) -> tuple[int, str | None]:
    answer = client.post(path, content=body)
    found: Any = answer.json()
    return answer.status_code, found["error"]["code"] if "error" in found else None


# --- who may send how much -------------------------------------------------------------------


def padded(size: int) -> bytes:
    """A row of so many bytes."""
    return b'{"text":"%b"}' % (b"x" * (size - 11))


def in_pieces(body: bytes) -> Iterator[bytes]:
    """For a request that does not say how long it is."""
    for at in range(0, len(body), 60_000):
        yield body[at : at + 60_000]


def test_each_caller_has_a_bound_whatever_the_route(
    server: Server, nobody: httpx.Client, guest: httpx.Client, admin: httpx.Client
) -> None:
    for client, usual, large in (
        (nobody, limits.BODY_BYTES_ANONYMOUS, limits.BODY_BYTES_ANONYMOUS),
        (guest, limits.BODY_BYTES_SESSION, limits.BODY_BYTES_MAX),
        (admin, limits.BODY_BYTES_MAX, limits.BODY_BYTES_MAX),
    ):
        for path, most in (("/api/query/Mark", usual), ("/api/entities/Mark", large)):
            whole = client.post(path, content=padded(most))
            assert whole.status_code in (200, 201), whole.text
            for body in (padded(most + 1), in_pieces(padded(most + 1))):
                refused = client.post(path, content=body)
                assert refused.status_code == 413
                error = refused.json()["error"]
                assert (error["code"], bool(error["hint"])) == ("PAYLOAD_TOO_LARGE", True)
    # What is announced is refused before it is sent.
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(
            b"POST /api/query/Mark HTTP/1.1\r\nhost: x\r\ncontent-length: 65537\r\n\r\n"
        )
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_large_requests_that_mean_something_pass(guest: httpx.Client, admin: httpx.Client) -> None:
    insert = b'{"op":"insert","entity":"Mark","data":{"n":%d,"text":"%b"}}'
    text = b"a, b [c] " * 108
    operations = b",".join(insert % (n, text) for n in range(10_000))
    assert 9_500_000 < len(operations) < limits.BODY_BYTES_MAX
    answer = guest.post("/api/batch", content=b'{"operations":[%b]}' % operations)
    assert (answer.status_code, answer.json()["succeeded"]) == (200, 10_000)
    operations = b",".join(insert % (n, text * 10) for n in range(1_000))
    answer = guest.post("/api/transact", content=b"[%b]" % operations)
    assert (answer.status_code, answer.json()["committed"]) == (200, True)
    change = b'{"entity":"Mark","row_id":"_pending_%d","kind":"insert","data":{"n":1,"text":"%b"}}'
    changes = b",".join(change % (n, text) for n in range(9_000))
    answer = guest.post("/api/sync/push", content=b'{"changes":[%b],"client_id":"x"}' % changes)
    assert (answer.status_code, answer.json()["applied"]) == (200, 9_000)
    rows = b",".join(b'{"n":%d,"text":"%b"}' % (n, text) for n in range(10_000))
    answer = admin.post("/api/import", content=b'{"entities":{"Mark":[%b]}}' % rows)
    assert answer.json()["imported"] == 10_000
    lines = b"".join(b'{"entity":"Mark","row":{"text":"%b"}}\n' % text for _ in range(10_000))
    answer = admin.post("/api/import?format=ndjson", content=lines)
    assert answer.json()["imported"] == 10_000


@pytest.mark.parametrize("number", [b"1e400", b"-1e999", b"NaN", b"Infinity"])
@pytest.mark.parametrize("size", [0, 10_000, 200_000])
def test_numbers_that_do_not_fit_are_refused_in_any_size(
    guest: httpx.Client, number: bytes, size: int
) -> None:
    data = b'{"text":"%b","n":%b}' % (b"x" * size, number)
    operation = b'{"op":"insert","entity":"Mark","data":%b}' % data
    change = b'{"entity":"Mark","row_id":"x","kind":"insert","data":%b}' % data
    for path, body in (
        ("/api/entities/Mark", data),
        ("/api/query/Mark", b'{"$or":[%b]}' % data),
        ("/api/transact", b"[%b]" % operation),
        ("/api/transact", b'{"operations":[%b],"strict":true}' % operation),
        ("/api/batch", b'{"operations":[%b]}' % operation),
        ("/api/batch", b'{"operations":[],"other":[%b]}' % operation),
        ("/api/sync/push", b'{"changes":[%b]}' % change),
    ):
        assert send(guest, path, body) == (400, "INVALID_JSON"), path


# --- memory ----------------------------------------------------------------------------------


def memory_of(server: Server) -> int:
    """The most bytes that the server has had in memory."""
    assert server.child is not None
    status = Path(f"/proc/{server.child.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) * 1_024


def metric(server: Server, name: str) -> float:
    with server.client(ADMIN_TOKEN, headers={"accept": "text/plain"}) as client:
        lines = client.get("/metrics").text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def test_bodies_of_one_address_share_their_memory_and_deny_nobody(
    server: Server, guest: httpx.Client
) -> None:
    before = memory_of(server)
    token = guest.headers["authorization"].encode()
    head = (
        b"POST /api/entities/Mark HTTP/1.1\r\nhost: x\r\nauthorization: %b\r\n"
        b"content-length: %d\r\n\r\n" % (token, limits.BODY_BYTES_MAX)
    )
    with ExitStack() as open_ones:
        for _ in range(40):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
            open_ones.callback(connection.close)
            connection.setblocking(False)
            rest = memoryview(head + padded(limits.BODY_BYTES_MAX)[:-1])  # never quite whole
            while rest:
                try:
                    rest = rest[connection.send(rest) :]
                except BlockingIOError:
                    break
        taken = metric(server, "pylon_http_bodies_bytes")
        assert taken <= limits.BODIES_BYTES_MAX / limits.BODIES_ADDRESSES
        assert metric(server, "pylon_http_bodies_waiting") >= 30
        # Small bodies of the same address, and large ones of others, need not wait.
        assert send(guest, "/api/entities/Mark", padded(1_000))[0] == 201
        other = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(
            transport=other, base_url=server.url, headers=guest.headers, timeout=60
        ) as client:
            assert send(client, "/api/entities/Mark", padded(limits.BODY_BYTES_MAX))[0] == 201
    assert memory_of(server) - before < 150_000_000
