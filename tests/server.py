"""The real program as a process of its own, for tests that talk to it over sockets.

`Server` starts `python -m pylon start APP --json`, waits for its `START_OK` line, can be killed
and started again on the same port and database, and on `stop` checks that it ends with 0 and has
logged no traceback. Production rules, an administrator, no rate limit, unless `env` says otherwise.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from pylon import codec

ADMIN_TOKEN = "correct-horse-battery-staple"
ORIGIN = "https://app.example"
START_SECONDS = 60.0
STOP_SECONDS = 60.0

PRODUCTION = {
    "PYLON_CORS_ORIGIN": ORIGIN,
    "PYLON_ADMIN_TOKEN": ADMIN_TOKEN,
    "PYLON_RATE_LIMIT_MAX": "0",
    "PYLON_ALLOW_UNSAFE": "no-rate-limit",
    "PYLON_SOCKETS_PER_ADDRESS": "1000",
    "PYLON_ACCESS_LOG": "0",
}


def bearer(token: str | None) -> dict[str, str]:
    """The header that carries a token; none for anonymous."""
    return {} if token is None else {"authorization": f"Bearer {token}"}


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without its own settings, with those given.

    With pytest's `--loopback` the server encodes what would cross between processes.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYLON_", "RUST_LOG"))}
    loopback = {"PYLON_LOOPBACK": "1"} if os.environ.get("TEST_LOOPBACK") else {}
    return {**inherited, **loopback, **env}


class Server:
    """One app on one port; the port is chosen at the first start."""

    def __init__(self, app: Path, db: Path, *, env: Mapping[str, str] | None = None) -> None:
        self.app, self.db = app, db
        self.env = {**PRODUCTION, **(env or {})}
        self.port = 0
        self.child: subprocess.Popen[bytes] | None = None
        self.stderr_path = db.with_name(f"{db.name}.stderr")

    # --- life --------------------------------------------------------------------------------

    def command(self) -> list[str]:
        """What is run, but for `--json`."""
        return [
            *(sys.executable, "-m", "pylon", "start", str(self.app)),
            *("--host", "127.0.0.1", "--port", str(self.port), "--db", str(self.db)),
        ]

    def fail_to_start(self) -> subprocess.CompletedProcess[str]:
        """A start that is to fail: exit code, stdout and stderr."""
        return subprocess.run(
            self.command(),
            env=environment(self.env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )

    def start(self) -> None:
        """Start and wait until it listens."""
        with self.stderr_path.open("ab") as stderr:
            child = subprocess.Popen(
                [*self.command(), "--json"],
                env=environment(self.env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        told = _first_line(child)
        if told.get("code") != "START_OK":
            child.kill()
            child.wait()
            _close(child)
            raise AssertionError(f"no start: {told}, {self.stderr()}")
        self.child = child
        self.port = told["port"]

    def kill(self) -> None:
        """End it with SIGKILL: nothing is written any more."""
        child, self.child = self.child, None
        assert child is not None
        child.kill()
        child.wait(STOP_SECONDS)
        _close(child)

    def stop(self, *, traceback_is_fine: bool = False, expected: int = 0) -> None:
        """End it with SIGTERM; it must end with 0, or the exit code that is expected, and without a
        traceback in its log."""
        child, self.child = self.child, None
        if child is None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            code = child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise
        finally:
            _close(child)
        assert code == expected, (code, self.stderr())
        assert traceback_is_fine or "Traceback" not in self.stderr(), self.stderr()

    def stderr(self) -> str:
        """All that it has written to stderr, over all starts."""
        return self.stderr_path.read_text(errors="replace") if self.stderr_path.exists() else ""

    # --- ways to talk to it ------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sse_url(self) -> str:
        """The SSE door of its own."""
        return f"http://127.0.0.1:{self.port + 2}"

    def ws_url(self, path: str = "/ws", *, own_door: bool = False) -> str:
        """A WebSocket address on the main port, or on the door of its own."""
        return f"ws://127.0.0.1:{self.port + own_door}{path}"

    def client(self, token: str | None = None, **more: Any) -> httpx.Client:
        """A client of one caller. No test speaks TLS, and a client that verifies reads all
        certificates when it is made, which takes longer than most tests."""
        headers = {**bearer(token), **more.pop("headers", {})}
        return httpx.Client(
            base_url=self.url, headers=headers, trust_env=False, verify=False, timeout=60, **more
        )

    def async_client(self, token: str | None = None) -> httpx.AsyncClient:
        """The same for asyncio."""
        return httpx.AsyncClient(
            base_url=self.url, headers=bearer(token), trust_env=False, verify=False, timeout=60
        )

    def token_of(self, user_id: str) -> str:
        """A fresh session of a user, minted by the administrator."""
        with self.client(ADMIN_TOKEN) as admin:
            answer = admin.post("/api/auth/session", json={"user_id": user_id})
        assert answer.status_code == 201, answer.text
        token = answer.json()["token"]
        assert isinstance(token, str)
        return token


@contextmanager
def serving(
    app: Path, db: Path, *, env: Mapping[str, str] | None = None, traceback_is_fine: bool = False
) -> Iterator[Server]:
    """A started server; stopped with grace at the end, killed when the test failed."""
    server = Server(app, db, env=env)
    server.start()
    try:
        yield server
    except BaseException:
        if server.child is not None:
            server.kill()
        raise
    server.stop(traceback_is_fine=traceback_is_fine)


def _first_line(child: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The first line of JSON, waited for a bounded time."""
    assert child.stdout is not None
    ready, _, _ = select.select([child.stdout], [], [], START_SECONDS)
    line = child.stdout.readline() if ready else b""
    if not line:
        return {"code": "NO_LINE"}
    told: Any = codec.decode_trusted(line)
    return told if isinstance(told, dict) else {"findings": told}


def _close(child: subprocess.Popen[bytes]) -> None:
    if child.stdout is not None:
        child.stdout.close()
