"""`pylon start`: production rules, the record once it listens, and what stops it from starting."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import sleep

import httpx
import pytest

from pylon import codec
from pylon.http.doors import bind_doors
from tests.cli.conftest import WORKING, RunPylon, clean_environment
from tests.cli.processes import running

PRODUCTION = {"PYLON_CORS_ORIGIN": "https://notes.example.com", "PYLON_DB_PATH": "data/notes.db"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a working app."""
    (tmp_path / "app.py").write_text(WORKING)
    return tmp_path


def test_it_says_so_once_it_listens_and_stops_on_request(folder: Path) -> None:
    with running(folder, "start", "--host", "127.0.0.1", "--port", "0", **PRODUCTION) as started:
        told = started.record()
        assert told["code"] == "START_OK"
        assert (told["name"], told["version"]) == ("notes", "1.2.3")
        assert told["entry"] == str(folder / "app.py")
        assert told["db_path"] == str(folder / "data" / "notes.db")
        health = httpx.get(f"http://127.0.0.1:{told['port']}/health")
        assert health.status_code == 200
        assert started.stop() == 0
    assert (folder / "data" / "notes.db").exists()


@pytest.mark.parametrize("named", ["", ".pylon/dev.db"])
def test_the_database_of_dev_is_no_answer(pylon: RunPylon, folder: Path, named: str) -> None:
    environment = {**PRODUCTION, "PYLON_DB_PATH": named}
    if not named:
        del environment["PYLON_DB_PATH"]
    done = pylon("start", **environment)
    assert done.returncode == 1
    assert "no database is named" in done.stderr
    assert "--db .pylon/dev.db" in done.stderr, "the way on is told"
    assert not (folder / ".pylon").exists()
    arguments = ("start", "--db", ".pylon/dev.db", "--host", "127.0.0.1", "--port", "0")
    with running(folder, *arguments, **environment) as started:
        assert started.record()["db_path"] == str(folder / ".pylon" / "dev.db")


@pytest.mark.parametrize("option", [(), ("--db", "own.db")])
def test_it_says_which_file_it_took_and_who_named_it(folder: Path, option: tuple[str, ...]) -> None:
    arguments = ("start", "--host", "127.0.0.1", "--port", "0", *option)
    with subprocess.Popen(
        [sys.executable, "-m", "pylon", *arguments],
        cwd=folder,
        env=clean_environment(PRODUCTION),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            told = [child.stdout.readline() for _ in range(2)]
        finally:
            child.kill()
    expected = f"{folder}/own.db" if option else f"{folder}/data/notes.db (PYLON_DB_PATH)"
    assert told[1].split(None, 1) == ["Database", f"{expected}\n"]


def test_it_serves_also_where_nobody_reads_what_it_says(folder: Path) -> None:
    """As in `pylon start | head -0`; that it stops well says that its exit code is its own."""
    doors = bind_doors("127.0.0.1", 0)
    port = doors.ports.main
    doors.close()
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [sys.executable, "-m", "pylon", "start", "--host", "127.0.0.1", "--port", str(port)],
        cwd=folder,
        env=clean_environment(PRODUCTION),
        stdout=writing,
        stderr=subprocess.PIPE,
    ) as child:
        os.close(writing)
        try:
            _until_it_answers(f"http://127.0.0.1:{port}/health")
            child.terminate()
            _, told = child.communicate(timeout=60)
        finally:
            child.kill()
    assert (child.returncode, b"Traceback" in told, b"BrokenPipe" in told) == (0, False, False)


def _until_it_answers(url: str) -> None:
    for _ in range(600):
        with suppress(httpx.TransportError):
            assert httpx.get(url).status_code == 200
            return
        sleep(0.1)
    pytest.fail("it does not answer")


def test_production_has_production_rules(folder: Path) -> None:
    arguments = ("start", "--host", "127.0.0.1", "--port", "0", "--in-memory")
    with running(folder, *arguments, **PRODUCTION) as started:
        told = started.record()
        assert told["db_path"] is None
        base = f"http://127.0.0.1:{told['port']}"
        answer = httpx.get(base + "/api/auth/me", headers={"Origin": "https://else.example"})
        assert answer.headers.get("access-control-allow-origin") != "*"
        minted = httpx.post(base + "/api/auth/session", json={"user_id": "u"})
        assert minted.status_code >= 400


def test_the_environment_and_the_options_are_heard(folder: Path) -> None:
    environment = {**PRODUCTION, "PYLON_PORT": "0", "PYLON_HOST": "127.0.0.1"}
    with running(folder, "start", "app.py", "--db", "data/own.db", **environment) as started:
        told = started.record()
        assert told["port"] != 4321
        assert told["db_path"] == str(folder / "data" / "own.db")


def test_no_env_file_is_read(pylon: RunPylon, folder: Path) -> None:
    (folder / ".env").write_text("PYLON_CORS_ORIGIN=https://notes.example.com\n")
    done = pylon("start")
    assert done.returncode == 1
    assert "PYLON_CORS_ORIGIN is required" in done.stderr


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({}, "PYLON_CORS_ORIGIN"),
        ({"PYLON_CORS_ORIGIN": "*"}, "PYLON_CORS_ORIGIN"),
        ({**PRODUCTION, "PYLON_ADMIN_TOKEN": ""}, "PYLON_ADMIN_TOKEN"),
        ({**PRODUCTION, "PYLON_PORT": "many"}, "PYLON_PORT"),
    ],
)
def test_unsafe_settings_are_refused(
    pylon: RunPylon, folder: Path, environment: dict[str, str], word: str
) -> None:
    done = pylon("start", **environment)
    assert done.returncode == 1
    assert word in done.stderr
    assert "hint:" in done.stderr
    (finding,) = codec.decode(pylon("start", "--json", **environment).stdout)
    assert word in finding["message"]


def test_all_that_is_refused_is_told_at_once(pylon: RunPylon, folder: Path) -> None:
    done = pylon("start", PYLON_ADMIN_TOKEN="")
    assert done.returncode == 1
    for each in ("PYLON_CORS_ORIGIN", "PYLON_ADMIN_TOKEN", "no database is named", "--db PATH"):
        assert each in done.stderr, each
    (finding,) = codec.decode(pylon("start", "--json", PYLON_ADMIN_TOKEN="").stdout)
    assert finding["code"] == "CONFIG_UNSAFE"


def test_a_missing_app(pylon: RunPylon, tmp_path: Path) -> None:
    assert pylon("start", **PRODUCTION).returncode == 64
    done = pylon("start", "gone.py", "--json", **PRODUCTION)
    assert done.returncode == 1
    assert codec.decode(done.stdout)[0]["code"] == "START_ENTRY_NOT_FOUND"


def test_a_port_in_use_is_one_clear_error(pylon: RunPylon, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = pylon("start", "--host", "127.0.0.1", "--port", port, "--json", **PRODUCTION)
    assert done.returncode == 1
    assert codec.decode(done.stdout)[0]["code"] == "PORT_IN_USE"


def test_a_database_file_that_is_none_is_one_clear_line(pylon: RunPylon, folder: Path) -> None:
    (folder / "no.db").write_bytes(b"this is no database" * 100)
    done = pylon(
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--db",
        "no.db",
        PYLON_LOG="off",
        **PRODUCTION,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_folder_of_the_database_must_be_possible(pylon: RunPylon, folder: Path) -> None:
    (folder / "file").write_text("")
    done = pylon("start", "--db", "file/below/x.db", "--json", **PRODUCTION)
    assert done.returncode == 1
    assert codec.decode(done.stdout)[0]["code"] == "DB_FOLDER_FAILED"


def test_a_database_of_another_shape_is_refused_with_reasons(pylon: RunPylon, folder: Path) -> None:
    with sqlite3.connect(folder / "old.db") as database:
        database.execute('CREATE TABLE "Note" (id TEXT PRIMARY KEY NOT NULL, "text" INTEGER)')
    database.close()
    done = pylon("start", "--host", "127.0.0.1", "--port", "0", "--db", "old.db", **PRODUCTION)
    assert done.returncode == 1
    assert "Note" in done.stderr
    assert "Traceback" not in done.stderr
