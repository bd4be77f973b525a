"""A full disk, files that cannot be used, a port that is taken: a clear error, and nothing lost."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from pylon.http.doors import bind_doors
from tests.conftest import BLACKBOX_APP
from tests.server import ADMIN_TOKEN, Server, environment, serving

ROWS = "/api/entities/Mark"
DISK_BYTES = 4 * 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the space that is left."""
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4_096):
            with suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass
    return ballast


def rows_of(client: httpx.Client) -> dict[str, Any]:
    return {row["id"]: row for row in client.get(ROWS).json()["data"]}


def test_a_full_disk_refuses_writes_and_goes_on_when_there_is_space(small_disk: Path) -> None:
    with (
        serving(BLACKBOX_APP, small_disk / "app.db") as server,
        server.client(ADMIN_TOKEN) as client,
    ):
        known: dict[str, str] = {}

        def write(text: str) -> httpx.Response:
            answer = client.post(ROWS, json={"text": text})
            if answer.status_code == 201:
                known[answer.json()["id"]] = text
            return answer

        for round_number in range(3):
            assert write(f"before {round_number}").status_code == 201
            ballast = fill(small_disk)
            refused = [write("x" * 50_000) for _ in range(10)]
            full = [answer for answer in refused if answer.status_code != 201]
            assert full, "four megabytes hold no more"
            for answer in full:
                assert answer.status_code == 507, answer.text
                assert answer.json()["error"]["code"] == "STORAGE_FULL"
            # Reads go on, from the committed state.
            assert {row_id: row["text"] for row_id, row in rows_of(client).items()} == known
            assert client.get("/health").status_code == 200
            ballast.unlink()
            assert write(f"after {round_number}").status_code == 201
        # Everything acknowledged survives a kill as well.
        server.kill()
        server.start()
        with server.client(ADMIN_TOKEN) as again:
            assert {row_id: row["text"] for row_id, row in rows_of(again).items()} == known


def written_on(disk: Path) -> tuple[Server, dict[str, Any]]:
    """A server on a small disk that has rows in its log only, and the rows."""
    server = Server(BLACKBOX_APP, disk / "app.db")
    server.stderr_path = disk.parent / "stderr"
    server.start()
    with server.client(ADMIN_TOKEN) as client:
        for number in range(30):
            data = {"n": number, "text": "x" * 3_000}
            assert client.post(ROWS, json=data).status_code == 201
        return server, rows_of(client)


def test_a_stop_on_a_full_disk_says_so_and_loses_nothing(small_disk: Path) -> None:
    server, known = written_on(small_disk)
    ballast = fill(small_disk)
    server.stop(expected=1)
    told = server.stderr()
    (line,) = [each for each in told.splitlines() if each.startswith("STORE_CLOSE_FAILED: ")]
    for word in (f"{small_disk}/app.db", "disk is full", "Nothing that was answered is lost", "MB"):
        assert word in line
    ballast.unlink()
    server.start()
    with server.client(ADMIN_TOKEN) as client:
        assert rows_of(client) == known
    server.stop()


def test_a_start_from_a_log_on_a_full_disk(small_disk: Path) -> None:
    server, known = written_on(small_disk)
    server.kill()
    # A start makes the index of the log anew, where there is room for it.
    (small_disk / "app.db-shm").unlink()
    ballast = fill(small_disk)
    line = one_line(server)
    for word in ("STORE_OPEN_FAILED", f"{small_disk}/app.db", "disk is full", "Free at least 2."):
        assert word in line
    ballast.unlink()
    server.start()
    with server.client(ADMIN_TOKEN) as client:
        assert rows_of(client) == known
    server.stop()


def test_a_copy_on_a_full_disk(written: Path, small_disk: Path) -> None:
    path = Path(shutil.copy(written, small_disk / "app.db"))
    before = path.read_bytes()
    fill(small_disk)
    backup = ("backup", str(small_disk / "copy"), "--app", str(BLACKBOX_APP))
    (small_disk.parent / "migrations").mkdir()
    (small_disk.parent / "migrations" / "0001_one.sql").write_text("-- UP\nDELETE FROM Mark;")
    folder = ("--dir", str(small_disk.parent / "migrations"))
    apply = ("migrate", "apply", str(BLACKBOX_APP), *folder, "--yes")
    for command in (backup, apply):
        ended = subprocess.run(
            [sys.executable, "-m", "pylon", *command, "--db", str(path)],
            env=environment({}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 1
        assert "disk is full" in ended.stderr
    assert path.read_bytes() == before
    left = {each.name for each in small_disk.iterdir()}
    assert left <= {"app.db", "app.db-wal", "app.db-shm", "ballast"}


@pytest.mark.parametrize("free", [4_096, 65_536, 131_072, 229_376])
def test_a_first_start_that_has_too_little_room(small_disk: Path, free: int) -> None:
    """Full in the midst of its own tables, of those of the app, or of the search indexes."""
    ballast = fill(small_disk)
    os.truncate(ballast, ballast.stat().st_size - free)
    server = Server(BLACKBOX_APP, small_disk / "app.db")
    assert "disk is full" in one_line(server)
    ballast.unlink()
    server.stderr_path = small_disk.parent / "stderr"
    server.start()
    server.stop()


def test_a_full_disk_is_told_until_there_is_room(small_disk: Path) -> None:
    """Small writes may still fit; they do not make the server look well."""
    with (
        serving(BLACKBOX_APP, small_disk / "app.db") as server,
        server.client(ADMIN_TOKEN) as client,
    ):
        assert client.get("/readyz").json()["status"] == "ok"
        ballast = fill(small_disk)
        while client.post(ROWS, json={"text": "x" * 50_000}).status_code == 201:
            pass
        for _ in range(3):
            client.post(ROWS, json={"n": 1})
            told = client.get("/readyz")
            assert (told.status_code, told.json()["checks"]["database"]) == (503, False)
            assert told.json()["reasons"] == {"database": "STORAGE_FULL"}
        ballast.unlink()
        while client.get("/readyz").status_code != 200:
            time.sleep(0.05)
        assert client.post(ROWS, json={"text": "x" * 50_000}).status_code == 201


# --- starts that fail ------------------------------------------------------------------------


def one_line(server: Server) -> str:
    """The error of a start that fails as it should: code 1 and a line, with its hint, on stderr."""
    ended = server.fail_to_start()
    assert ended.returncode == 1, ended
    assert ended.stdout == ""
    told = [
        line
        for line in ended.stderr.splitlines()
        if line and " WARNING " not in line and not line.startswith("  hint: ")
    ]
    assert len(told) == 1, ended.stderr
    return told[0]


def test_a_start_on_a_full_disk(small_disk: Path) -> None:
    fill(small_disk)
    server = Server(BLACKBOX_APP, small_disk / "app.db")
    assert "disk is full" in one_line(server)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with some rows, as a server leaves it."""
    path = tmp_path_factory.mktemp("written") / "app.db"
    with serving(BLACKBOX_APP, path) as server, server.client(ADMIN_TOKEN) as client:
        for number in range(200):
            data = {"n": number, "text": "needle" * 50}
            assert client.post(ROWS, json=data).status_code == 201
    assert not path.with_name("app.db-wal").exists(), "a stop leaves one whole file"
    return path


PAGE = 4_096


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is not a database " * 1_000)


def _half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _no_header(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(b"\xa5" * 100 + content[100:])


def _no_schema(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xa5" * (PAGE - 100) + content[PAGE:])


@pytest.mark.parametrize("spoil", [_garbage, _half, _no_header, _no_schema])
def test_a_file_that_is_no_database(
    written: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = Path(shutil.copy(written, tmp_path / "spoilt.db"))
    spoil(path)
    spoilt = path.read_bytes()
    line = one_line(Server(BLACKBOX_APP, path))
    assert str(path) in line
    assert "damaged" in line
    assert path.read_bytes() == spoilt, "what could be rescued is left alone"


def test_a_damaged_table_is_told_and_the_others_are_served(written: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(written, tmp_path / "damaged.db"))
    content = bytearray(path.read_bytes())
    for start in range(PAGE, len(content), PAGE):
        if b"needle" in content[start : start + PAGE]:
            content[start : start + PAGE] = b"\xa5" * PAGE
    path.write_bytes(content)
    with (
        serving(BLACKBOX_APP, path, traceback_is_fine=True) as server,
        server.client(ADMIN_TOKEN) as client,
    ):
        for answer in (
            client.get(ROWS),
            client.get(f"{ROWS}/cursor"),
            client.get("/api/sync/pull"),
        ):
            assert answer.status_code == 500
            assert answer.json()["error"]["code"] == "STORAGE_DAMAGED"
        row_id = client.post("/api/entities/Sample", json={"text": "x"}).json()["id"]
        assert client.get(f"/api/entities/Sample/{row_id}").json()["text"] == "x"


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    assert str(tmp_path) in one_line(Server(BLACKBOX_APP, tmp_path))


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "folder" in one_line(Server(BLACKBOX_APP, tmp_path / "file" / "app.db"))


def test_a_file_system_that_cannot_be_written(written: Path, small_disk: Path) -> None:
    path = Path(shutil.copy(written, small_disk / "app.db"))
    mount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(mount, check=True)
    server = Server(BLACKBOX_APP, path)
    assert "cannot be written" in one_line(server)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_cannot_be_written(written: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(written, tmp_path / "app.db"))
    path.chmod(0o400)
    assert "cannot be written" in one_line(Server(BLACKBOX_APP, path))


def test_a_database_that_another_process_serves(tmp_path: Path) -> None:
    """Two servers on one file would number the log twice."""
    path = tmp_path / "app.db"
    with serving(BLACKBOX_APP, path) as server:
        assert server.child is not None
        named = f"in use by another process (pid {server.child.pid})"
        assert named in one_line(Server(BLACKBOX_APP, path))
        (tmp_path / "app.db-lock").unlink()
        assert named in one_line(Server(BLACKBOX_APP, path))
        (tmp_path / "symbolic.db").symlink_to(path)
        assert named in one_line(Server(BLACKBOX_APP, tmp_path / "symbolic.db"))
        os.link(path, tmp_path / "hard.db")
        assert named in one_line(Server(BLACKBOX_APP, tmp_path / "hard.db"))
        (tmp_path / "hard.db").unlink()


def test_a_database_that_is_served_by_a_bound_path(written: Path, tmp_path: Path) -> None:
    """A file that two containers have by two names."""
    path = Path(shutil.copy(written, tmp_path / "app.db"))
    bound = tmp_path / "bound.db"
    bound.touch()
    mount = ["mount", "--bind", str(path), str(bound)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        with serving(BLACKBOX_APP, path):
            assert "in use by another process (pid " in one_line(Server(BLACKBOX_APP, bound))
    finally:
        subprocess.run(["umount", "-l", str(bound)], check=True)


def test_sessions_that_another_server_has(tmp_path: Path) -> None:
    env = {"PYLON_SESSION_DB": str(tmp_path / "sessions.db")}
    with serving(BLACKBOX_APP, tmp_path / "one.db", env=env):
        line = one_line(Server(BLACKBOX_APP, tmp_path / "two.db", env=env))
        assert "PYLON_SESSION_DB" in line
        assert "in use by another process (pid " in line


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_a_port_in_use(tmp_path: Path, offset: int) -> None:
    server = Server(BLACKBOX_APP, tmp_path / "app.db")
    lines = []
    for _ in range(5):  # Something else on this machine may take one of the three meanwhile.
        doors = bind_doors("127.0.0.1", 0)
        server.port = doors.ports.main
        doors.close()
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", server.port + offset))
            other.listen()
            lines.append(one_line(server))
        if f"Port {server.port + offset} " in lines[-1]:
            break
    else:
        pytest.fail(f"other ports were named: {lines}")
    assert not server.db.exists(), "ports come first"


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("PYLON_ADMIN_TOKEN", "", "empty"),
        ("PYLON_ADMIN_TOKEN", "short", "too short"),
        ("PYLON_CORS_ORIGIN", "", "required"),
        ("PYLON_CORS_ORIGIN", "*", "every page"),
        ("PYLON_RATE_LIMIT_MAX", "many", "PYLON_RATE_LIMIT_MAX"),
    ],
)
def test_an_unsafe_or_unreadable_setting(
    tmp_path: Path, variable: str, value: str, word: str
) -> None:
    assert word in one_line(Server(BLACKBOX_APP, tmp_path / "app.db", env={variable: value}))
