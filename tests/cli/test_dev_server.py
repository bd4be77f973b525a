"""`pylon dev`: it restarts on change, keeps its ports, and a broken edit stops nothing."""

from __future__ import annotations

import os
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pylon.cli.dev_server import is_watched
from tests.cli.conftest import WORKING, RunPylon
from tests.cli.processes import Running, running

FOLDER = Path("/apps/todo")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("app.py", True),
        ("functions/mail/send.py", True),
        ("pylon.manifest.json", True),
        (".env", True),
        (".env.local", True),
        ("public/app.js", False),
        ("public/data.json", False),
        (".pylon/dev.db", False),
        (".pylon/x.json", False),
        (".git/config.json", False),
        ("node_modules/a/b.json", False),
        ("venv/lib/a.py", False),
        ("__pycache__/app.cpython-311.pyc", False),
        ("data.db", False),
        (".#app.py", False),
        ("README.md", False),
    ],
)
def test_which_changes_count(path: str, expected: bool) -> None:
    assert is_watched(str(FOLDER / path), FOLDER) is expected


def test_a_file_elsewhere_does_not_count() -> None:
    assert not is_watched("/elsewhere/app.py", FOLDER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a working app and a page."""
    (tmp_path / "app.py").write_text(WORKING)
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "index.html").write_text("<h1>Notes</h1>")
    return tmp_path


@pytest.fixture
def dev(folder: Path) -> Iterator[Running]:
    """`pylon dev` on a free port."""
    with running(folder, "dev", "--port", "0") as started:
        yield started


def address(told: dict[str, Any]) -> str:
    """The front page of a `DEV_OK` record."""
    url: str = told["urls"]["page"]
    return url


def version(url: str) -> str:
    """The version of the app that is served now."""
    text: str = httpx.get(url + "api/manifest", timeout=60).json()["version"]
    return text


def test_a_change_restarts_on_the_same_port_and_a_broken_one_does_not(
    dev: Running, folder: Path
) -> None:
    told = dev.record()
    assert told["code"] == "DEV_OK"
    assert (told["rebuild"], told["name"], told["entities"]) == (1, "notes", ["Note"])
    url = address(told)
    assert url.startswith("http://127.0.0.1:")
    assert httpx.get(url).text == "<h1>Notes</h1>"

    (folder / "app.py").write_text(WORKING.replace("1.2.3", "1.2.4"))
    told = dev.record()
    assert (told["code"], told["rebuild"], told["version"]) == ("DEV_OK", 2, "1.2.4")
    assert address(told) == url
    assert version(url) == "1.2.4"

    (folder / "app.py").write_text("this is no Python")
    told = dev.record()
    assert (told["code"], told["rebuild"]) == ("DEV_ERROR", 3)
    assert told["diagnostics"][0]["code"] == "APP_SYNTAX_ERROR"
    assert version(url) == "1.2.4", "the version before goes on serving"

    (folder / "app.py").write_text(WORKING.replace("1.2.3", "1.2.5"))
    assert dev.record()["version"] == "1.2.5"
    assert version(url) == "1.2.5"
    assert dev.stop() == 0


def test_rows_survive_a_restart_and_no_connection_is_refused(dev: Running, folder: Path) -> None:
    url = address(dev.record())
    token = httpx.post(url + "api/auth/guest").json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    made = httpx.post(url + "api/entities/Note", json={"text": "kept"}, headers=headers)
    assert made.status_code == 201

    failures: list[str] = []
    answered = 0
    restarted = threading.Event()

    def ask() -> None:
        nonlocal answered
        while not restarted.is_set():
            try:
                httpx.get(url + "api/auth/me", timeout=60).raise_for_status()
                answered += 1
            except httpx.ConnectError as error:
                failures.append(str(error))
            except httpx.HTTPError:
                continue  # a kept-alive connection may be closed under a request

    asking = threading.Thread(target=ask)
    asking.start()
    (folder / "app.py").write_text(WORKING + "\n# changed\n")
    assert dev.record()["rebuild"] == 2
    restarted.set()
    asking.join()
    assert failures == []
    assert answered > 0
    rows = httpx.get(url + "api/entities/Note", headers=headers).json()["data"]
    assert [row["text"] for row in rows] == ["kept"]


def test_a_first_version_that_is_broken_is_waited_for(folder: Path) -> None:
    (folder / "app.py").write_text("1 / 0")
    with running(folder, "dev", "--port", "0") as dev:
        told = dev.record()
        assert told["code"] == "DEV_ERROR"
        assert "ZeroDivisionError" in told["error"]
        (folder / "app.py").write_text(WORKING)
        assert dev.record()["code"] == "DEV_OK"


def test_env_files_are_read_anew_and_the_process_wins(folder: Path) -> None:
    (folder / ".env").write_text("NOTE_VERSION=from-env\nOTHER=env\n")
    (folder / ".env.local").write_text("NOTE_VERSION=from-local\n")
    text = WORKING.replace('"1.2.3"', 'os.environ["NOTE_VERSION"] + os.environ["OTHER"]')
    (folder / "app.py").write_text("import os\n" + text)
    with running(folder, "dev", "--port", "0", OTHER="!") as dev:
        assert dev.record()["version"] == "from-local!"
        (folder / ".env.local").write_text("NOTE_VERSION=changed\n")
        assert dev.record()["version"] == "changed!"


def test_dev_is_for_this_machine_with_its_data_beside_the_app(folder: Path) -> None:
    with running(folder, "dev", "--port", "0", PYLON_DB_PATH="/nowhere/x.db") as dev:
        url = address(dev.record())
        minted = httpx.post(url + "api/auth/session", json={"user_id": "u"})
        assert minted.status_code < 300
    assert (folder / ".pylon" / "dev.db").exists()


def printed_command(pylon: RunPylon, text: str) -> None:
    """Type what was printed."""
    words = shlex.split(text[text.index("pylon schema push") :].partition("`")[0])
    done = pylon(*words[1:])
    assert done.returncode == 0, done.stderr


def test_it_goes_on_by_itself_when_its_printed_command_was_run(
    dev: Running, pylon: RunPylon, folder: Path
) -> None:
    """Where nothing could be served, and where the old version was."""
    url = address(dev.record())
    headers = {"Authorization": f"Bearer {httpx.post(url + 'api/auth/guest').json()['token']}"}
    row = {"text": "many"}
    assert httpx.post(url + "api/entities/Note", json=row, headers=headers).status_code == 201
    (folder / "app.py").write_text(WORKING.replace("text: str", "text: int | None"))
    failed = dev.record()
    assert failed["code"] == "DEV_ERROR"
    printed_command(pylon, failed["diagnostics"][0]["hint"])
    told = dev.record()
    assert (told["code"], told["rebuild"]) == ("DEV_OK", 3)
    rows = httpx.get(url + "api/entities/Note", headers=headers).json()["data"]
    assert [row["text"] for row in rows] == [None]


def test_the_server_stops_with_a_parent_that_is_killed(dev: Running) -> None:
    url = address(dev.record())
    dev.process.kill()
    # stderr is shared with the server process, so it ends when that is gone too
    assert dev.wait() == -signal.SIGKILL
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_ctrl_c_stops_it(folder: Path) -> None:
    with running(folder, "dev", "--port", "0") as dev:
        dev.record()
        os.kill(dev.process.pid, signal.SIGINT)
        assert dev.wait() == 0
    assert "Traceback" not in dev.stderr()


def test_a_server_that_ends_by_itself_is_told_of_and_comes_back(folder: Path) -> None:
    dying = """
import os, pathlib, threading, time

def die_when_asked():
    while not pathlib.Path("die").exists():
        time.sleep(0.01)
    os._exit(3)

threading.Thread(target=die_when_asked, daemon=True).start()
"""
    (folder / "app.py").write_text(WORKING + dying)
    with running(folder, "dev", "--port", "0") as dev:
        dev.record()
        (folder / "die").write_text("")
        assert dev.record() == {"code": "DEV_ENDED", "exit_code": 3}
        (folder / "app.py").write_text(WORKING)
        assert dev.record()["code"] == "DEV_OK"


HANGING = """
import socket
from urllib.request import urlopen

silent = socket.create_server(("127.0.0.1", 0))
urlopen(f"http://127.0.0.1:{silent.getsockname()[1]}/")
"""


@pytest.mark.parametrize(
    "hanging",
    ["import time\ntime.sleep(3_000)\n", "while True: pass\n", HANGING],
    ids=["sleeps", "spins", "waits for a socket"],
)
@pytest.mark.parametrize("is_reload", [False, True], ids=["first start", "reload"])
def test_ctrl_c_ends_an_import_that_hangs(folder: Path, hanging: str, is_reload: bool) -> None:
    source = WORKING if is_reload else hanging
    (folder / "app.py").write_text(source)
    with running(folder, "dev", "--port", "0") as dev:
        if is_reload:
            dev.record()
            (folder / "app.py").write_text(hanging)
        last_line = hanging.splitlines()[-1]
        while f"`{last_line}`" not in dev.stderr():
            assert dev.process.poll() is None, dev.stderr()
            time.sleep(0.05)
        assert "still being imported after 3 seconds; it stands at " in dev.stderr()
        assert "app.py:" in dev.stderr()
        assert dev.stop(signal.SIGINT) == 0
