"""What docs/deploy.md has people paste works: its settings start a server, and a real nginx and a
real Caddy pass pages, writes, WebSockets and events through, with the visitor's address.
"""

from __future__ import annotations

import getpass
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from pylon.config import Config
from pylon.errors import ConfigError
from pylon.http.doors import bind_doors
from tests.conftest import BLACKBOX_APP
from tests.server import ADMIN_TOKEN, Server, bearer, serving

PAGE = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text()
HOST = "todo.example.com"
ROWS = "/api/entities/Mark"

MakeCommand = Callable[[Server, Path, tuple[Path, Path], int], list[str]]


def block(language: str, containing: str) -> str:
    """A block of the page."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (found,) = [each for each in blocks if containing in each]
    return str(found)


SETTINGS = dict(line.split("=", 1) for line in block("sh", "PYLON_HOST=").split())


def test_its_settings_are_accepted_but_for_the_token_that_is_to_be_replaced() -> None:
    with pytest.raises(ConfigError) as refused:
        Config.from_env(SETTINGS).validate()
    assert "PYLON_ADMIN_TOKEN" in refused.value.message
    config = Config.from_env({**SETTINGS, "PYLON_ADMIN_TOKEN": ADMIN_TOKEN}).validate()
    assert (config.trusted_proxy_hops, config.single_port) == (1, True)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server with the settings of the page, but for its own port, database and rate limit."""
    env = {**SETTINGS, "PYLON_ADMIN_TOKEN": ADMIN_TOKEN, "PYLON_ACCESS_LOG": "1"}
    path: Path = tmp_path_factory.mktemp("deployed")
    with serving(BLACKBOX_APP, path / "todo.db", env=env) as running:
        yield running


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """One that names the host, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    files = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", str(files[1]), "-out", str(files[0]), "-subj", f"/CN={HOST}"),
            *("-addext", f"subjectAltName=DNS:{HOST}"),
        ],
        check=True,
        capture_output=True,
    )
    return files


def free_ports() -> tuple[int, int]:
    doors = bind_doors("127.0.0.1", 0)
    ports = doors.ports
    doors.close()
    assert ports.ws is not None
    return ports.main, ports.ws


def nginx_command(
    server: Server, folder: Path, certificate: tuple[Path, Path], port: int
) -> list[str]:
    text = block("nginx", "proxy_pass")
    for before, after in (
        ("127.0.0.1:4321", f"127.0.0.1:{server.port}"),
        (f"/etc/letsencrypt/live/{HOST}/fullchain.pem", str(certificate[0])),
        (f"/etc/letsencrypt/live/{HOST}/privkey.pem", str(certificate[1])),
        ("listen 443", f"listen {port}"),
        ("listen 80;", f"listen {free_ports()[1]};"),
    ):
        assert before in text
        text = text.replace(before, after)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    before = f"user {getpass.getuser()}; daemon off; pid {folder}/pid; events {{}}\n"
    whole = f"{before}http {{ access_log off;\n{temporary}{text}}}\n"
    (folder / "nginx.conf").write_text(whole)
    return ["nginx", "-e", str(folder / "errors"), "-c", str(folder / "nginx.conf")]


def caddy_command(
    server: Server, folder: Path, certificate: tuple[Path, Path], port: int
) -> list[str]:
    tls = f"tls {certificate[0]} {certificate[1]}"
    text = block("caddy", "reverse_proxy").replace(f"{HOST} {{", f"{HOST}:{port} {{\n\t{tls}")
    text = text.replace("127.0.0.1:4321", f"127.0.0.1:{server.port}")
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(options + text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@contextmanager
def proxy(command: list[str], folder: Path, port: int) -> Iterator[None]:
    """The proxy, once it listens."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder)}
    with (folder / "told").open("wb") as told:
        child = subprocess.Popen(command, env=env, stdout=told, stderr=told)
    try:
        for _ in range(600):
            assert child.poll() is None, (folder / "told").read_text()
            try:
                httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield
    finally:
        child.terminate()
        child.wait(60)


@pytest.mark.parametrize("make", [nginx_command, caddy_command], ids=["nginx", "caddy"])
def test_a_proxy_as_pasted(
    app: Server, tmp_path: Path, certificate: tuple[Path, Path], make: MakeCommand
) -> None:
    port, _ = free_ports()
    command = make(app, tmp_path, certificate, port)
    trusted = ssl.create_default_context(cafile=certificate[0])
    origin = f"https://{HOST}"
    with (
        proxy(command, tmp_path, port),
        httpx.Client(
            base_url=f"https://127.0.0.1:{port}",
            headers={"host": f"{HOST}:{port}", "origin": origin},
            verify=trusted,
            trust_env=False,
            timeout=60,
        ) as client,
    ):
        names = {"sni_hostname": HOST}
        assert client.get("/health", extensions=names).status_code == 200
        assert client.get("/metrics", extensions=names).status_code == 404
        guest = client.post("/api/auth/guest", extensions=names)
        assert guest.status_code == 201
        url = f"wss://{HOST}:{port}/ws"
        token = bearer(guest.json()["token"])
        large = {"text": "x" * 9_000_000}
        with (
            client.stream("GET", "/events?public=1", extensions=names) as events,
            connect(
                url,
                ssl=trusted,
                sock=socket.create_connection(("127.0.0.1", port)),
                server_hostname=HOST,
                additional_headers=token,
                proxy=None,
                max_size=None,
            ) as live,
        ):
            lines = events.iter_lines()
            assert next(lines) == ": connected"
            spoofed = {**token, "x-forwarded-for": "203.0.113.9"}
            written = client.post(ROWS, json={"text": "told"}, headers=spoofed, extensions=names)
            assert written.status_code == 201
            assert any("told" in line for line in lines)
            assert "told" in live.recv(timeout=60)
        sent = client.post(ROWS, json=large, headers=token, extensions=names)
        assert sent.status_code == 201, sent.text[:500]
    seen = [line for line in app.stderr().splitlines() if f"POST {ROWS}" in line]
    assert seen
    assert all('"client":"127.0.0.1"' in line.replace(" ", "") for line in seen), seen
