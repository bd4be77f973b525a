"""Dev mode against pages of the web, rebound names and proxies, on every door of a real server."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import websockets

from tests.conftest import BLACKBOX_APP
from tests.server import Server, environment, serving

PAGE = {"origin": "http://localhost:3000"}
EVIL = {"origin": "https://evil.example"}
TUNNEL = {"x-forwarded-for": "203.0.113.9", "x-forwarded-host": "abc.ngrok.app"}
DEV = {
    "PYLON_DEV_MODE": "1",
    "PYLON_CORS_ORIGIN": "https://app.example",
    "PYLON_ALLOW_UNSAFE": "",
}


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(BLACKBOX_APP, tmp_path_factory.mktemp("dev") / "app.db", env=DEV) as server:
        yield server


def mint(dev: Server, **headers: str) -> httpx.Response:
    with dev.client() as client:
        return client.post("/api/auth/session", json={"user_id": "eve"}, headers=headers)


def code(answer: httpx.Response) -> str:
    assert answer.status_code == 403, answer.text
    found = answer.json()["error"]
    assert found["hint"]
    return str(found["code"])


def test_a_page_of_the_web_mints_nobody(dev: Server) -> None:
    assert mint(dev).status_code == 201
    answer = mint(dev, **PAGE)
    assert answer.status_code == 201
    assert answer.headers["access-control-allow-origin"] == PAGE["origin"]
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert mint(dev, origin="https://app.example").status_code == 201
    for origin in (EVIL["origin"], "null", "http://localhost.evil.example"):
        refused = mint(dev, origin=origin)
        assert code(refused) == "DEV_ORIGIN_REFUSED"
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:4321", "127.0.0.1.nip.io"])
@pytest.mark.parametrize("path", ["/api/entities/Mark", "/api/manifest", "/metrics", "/health"])
def test_a_rebound_name_reads_nothing(dev: Server, host: str, path: str) -> None:
    with dev.client() as client:
        assert client.get(path).status_code == 200
        assert code(client.get(path, headers={"host": host})) == "DEV_HOST_REFUSED"
    assert code(mint(dev, host=host, origin=f"http://{host}")) == "DEV_HOST_REFUSED"


@pytest.mark.parametrize("headers", [{**EVIL}, {"host": "evil.example"}, {**TUNNEL}])
async def test_no_stream_is_opened_to_them_on_any_port(
    dev: Server, headers: dict[str, str]
) -> None:
    token = dev.token_of("ann")
    bearer = {"authorization": f"Bearer {token}"}
    async with dev.async_client(token) as client:
        for url in (f"{dev.url}/events", f"{dev.sse_url}/events"):
            async with client.stream("GET", url, headers={**PAGE}) as opened:
                assert opened.status_code == 200
            async with client.stream("GET", url, headers=headers) as refused:
                assert refused.status_code == 403
    for url in (dev.ws_url(), dev.ws_url("/", own_door=True)):
        async with (
            asyncio.timeout(20),
            websockets.connect(url, additional_headers={**bearer, **PAGE}),
        ):
            pass
        assert b" 403 " in await raw_handshake(dev, url, {**bearer, **headers})


async def raw_handshake(dev: Server, url: str, headers: dict[str, str]) -> bytes:
    """The status line of an upgrade with exactly these headers."""
    port = int(url.partition("://")[2].partition(":")[2].partition("/")[0])
    path = "/" + url.partition("://")[2].partition("/")[2]
    sent = {
        "host": f"127.0.0.1:{port}",
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        line = await reader.readline()
        writer.close()
    return line


def test_a_proxy_gets_nothing_unless_this_machine_asked_it(dev: Server) -> None:
    near = {"x-forwarded-for": "::1", "x-forwarded-host": "localhost:5173"}
    assert mint(dev, **near).status_code == 201
    for far in (TUNNEL, {"via": "1.1 vegur"}, {"cf-ray": "8f2"}, {"x-forwarded-proto": "https"}):
        assert code(mint(dev, **far)) == "DEV_REMOTE_REFUSED"
        with dev.client() as client:
            found = client.get("/api/entities/Mark", headers=far)
        assert code(found) == "DEV_REMOTE_REFUSED"


def test_what_holds_when_others_are_let_in(tmp_path: Path) -> None:
    env = {**DEV, "PYLON_DEV_ALLOW_REMOTE": "1"}
    with serving(BLACKBOX_APP, tmp_path / "app.db", env=env) as server, server.client() as client:
        tunnel = {**TUNNEL, "host": "app.example"}
        assert client.get("/api/entities/Mark", headers=tunnel).status_code == 200
        assert client.get("/metrics", headers=tunnel).status_code == 401
        assert client.get("/metrics").status_code == 200
        assert code(mint(server, **tunnel)) == "FORBIDDEN"
        assert client.get("/api/manifest", headers=tunnel).json()["policies"] == []
        assert client.get("/api/manifest").json()["policies"]
        assert code(mint(server, host="evil.example")) == "DEV_HOST_REFUSED"
        assert code(mint(server, **EVIL)) == "DEV_ORIGIN_REFUSED"
        assert code(mint(server, origin="null")) == "DEV_ORIGIN_REFUSED"


def test_start_says_that_dev_mode_is_on(tmp_path: Path) -> None:
    with serving(BLACKBOX_APP, tmp_path / "app.db", env=DEV) as server:
        assert "WARN" in server.stderr()
        assert "DEV MODE IS ON" in server.stderr()
    with serving(BLACKBOX_APP, tmp_path / "other.db") as server:
        assert "DEV MODE IS ON" not in server.stderr()
        assert "PYLON_ALLOW_UNSAFE=no-rate-limit" in server.stderr()


def test_start_says_it_in_a_banner_to_people(tmp_path: Path) -> None:
    server = Server(BLACKBOX_APP, tmp_path / "app.db", env=DEV)
    with (tmp_path / "told").open("wb") as told:
        child = subprocess.Popen(
            server.command(), env=environment(server.env), stdout=told, stderr=told
        )
        try:
            while b" on http" not in (tmp_path / "told").read_bytes():
                assert child.poll() is None
                time.sleep(0.05)
        finally:
            child.terminate()
            child.wait(60)
    assert "!! DEV MODE IS ON" in (tmp_path / "told").read_text()
