"""A database that cannot be written under a running server: told by `/readyz`, no answer is a lie,
whatever does not write goes on, and what can end by itself does.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.conftest import BLACKBOX_APP
from tests.server import ADMIN_TOKEN, Server, bearer, serving

ROWS = "/api/entities/Mark"
WAIT_SECONDS = 60.0


def code_of(answer: httpx.Response) -> str | None:
    """The code of an error, None of a success."""
    code: str | None = answer.json().get("error", {}).get("code")
    return code


def readiness(client: httpx.Client) -> tuple[int, dict[str, Any]]:
    answer = client.get("/readyz")
    body = answer.json()
    assert body["status"] == ("ok" if answer.status_code == 200 else "unavailable")
    return answer.status_code, body.get("reasons", {})


def until_ready(client: httpx.Client, *, is_ready: bool) -> dict[str, Any]:
    """Wait for `/readyz` to change; the reasons that it gives."""
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        status, reasons = readiness(client)
        if (status == 200) is is_ready:
            return reasons
        time.sleep(0.05)
    pytest.fail(f"/readyz stays: {readiness(client)}")


# --- files that are gone ---------------------------------------------------------------------


def _remove(path: Path) -> Path | None:
    path.unlink()
    return None


def _move(path: Path) -> Path | None:
    return path.rename(path.with_name("away.db"))


def _replace(path: Path) -> Path | None:
    kept = path.with_name("kept.db")
    kept.hardlink_to(path)
    Path(shutil.copy(path, path.with_name("copy.db"))).rename(path)
    return kept


def _remove_log(path: Path) -> Path | None:
    path.with_name(f"{path.name}-wal").unlink()
    return path


@pytest.mark.parametrize("way", [_remove, _move, _replace, _remove_log])
def test_no_write_to_a_file_that_is_gone_is_acknowledged(
    tmp_path: Path, way: Callable[[Path], Path | None]
) -> None:
    server = Server(BLACKBOX_APP, tmp_path / "data" / "app.db")
    server.db.parent.mkdir()
    server.stderr_path = tmp_path / "stderr"
    server.start()
    acknowledged: set[str] = set()
    with server.client(ADMIN_TOKEN) as client:

        def write() -> httpx.Response:
            answer = client.post(ROWS, json={"n": 1})
            if answer.status_code < 300:
                acknowledged.add(answer.json()["id"])
            return answer

        assert [write().status_code for _ in range(8)] == [201] * 8
        left = way(server.db)
        refused = [write() for _ in range(8)]
        assert [(each.status_code, code_of(each)) for each in refused] == [
            (500, "STORAGE_GONE")
        ] * 8
        assert code_of(client.post("/api/auth/guest")) == "STORAGE_GONE"
        assert readiness(client) == (503, {"database": "STORAGE_GONE"})
        assert str(tmp_path) not in client.get("/readyz").text + refused[0].text
        assert client.get("/health").status_code == 200
        seen = {row["id"] for row in client.get(f"{ROWS}?limit=100").json()["data"]}
        assert acknowledged <= seen, "reads go on from the file that is open"
    told = [line for line in server.stderr().splitlines() if "removed or replaced under" in line]
    assert any(str(server.db) in line for line in told)
    server.stop()
    if left is None:
        return  # The operator has no more than a backup.
    if left != server.db:
        left.rename(server.db)
    server.start()
    with server.client(ADMIN_TOKEN) as client:
        found = {row["id"] for row in client.get(f"{ROWS}?limit=100").json()["data"]}
        assert acknowledged <= found
        assert write().status_code == 201
        assert readiness(client) == (200, {})
    server.stop()


def test_it_is_noticed_where_nobody_writes(tmp_path: Path) -> None:
    with serving(BLACKBOX_APP, tmp_path / "app.db") as server, server.client() as client:
        assert readiness(client) == (200, {})
        server.db.unlink()
        assert until_ready(client, is_ready=False) == {"database": "STORAGE_GONE"}


def test_sessions_of_a_file_that_is_gone(tmp_path: Path) -> None:
    sessions = tmp_path / "sessions.db"
    env = {"PYLON_SESSION_DB": str(sessions)}
    with serving(BLACKBOX_APP, tmp_path / "app.db", env=env) as server:
        ann = server.token_of("ann")
        sessions.rename(tmp_path / "away")
        with server.client(ann) as client:
            for path in ("guest", "refresh"):
                assert code_of(client.post(f"/api/auth/{path}")) == "STORAGE_GONE"
            refused = client.delete("/api/auth/session")
            assert code_of(refused) == "STORAGE_GONE", "a logout that would come undone is none"
            assert readiness(client) == (503, {"sessions": "STORAGE_GONE"})
            assert client.get("/api/auth/me").json()["user_id"] == "ann"
            assert client.post(ROWS, json={"n": 1}).status_code == 201


# --- somebody else's lock --------------------------------------------------------------------

HOLD = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.execute(sys.argv[2])
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def held_by_another(path: Path, how: str) -> Iterator[Callable[[], None]]:
    """A process that has the lock until the block ends, or until what it gives is called."""
    command = [sys.executable, "-c", HOLD, str(path), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        def let_go() -> None:
            holder.communicate(b"\n")

        try:
            yield let_go
        finally:
            holder.kill()


@pytest.mark.parametrize("how", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
@pytest.mark.parametrize("of_sessions", [False, True])
def test_whatever_does_not_write_goes_on_while_another_process_has_the_lock(
    tmp_path: Path, how: str, of_sessions: bool
) -> None:
    """A write waits for it, and has its answer after all the others have theirs."""
    sessions = tmp_path / "sessions.db"
    env = {"PYLON_SESSION_DB": str(sessions)} if of_sessions else {}
    with serving(BLACKBOX_APP, tmp_path / "app.db", env=env) as server:
        token = server.token_of("ann")
        with (
            server.client(token) as client,
            ThreadPoolExecutor(1) as pool,
            connect(server.ws_url(), additional_headers=bearer(token)) as socket,
        ):
            row_id = client.post(ROWS, json={"n": 1}).json()["id"]
            since = client.get("/api/sync/pull?since=0").json()["cursor"]["last_seq"]
            path = sessions if of_sessions else server.db
            waited, other = ("/api/auth/guest", ROWS) if of_sessions else (ROWS, "/api/auth/guest")
            with held_by_another(path, how) as let_go:
                writing = pool.submit(httpx.post, f"{server.url}{waited}", timeout=60, json={})
                for _ in range(5):
                    for url in (
                        *("/health", "/readyz", "/api/auth/me", ROWS, f"{ROWS}/{row_id}"),
                        *(f"/api/sync/pull?since={since}", "/api/manifest"),
                    ):
                        assert client.get(url).status_code == 200, url
                    assert client.post("/api/query/Mark", json={}).status_code == 200
                    assert socket.ping().wait(WAIT_SECONDS)
                    if of_sessions:
                        assert client.post(other, json={"n": 2}).status_code == 201
                    assert not writing.done()
                answer = writing.result()
                assert (answer.status_code, code_of(answer)) == (503, "LOCK_FAILED")
                part = "sessions" if of_sessions else "database"
                assert readiness(client) == (503, {part: "LOCK_FAILED"})
                assert client.get(ROWS).status_code == 200
                let_go()
                until_ready(client, is_ready=True)
            assert client.post(waited, json={}).status_code == 201


# --- a disk that takes no more ---------------------------------------------------------------


def test_a_file_that_may_not_grow_is_told_until_it_may(tmp_path: Path) -> None:
    """As with a quota: what a limit of the process refuses is refused by the file system."""
    with serving(BLACKBOX_APP, tmp_path / "app.db") as server, server.client(ADMIN_TOKEN) as client:
        assert client.post(ROWS, json={"n": 1}).status_code == 201
        assert server.child is not None
        pid, kind = server.child.pid, resource.RLIMIT_FSIZE
        before = resource.prlimit(pid, kind)
        resource.prlimit(pid, kind, (tmp_path.joinpath("app.db-wal").stat().st_size, before[1]))
        refused = [client.post(ROWS, json={"text": "x" * 200_000}) for _ in range(3)]
        assert {code_of(each) for each in refused} == {"STORAGE_READ_ONLY"}
        assert readiness(client) == (503, {"database": "STORAGE_READ_ONLY"})
        assert len(client.get(ROWS).json()["data"]) == 1
        resource.prlimit(pid, kind, before)
        until_ready(client, is_ready=True)
        assert client.post(ROWS, json={"text": "x" * 200_000}).status_code == 201
        metrics = client.get("/metrics", headers={"accept": "text/plain"}).text
        assert 'pylon_ready{check="database"} 1.0' in metrics


# --- many at once ----------------------------------------------------------------------------


def test_what_was_acknowledged_under_load_is_in_the_file_that_was_moved(tmp_path: Path) -> None:
    """Writers go on while the file is moved; who got a 201 finds the row when it is back."""
    server = Server(BLACKBOX_APP, tmp_path / "app.db")
    server.start()
    acknowledged: list[str] = []
    is_refused = threading.Event()

    def write() -> None:
        with server.client(ADMIN_TOKEN) as client:
            while True:
                answer = client.post(ROWS, json={"n": 1})
                if answer.status_code != 201:
                    assert (answer.status_code, code_of(answer)) == (500, "STORAGE_GONE")
                    is_refused.set()
                    return
                acknowledged.append(answer.json()["id"])

    writers = [threading.Thread(target=write) for _ in range(8)]
    for each in writers:
        each.start()
    while len(acknowledged) < 200:
        time.sleep(0.001)
    away = server.db.rename(tmp_path / "away.db")
    for each in writers:
        each.join(WAIT_SECONDS)
    assert is_refused.is_set()
    server.stop()
    away.rename(server.db)
    server.start()
    with server.client(ADMIN_TOKEN) as client:
        found = {row["id"] for row in client.get(f"{ROWS}?limit=10000").json()["data"]}
    server.stop()
    assert set(acknowledged) <= found
