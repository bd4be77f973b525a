"""One client that takes all connections, and what others notice, at the real server with few."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from tests.conftest import BLACKBOX_APP
from tests.server import ADMIN_TOKEN, Server

FILES = 400
"""What the server may open; 144 connections are left of it."""

SENT = {
    "silent": b"",
    "half heads": b"GET /health HTTP/1.1\r\nhost: x\r\nx",
    "half bodies": b"POST /api/entities/Mark HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
    "half handshakes": b"GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade",
    "idle": b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n",
    "unread answers": b"GET /api/entities/Sample HTTP/1.1\r\nhost: x\r\n\r\n",
}


class Limited(Server):
    """A server that may open few files."""

    def command(self) -> list[str]:
        return ["sh", "-c", f'ulimit -n {FILES} && exec "$@"', "sh", *super().command()]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Limited(BLACKBOX_APP, tmp_path_factory.mktemp("crowded") / "app.db")
    started.start()
    with started.client(ADMIN_TOKEN) as admin:
        for _ in range(10):
            row = {"op": "insert", "entity": "Sample", "data": {"text": "x" * 90_000}}
            assert admin.post("/api/transact", json=[row] * 10).status_code == 200
    try:
        yield started
    finally:
        started.stop()


def connected(server: Server, sent: bytes) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    client.settimeout(60)
    client.connect(("127.0.0.1", server.port))
    client.sendall(sent)
    return client


@pytest.mark.parametrize("kind", SENT)
def test_one_client_does_not_keep_the_others_out(server: Server, kind: str) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(server.client(ADMIN_TOKEN))
        before = first.get("/metrics").json()["counters"]
        for _ in range(FILES):
            stack.enter_context(closing(connected(server, SENT[kind])))
        for _ in range(5):
            with server.client(ADMIN_TOKEN) as newcomer:
                assert newcomer.post("/api/entities/Mark", json={"n": 1}).status_code == 201
        with server.client(ADMIN_TOKEN) as newcomer:
            answer = newcomer.get("/metrics").json()
        assert answer["gauges"]["pylon_http_connections"] <= FILES - 256
        cut = "pylon_http_connections_cut_total"
        assert answer["counters"][cut] >= before[cut] + FILES - 144
        refused = "pylon_http_connections_refused_total"
        assert answer["counters"][refused] == before[refused]
    assert "too many connections, at last from 127.0.0.1" in server.stderr()


def test_the_start_says_how_many_streams_there_may_be(server: Server) -> None:
    assert "allows 144 connections; live streams may have 129 of them" in server.stderr()


def test_an_address_that_is_not_this_machines_has_its_bound(
    tmp_path: Path,
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # Nothing is sent: it tells which address would be.
        except OSError:
            pytest.skip("this machine has no address but its own")
        address = probe.getsockname()[0]
    if address.startswith("127."):
        pytest.skip("this machine has no address but its own")
    started = Everywhere(
        BLACKBOX_APP, tmp_path / "a.db", env={"PYLON_CONNECTIONS_PER_ADDRESS": "5"}
    )
    started.start()
    try:
        with ExitStack() as stack:
            for _ in range(20):
                client = stack.enter_context(
                    closing(socket.create_connection((address, started.port)))
                )
                client.sendall(SENT["half heads"])
            with httpx.Client(trust_env=False, timeout=60) as newcomer:
                assert newcomer.get(f"http://{address}:{started.port}/health").status_code == 200
            with started.client(ADMIN_TOKEN) as local:
                answer = local.get("/metrics").json()
            assert answer["gauges"]["pylon_http_connections"] <= 6
            assert answer["counters"]["pylon_http_connections_cut_total"] == 16
    finally:
        started.stop()


class Everywhere(Server):
    """A server that other machines reach."""

    def command(self) -> list[str]:
        return [part if part != "127.0.0.1" else "0.0.0.0" for part in super().command()]
