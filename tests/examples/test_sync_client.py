"""The sync client that was written from docs/sync-protocol.md: what it shows is the truth, through
kills of the server and of itself, and what it was told while offline is done once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pylon import codec
from tests.conftest import BLACKBOX_APP
from tests.examples.served import EXAMPLES
from tests.server import ADMIN_TOKEN, Server, bearer, serving

WAIT_SECONDS = 60.0

Rows = dict[str, dict[str, dict[str, Any]]]


class Client:
    """The script as a process, with its file."""

    def __init__(self, server: Server, path: Path, *token: str) -> None:
        self.path = path
        self.shown: Rows = {}
        self.changed = threading.Condition()
        script = EXAMPLES / "sync_client" / "sync_client.py"
        self.process = subprocess.Popen(
            [sys.executable, str(script), server.url, str(path), *token],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.reading = [
            threading.Thread(target=self.read_rows),
            threading.Thread(target=self.read_errors),
        ]
        self.errors: list[str] = []
        for thread in self.reading:
            thread.start()

    def read_rows(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self.changed:
                self.shown = codec.decode_trusted(line)
                self.changed.notify_all()

    def read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self.changed:
                self.errors.append(line)
                self.changed.notify_all()

    def say(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def until(self, is_so: Callable[[Rows], bool]) -> None:
        """Wait until it shows what is expected."""
        with self.changed:
            found = self.changed.wait_for(lambda: is_so(self.shown), WAIT_SECONDS)
        assert found, (self.shown, self.errors)

    def until_offline(self) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: any(self.errors), WAIT_SECONDS)

    def stored(self) -> dict[str, Any]:
        found: dict[str, Any] = codec.decode_trusted(self.path.read_bytes())
        return found

    def end(self, *, by_kill: bool = False) -> None:
        """It ends by itself when its input does."""
        assert self.process.stdin is not None
        if by_kill:
            self.process.kill()
        self.process.stdin.close()
        code = self.process.wait(WAIT_SECONDS)
        for thread in self.reading:
            thread.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        assert by_kill or code == 0, self.errors


Open = Callable[..., Client]


@pytest.fixture
def client_of(server: Server, tmp_path: Path) -> Iterator[Open]:
    """Opens clients by the name of their file, and ends those that a failed test has left."""
    opened: list[Client] = []

    def open_client(name: str, *token: str) -> Client:
        opened.append(Client(server, tmp_path / f"{name}.json", *token))
        return opened[-1]

    yield open_client
    for client in opened:
        if client.process.returncode is None:
            client.end(by_kill=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(BLACKBOX_APP, tmp_path / "app.db") as running:
        yield running


def numbers(rows: Rows) -> list[int]:
    return sorted(row["n"] for row in rows.get("Mark", {}).values())


def mine(rows: Rows) -> list[str]:
    return [row.get("text", "") for row in rows.get("Mine", {}).values()]


def test_it_follows_and_writes_through_kills(server: Server, client_of: Open) -> None:
    one, two = client_of("one"), client_of("two")
    one.say('insert Mark {"n": 1}')
    two.until(lambda rows: numbers(rows) == [1])
    (row_id,) = two.shown["Mark"]
    server.kill()
    for client in (one, two):
        client.until_offline()
    one.say('insert Mark {"n": 2}')
    one.say(f'update Mark {row_id} {{"n": 3}}')
    one.until(lambda rows: numbers(rows) == [2, 3])
    two.end(by_kill=True)
    server.start()
    two = client_of("two")
    for client in (one, two):
        client.until(lambda rows: numbers(rows) == [2, 3])
    two.say(f"delete Mark {row_id}")
    for client in (one, two):
        client.until(lambda rows: numbers(rows) == [2])
    with server.client(ADMIN_TOKEN) as admin:
        listed = admin.get("/api/entities/Mark").json()["data"]
    assert one.shown["Mark"] == two.shown["Mark"] == {row["id"]: row for row in listed}
    for client in (one, two):
        client.end()
        assert client.stored()["pending"] == client.stored()["failed"] == []


def test_a_change_that_is_refused_vanishes(server: Server, client_of: Open) -> None:
    client = client_of("one", server.token_of("ann"))
    client.say('insert Mine {"ownerId": "somebody"}')
    client.say('insert Mine {"ownerId": "ann", "text": "mine"}')
    client.until(lambda rows: mine(rows) == ["mine"])
    client.end()
    (failed,) = client.stored()["failed"]
    assert failed["error"] == "insert Mine: Access denied by policy"


def test_a_cursor_of_another_life_and_another_session_start_anew(
    server: Server, tmp_path: Path, client_of: Open
) -> None:
    path = tmp_path / "one.json"
    with server.client(ADMIN_TOKEN) as admin:
        for user in ("ann", "bob"):
            admin.post("/api/entities/Mine", json={"ownerId": user, "text": user})
    stranger = {"Mine": {"x": {"id": "x", "ownerId": "ann", "text": "of another life"}}}
    ann, bob = server.token_of("ann"), server.token_of("bob")
    path.write_bytes(codec.encode({"token": ann, "cursor": 10**9, "rows": stranger}))
    for user, token in (("ann", ann), ("bob", bob)):
        client = client_of("one", token)
        client.until(lambda rows, user=user: mine(rows) == [user])  # type: ignore[misc]
        client.end()


def test_a_session_that_ends_does_not_leave_its_rows(server: Server, client_of: Open) -> None:
    client = client_of("one")
    client.say('insert Mark {"n": 1}')
    client.until(lambda rows: numbers(rows) == [1])
    old = client.stored()["token"]
    with server.client(ADMIN_TOKEN) as admin:
        me = admin.get("/api/auth/me", headers=bearer(old)).json()["user_id"]
        admin.post("/api/entities/Mine", json={"ownerId": me, "text": "private"})
        client.until(lambda rows: mine(rows) == ["private"])
        admin.delete("/api/auth/session", headers=bearer(old))
        client.until(lambda rows: mine(rows) == [] and numbers(rows) == [1])
    assert client.stored()["token"] != old
    client.end()
