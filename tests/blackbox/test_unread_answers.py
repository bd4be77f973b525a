"""Clients that ask for much and read nothing, at the real server: what it says that it keeps of
their answers is bounded, others are answered meanwhile, and who does read gets all of it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from tests.conftest import BLACKBOX_APP
from tests.server import ADMIN_TOKEN, Server, serving

ROWS, TEXT = 400, "x" * 100_000
SIZE = ROWS * len(TEXT)
"""40 MB, of which the buffers of the system take little."""

LIST = b"GET /api/entities/Sample HTTP/1.1\r\nhost: x\r\n"
QUERY = b"POST /api/query/Sample HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n"
GRAPH = b"POST /api/query HTTP/1.1\r\nhost: x\r\ncontent-length: 27\r\n"
GRAPH_BODY = b'{"Sample": {"limit": 120 }}'
CLIENTS = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"PYLON_UNSENT_BYTES_PER_ADDRESS": str(2_000_000)}
    path: Path = tmp_path_factory.mktemp("unread")
    with serving(BLACKBOX_APP, path / "app.db", env=env) as running:
        with running.client(ADMIN_TOKEN) as admin:
            for _ in range(ROWS // 50):
                insert = {"op": "insert", "entity": "Sample", "data": {"text": TEXT}}
                done = admin.post("/api/transact", json=[insert] * 50)
                assert done.status_code == 200, done.text
        yield running


def unsent(admin: httpx.Client) -> int:
    return int(admin.get("/metrics").json()["gauges"]["pylon_http_unsent_bytes"])


def settled(admin: httpx.Client, wanted: int) -> None:
    for _ in range(3_000):
        if unsent(admin) == wanted:
            return
        time.sleep(0.02)
    raise AssertionError(f"{unsent(admin)} bytes are unsent, not {wanted}")


def asked(server: Server, head: bytes, body: bytes) -> socket.socket:
    """A connection whose answer nobody reads yet, but for its status."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    client.settimeout(60)
    client.connect(("127.0.0.1", server.port))
    client.sendall(head + b"connection: close\r\n\r\n" + body)
    return client


def rest_of(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(("head", "body"), [(LIST, b""), (QUERY, b"{}")], ids=["list", "query"])
def test_unread_lists_keep_pieces_only(
    server: Server, admin: httpx.Client, head: bytes, body: bytes
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(asked(server, head, body))) for _ in range(CLIENTS)]
        statuses = [client.recv(12) for client in clients]
        taken = [
            client
            for client, status in zip(clients, statuses, strict=True)
            if status == b"HTTP/1.1 200"
        ]
        refused = CLIENTS - len(taken)
        assert set(statuses) == {b"HTTP/1.1 200", b"HTTP/1.1 503"}
        assert 1 <= len(taken) < CLIENTS
        assert 0 < unsent(admin) <= 2_000_000
        figures = admin.get("/metrics").json()["counters"]
        assert figures["pylon_http_unsent_refused_total"] >= refused
        assert admin.post("/api/entities/Mark", json={"n": 1}).status_code == 201
        for client in clients[1:]:
            client.close()
        whole = rest_of(clients[0])
        assert statuses[0] == b"HTTP/1.1 200"
        assert whole.count(b'"id":') == ROWS
        assert len(whole) > SIZE
    settled(admin, 0)


def test_unread_graphs_are_refused_beyond_the_share(server: Server, admin: httpx.Client) -> None:
    """What is made at once counts whole; one may always be on its way."""
    with closing(asked(server, GRAPH, GRAPH_BODY)) as first:
        assert first.recv(12) == b"HTTP/1.1 200"
        kept = unsent(admin)
        assert kept > 120 * len(TEXT)
        for _ in range(3):
            with closing(asked(server, GRAPH, GRAPH_BODY)) as more:
                answer = rest_of(more)
                assert answer.startswith(b"HTTP/1.1 503")
                assert b"retry-after: 2\r\n" in answer
                code = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]
                assert code == "OVERLOADED"
        assert unsent(admin) == kept
    settled(admin, 0)


def test_who_reads_gets_all_of_it_whatever_its_size(server: Server, admin: httpx.Client) -> None:
    rows = admin.post("/api/query/Sample", json={}).json()
    assert [len(row["text"]) for row in rows] == [len(TEXT)] * ROWS
    listed = admin.get("/api/entities/Sample").json()
    assert listed["data"] == sorted(rows, key=lambda row: row["id"])
    assert (listed["count"], listed["offset"], listed["limit"]) == (ROWS, 0, None)
    seen, after, has_more = [], "", True
    while has_more:
        page = admin.get(f"/api/entities/Sample/cursor?limit=100&after={after}").json()
        seen += page["data"]
        after, has_more = page["next_cursor"], page["has_more"]
    assert seen == listed["data"]
