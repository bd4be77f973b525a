"""A disk that does not confirm what is written to it: no answer is a lie, nothing that was answered
is lost when the power goes, `/readyz` tells, and the server goes on when the disk does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pylon import limits
from tests.blackbox.faulty_disk import FaultyDisk
from tests.blackbox.test_store_trouble import code_of, readiness, until_ready
from tests.server import ADMIN_TOKEN, Server

ROWS = "/api/entities/Mark"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FaultyDisk]:
    made = FaultyDisk(tmp_path)
    yield made
    made.end()


def write(client: httpx.Client, known: dict[str, int], n: int, size: int = 10) -> httpx.Response:
    """Insert a row, and remember it when that was acknowledged."""
    answer = client.post(ROWS, json={"n": n, "text": "x" * size})
    if answer.status_code == 201:
        known[answer.json()["id"]] = n
    return answer


def rows_of(server: Server) -> dict[str, int]:
    with server.client(ADMIN_TOKEN) as client:
        return {row["id"]: row["n"] for row in client.post("/api/query/Mark", json={}).json()}


@pytest.mark.parametrize("is_cut_while_failing", [True, False])
@pytest.mark.parametrize("end", ["", "-wal"])
def test_no_write_is_acknowledged_that_the_disk_does_not_confirm(
    disk: FaultyDisk, end: str, is_cut_while_failing: bool
) -> None:
    server, known = disk.server(), dict[str, int]()
    server.start()
    with server.client(ADMIN_TOKEN) as client:
        assert [write(client, known, n).status_code for n in range(20)] == [201] * 20
        disk.fail(end)
        for n in range(20, 30):
            refused = write(client, known, n, size=20_000)
            assert (refused.status_code, code_of(refused)) == (500, "TX_COMMIT_FAILED")
        assert code_of(client.post("/api/auth/guest")) == "TX_COMMIT_FAILED"
        assert readiness(client) == (503, {"database": "TX_COMMIT_FAILED"})
        assert rows_of(server) == known, "reads go on, and see nothing of it"
        if not is_cut_while_failing:
            disk.mend()
            until_ready(client, is_ready=True)
            assert [write(client, known, n).status_code for n in range(30, 50)] == [201] * 20
            assert rows_of(server) == known
    disk.cut_power(server)
    if is_cut_while_failing:
        disk.mend()
    server.start()
    assert rows_of(server) == known
    server.stop()


def test_a_log_that_cannot_be_brought_into_the_database_is_told(disk: FaultyDisk) -> None:
    """Writes are safe in it; it grows."""
    server, known = disk.server(), dict[str, int]()
    server.start()
    with server.client(ADMIN_TOKEN) as client:
        disk.fail(".db")
        written, n = 0, 0
        while written < limits.WAL_BYTES_LONG:
            assert write(client, known, n, size=900_000).status_code == 201
            written, n = written + 900_000, n + 1
        assert until_ready(client, is_ready=False) == {"database": "CHECKPOINT_FAILED"}
        assert write(client, known, n).status_code == 201
        assert readiness(client)[0] == 503, "that writes succeed says nothing of it"
    disk.cut_power(server)
    server.start()
    assert rows_of(server) == known
    with server.client(ADMIN_TOKEN) as client:
        disk.mend()
        until_ready(client, is_ready=True)
        assert write(client, known, n).status_code == 201
    server.stop()


def test_a_stop_on_a_disk_that_fails_says_so_and_loses_nothing(disk: FaultyDisk) -> None:
    server, known = disk.server(), dict[str, int]()
    server.start()
    with server.client(ADMIN_TOKEN) as client:
        for n in range(20):
            assert write(client, known, n).status_code == 201
    disk.fail()
    server.stop(expected=1)
    assert "STORE_CLOSE_FAILED: " in server.stderr()
    assert "Nothing that was answered is lost" in server.stderr()
    refused = server.fail_to_start()
    assert (refused.returncode, "STORE_OPEN_FAILED: " in refused.stderr) == (1, True)
    disk.mend()
    server.start()
    disk.cut_power(server)
    server.start()
    assert rows_of(server) == known
    server.stop()


def test_sessions_of_a_file_of_their_own(disk: FaultyDisk) -> None:
    """A log-out that would come undone is none."""
    server = disk.server(PYLON_SESSION_DB=str(disk.data / "sessions.db"))
    server.start()
    with server.client(server.token_of("ann")) as client:
        disk.fail("sessions.db-wal")
        assert code_of(client.post("/api/auth/guest")) == "TX_COMMIT_FAILED"
        assert code_of(client.delete("/api/auth/session")) == "TX_COMMIT_FAILED"
        assert readiness(client) == (503, {"sessions": "TX_COMMIT_FAILED"})
        assert client.post(ROWS, json={"n": 1}).status_code == 201
        assert client.get("/api/auth/me").json()["user_id"] == "ann"
        disk.mend()
        until_ready(client, is_ready=True)
        assert client.delete("/api/auth/session").status_code in (200, 204)
        disk.cut_power(server)
        server.start()
        assert client.get("/api/auth/me").json().get("user_id") != "ann"
    server.stop()
