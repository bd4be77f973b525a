"""Servers and the schema of their database: what `start` reaches, refuses, and notices later."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.evolving import run_sql, write_app
from tests.server import Server, bearer, environment


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(write_app(tmp_path, "title: str"), tmp_path / "app.db")
    made.start()
    yield made
    made.stop()


def push(server: Server, *options: str) -> None:
    command = [sys.executable, "-m", "pylon", "schema", "push", str(server.app)]
    subprocess.run(
        [*command, "--db", str(server.db), *options],
        env=environment({}),
        check=True,
        capture_output=True,
        timeout=60,
    )


def insert(server: Server, **row: object) -> httpx.Response:
    return httpx.post(f"{server.url}/api/entities/Note", json=row)


def pull(server: Server, since: int) -> httpx.Response:
    return httpx.get(f"{server.url}/api/sync/pull", params={"since": since})


def test_additive_steps_are_taken_and_readers_see_what_was_filled_in(
    server: Server, tmp_path: Path
) -> None:
    insert(server, title="a")
    cursor = pull(server, 0).json()["cursor"]["last_seq"]
    server.stop()
    write_app(tmp_path, "title: str", "stars: int = 3", "note: str | None = None")
    server.start()
    assert pull(server, cursor).status_code == 410
    (change,) = pull(server, 0).json()["changes"]
    assert (change["data"]["stars"], change["data"]["note"]) == (3, None)
    server.stop()
    server.start()
    assert pull(server, pull(server, 0).json()["cursor"]["last_seq"]).status_code == 200


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (("title: int",), "from string to int"),
        (("title: str", "stars: int"), "1 row would lack a value"),
        (("heading: str | None = None",), "--rename Note.title:heading"),
    ],
)
def test_what_start_does_not_reach_it_does_not_serve(
    server: Server, tmp_path: Path, fields: tuple[str, ...], told: str
) -> None:
    insert(server, title="7")
    server.stop()
    before = run_sql(server.db, "SELECT * FROM sqlite_schema")
    write_app(tmp_path, *fields)
    done = server.fail_to_start()
    assert done.returncode == 1
    assert told in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert run_sql(server.db, "SELECT * FROM sqlite_schema") == before


def test_removed_fields_are_kept_and_come_back(server: Server, tmp_path: Path) -> None:
    server.stop()
    write_app(tmp_path, "title: str", "stars: int = 3")
    server.start()
    insert(server, title="a", stars=5)
    server.stop()
    write_app(tmp_path, "title: str")
    server.start()
    assert "stars" not in httpx.get(f"{server.url}/api/entities/Note").json()["data"][0]
    server.stop()
    write_app(tmp_path, "title: str", "stars: int = 3")
    server.start()
    assert httpx.get(f"{server.url}/api/entities/Note").json()["data"][0]["stars"] == 5


def test_a_server_that_was_left_behind_says_so(server: Server, tmp_path: Path) -> None:
    insert(server, title="a")
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    write_app(tmp_path, "heading: str")
    push(server, "--rename", "Note.title:heading")
    refused = insert(server, title="b")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "SCHEMA_CHANGED")
    read = httpx.get(f"{server.url}/api/entities/Note")
    assert (read.status_code, read.json()["error"]["code"]) == (503, "SCHEMA_CHANGED")
    with server.client(server.env["PYLON_ADMIN_TOKEN"]) as admin:
        for path in ("/api/export", "/api/sync/pull?since=0"):
            answer = admin.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SCHEMA_CHANGED")
    ready = httpx.get(f"{server.url}/readyz", headers=bearer(server.env["PYLON_ADMIN_TOKEN"]))
    assert ready.status_code == 503
    assert "another process has changed the schema" in server.stderr()
    server.stop()
    server.start()
    assert insert(server, heading="b").status_code == 201
    found = httpx.get(f"{server.url}/api/entities/Note").json()["data"]
    assert [row["heading"] for row in found] == ["a", "b"]
