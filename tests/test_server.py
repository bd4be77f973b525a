"""The process: doors, ports, lifespan, signals and the graceful stop."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from pylon.errors import ConfigError
from pylon.http.asgi import Receive, Scope, Send
from pylon.http.doors import Doors, bind_doors, inherit_doors
from pylon.http.listener import Bounds
from pylon.server import raise_file_limit, run
from tests.http.live import answer, both_loops, live, with_lifespan

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and descriptors are POSIX")


# --- doors ---------------------------------------------------------------------------------------


def test_port_0_finds_three_neighbours() -> None:
    doors = bind_doors("127.0.0.1", 0)
    ports = doors.ports
    assert (ports.ws, ports.sse) == (ports.main + 1, ports.main + 2)
    doors.close()


def test_a_single_port_opens_one_door() -> None:
    doors = bind_doors("127.0.0.1", 0, single_port=True)
    assert (doors.ports.ws, doors.ports.sse) == (None, None)
    doors.close()


@pytest.mark.parametrize(
    ("offset", "named"), [(0, ""), (1, " (the WebSocket door)"), (2, " (the SSE door)")]
)
def test_a_port_in_use_is_named_and_nothing_stays_bound(offset: int, named: str) -> None:
    free = bind_doors("127.0.0.1", 0)
    port = free.ports.main
    free.close()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port + offset))
        other.listen()
        with pytest.raises(ConfigError) as caught:
            bind_doors("127.0.0.1", port)
    error = caught.value
    assert error.code == "PORT_IN_USE"
    assert error.exit_code == 1
    assert error.message == f"Port {port + offset}{named} on 127.0.0.1 is in use"
    assert "--port" in (error.hint or "")
    bind_doors("127.0.0.1", port).close()


@pytest.mark.parametrize(
    ("host", "port", "code"),
    [
        ("127.0.0.1", 65_534, "PORT_INVALID"),
        ("127.0.0.1", -1, "PORT_INVALID"),
        ("not a host.invalid", 4321, "HOST_INVALID"),
        ("192.0.2.1", 4321, "HOST_INVALID"),
    ],
)
def test_impossible_addresses(host: str, port: int, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bind_doors(host, port)
    assert caught.value.code == code


@both_loops
async def test_every_address_means_both_families() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["client"][0])
        await answer(send, b"")

    doors = bind_doors("0.0.0.0", 0, single_port=True)
    hosts = ["127.0.0.1", "[::1]"] if socket.has_dualstack_ipv6() else ["127.0.0.1"]
    async with (
        live(app, doors=doors) as server,
        httpx.AsyncClient(trust_env=False, verify=False, timeout=60) as client,
    ):
        for host in hosts:
            assert (await client.get(f"http://{host}:{server.ports.main}/")).status_code == 200
    assert seen == [host.strip("[]") for host in hosts]


@both_loops
async def test_the_app_sees_its_door() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, scope.get("pylon.door", "none").encode())

    async with (
        live(app, single_port=False) as server,
        httpx.AsyncClient(trust_env=False, verify=False, timeout=60) as client,
    ):
        ports = server.ports
        texts = [
            (await client.get(f"http://127.0.0.1:{port}/")).text
            for port in (ports.main, ports.ws, ports.sse)
        ]
    assert texts == ["none", "ws", "sse"]


@pytest.mark.parametrize("text", ["", "main", "attic=3", "main=x", "main=9999"])
def test_bad_descriptions_of_inherited_doors(text: str) -> None:
    with pytest.raises(ConfigError, match="over"):
        inherit_doors(text)


# --- lifespan ------------------------------------------------------------------------------------


async def test_the_lifespan_state_reaches_requests_and_the_stop_comes_last() -> None:
    order: list[str] = []
    asked = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["database"] = "open"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            order.append("closed")
            await send({"type": "lifespan.shutdown.complete"})
            return
        asked.set()
        await asyncio.sleep(0.05)
        order.append("answered")
        await answer(send, scope["state"]["database"].encode())

    async with (
        live(app, has_lifespan=True) as server,
        httpx.AsyncClient(trust_env=False, verify=False, timeout=60) as client,
    ):
        request = asyncio.ensure_future(client.get(server.url))
        await asked.wait()
        server.stop()
        assert (await request).text == "open"
        assert await server.task == 0
    assert order == ["answered", "closed"]


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no disk"})


async def raising(scope: Scope, receive: Receive, send: Send) -> None:
    raise ConfigError("NO_DISK", "no disk", "Buy one.", exit_code=69)


async def leaving(scope: Scope, receive: Receive, send: Send) -> None:
    pass


@pytest.mark.parametrize(
    ("app", "code", "line"),
    [
        (failing, 1, "no disk.\n"),
        (raising, 69, "no disk. Buy one.\n"),
        (leaving, 1, "The app ended during startup.\n"),
    ],
)
def test_a_failed_start_is_one_line_and_an_exit_code(
    app: object, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(app, port=0) == code  # type: ignore[arg-type]
    assert capsys.readouterr().err == line


def test_a_port_in_use_ends_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    free = bind_doors("127.0.0.1", 0)
    port = free.ports.main
    free.close()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port + 1))
        other.listen()
        assert run(with_lifespan(leaving), port=port) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"Port {port + 1} (the WebSocket door) on 127.0.0.1 is in use. ")
    assert "PYLON_SINGLE_PORT=1" in err
    assert err.count("\n") == 1


def test_the_file_limit_bounds_the_connections() -> None:
    assert raise_file_limit(10) == 10
    assert raise_file_limit(10**9) < 10**9


# --- the stop ------------------------------------------------------------------------------------


@both_loops
async def test_requests_that_do_not_end_are_cut_after_the_drain() -> None:
    cancelled = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with live(app, Bounds(close_seconds_max=0.05), drain_seconds=0.05) as server:
        raw = await server.connect()
        await raw.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.sleep(0.02)
        server.stop()
        assert await raw.rest() == b""
        assert await server.task == 0
        assert cancelled.is_set()


@dataclass(kw_only=True)
class Process:
    """The app of `tests.server_app` in a process of its own."""

    child: subprocess.Popen[str]
    ports: list[int]

    def line(self) -> str:
        assert self.child.stdout is not None
        return self.child.stdout.readline().strip()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.ports[0]}{path}"

    def end(self) -> tuple[int, str]:
        """Exit code and what was printed since."""
        out, _ = self.child.communicate(timeout=60)
        return self.child.returncode, out


@contextmanager
def process(doors: Doors | None = None, *, under: tuple[str, ...] = ()) -> Iterator[Process]:
    arguments = ["0", doors.describe()] if doors else ["0"]
    child = subprocess.Popen(
        [*under, sys.executable, "-m", "tests.server_app", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        pass_fds=doors.file_descriptors() if doors else (),
    )
    with child:
        try:
            running = Process(child=child, ports=[])
            word, *ports = running.line().split()
            assert word == "started"
            running.ports = [int(port) for port in ports if port != "None"]
            yield running
        finally:
            child.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_finishes_what_is_in_flight(number: signal.Signals) -> None:
    with process() as server, socket.create_connection(("127.0.0.1", server.ports[0])) as slow:
        with connect(f"ws://127.0.0.1:{server.ports[1]}/", proxy=None) as websocket:
            slow.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
            with httpx.stream(
                "GET", server.url("/events"), trust_env=False, verify=False
            ) as events:
                pieces = events.iter_bytes()
                assert next(pieces) == b": hello\n\n"
                assert server.line() == "working on /slow"
                server.child.send_signal(number)
                assert server.line() == "draining"
                assert list(pieces) == []  # The stream ended as a whole response does.
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", server.ports[0]))
            response = slow.makefile("rb").read()
            assert response.startswith(b"HTTP/1.1 200 OK\r\n")
            assert response.endswith(b"connection: close\r\n\r\n/slow")
            with pytest.raises(ConnectionClosed):
                websocket.recv(timeout=60)
            assert websocket.close_code == 1001
        assert server.end() == (0, "checkpoint\n")


def test_a_second_signal_ends_it_at_once() -> None:
    with process() as server, socket.create_connection(("127.0.0.1", server.ports[0])) as stuck:
        stuck.sendall(b"GET /stuck HTTP/1.1\r\nhost: x\r\n\r\n")
        assert server.line() == "working on /stuck"
        server.child.send_signal(signal.SIGTERM)
        assert server.line() == "draining"
        server.child.send_signal(signal.SIGTERM)
        assert server.end() == (1, "")


@pytest.mark.parametrize(
    "numbers",
    [
        (signal.SIGTERM, signal.SIGHUP),
        (signal.SIGHUP, signal.SIGTERM),
        (signal.SIGHUP, signal.SIGHUP, signal.SIGINT),
    ],
)
def test_a_hang_up_beside_another_signal_cuts_nothing(numbers: tuple[signal.Signals, ...]) -> None:
    """A shell that ends sends several, a supervisor sends one beside SIGTERM."""
    with process() as server, socket.create_connection(("127.0.0.1", server.ports[0])) as slow:
        slow.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        assert server.line() == "working on /slow"
        server.child.send_signal(numbers[0])
        assert server.line() == "draining"
        for number in numbers[1:]:
            server.child.send_signal(number)
        assert slow.makefile("rb").read().endswith(b"/slow")
        assert server.end() == (0, "checkpoint\n")


def test_a_hang_up_is_ignored_where_its_parent_wants_that() -> None:
    with process(under=("nohup",)) as server:
        server.child.send_signal(signal.SIGHUP)
        assert httpx.get(server.url(), trust_env=False, verify=False, timeout=60).text == "/"
        server.child.send_signal(signal.SIGTERM)
        assert server.end() == (0, "draining\ncheckpoint\n")


def test_a_child_takes_over_the_doors_and_no_connection_is_refused() -> None:
    doors = bind_doors("127.0.0.1", 0)
    with process(doors) as server:
        assert server.ports[0] == doors.ports.main
        assert httpx.get(server.url(), trust_env=False, verify=False, timeout=60).text == "/"
        server.child.send_signal(signal.SIGTERM)
        assert server.end()[0] == 0
    with socket.create_connection(("127.0.0.1", doors.ports.main)) as waiting:
        waiting.sendall(b"GET /next HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        with process(doors):
            assert waiting.makefile("rb").read().endswith(b"/next")
    doors.close()
