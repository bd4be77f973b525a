"""What each command loads before it answers: bounds on the number of modules, and what must not be
among them. Never times; those are in `bench/`.

The standard library is left out of the counts, since its modules differ between versions.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from pylon import codec
from tests.cli.conftest import WORKING, clean_environment

LISTING = """
import atexit, os, sys
def write():
    with open(os.environ["TEST_MODULES"], "w") as file:
        file.write("\\n".join(sys.modules))
atexit.register(write)
from pylon.cli import main
main()
"""
"""The `pylon` command, which leaves the names of its modules where `TEST_MODULES` says."""

SERVING = {"pylon.wiring", "pylon.service", "pylon.server", "pylon.http.pipeline"}
"""What only a server needs."""

NOT_TO_START = {
    *("uvicorn", "watchfiles", "anyio", "prometheus_client", "loro", "re2", "fastapi", "httpx"),
    *("logging.config", "argparse", "pylon.testing", "pylon.cli.dev_server"),
}
"""What is for other commands, for extras, for what is asked later, or for nobody."""


def loaded_by(folder: Path, *arguments: str) -> set[str]:
    """The modules that a command has loaded when it ends."""
    written = folder / "modules.txt"
    subprocess.run(
        [sys.executable, "-c", LISTING, *arguments],
        cwd=folder,
        env=clean_environment({"TEST_MODULES": str(written)}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=True,
    )
    return set(written.read_text().split("\n"))


def counted(modules: set[str]) -> set[str]:
    """Ours and those of libraries."""
    return {each for each in modules if each.split(".")[0] not in sys.stdlib_module_names}


@pytest.mark.parametrize(
    ("arguments", "most"),
    [
        (("--help",), 35),
        (("--version",), 35),
        (("version",), 35),
        (("init", "notes"), 40),
        (("manifest",), 100),
        (("policy", "check"), 105),
        (("schema", "diff", "--help"), 46),
        (("start", "--help"), 46),
    ],
)
def test_a_small_command_loads_no_server(
    tmp_path: Path, arguments: tuple[str, ...], most: int
) -> None:
    (tmp_path / "app.py").write_text(WORKING)
    modules = loaded_by(tmp_path, *arguments)
    assert "pylon.cli.command" in modules
    libraries = {"apsw", "uvicorn", "uvloop", "websockets", "httptools", "prometheus_client"}
    assert not modules & (SERVING | libraries)
    found = counted(modules)
    assert len(found) <= most, sorted(found)


def test_what_start_loads_before_it_answers(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(WORKING)
    written = tmp_path / "modules.txt"
    child = subprocess.Popen(
        [sys.executable, "-c", LISTING, "start", "--json", *("--host", "127.0.0.1", "--port", "0")],
        cwd=tmp_path,
        env=clean_environment(
            {
                "PYLON_CORS_ORIGIN": "https://notes.example.com",
                "PYLON_DB_PATH": "notes.db",
                "TEST_MODULES": str(written),
            }
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout is not None
    with child, child.stdout:
        told = codec.decode(child.stdout.readline())
        assert httpx.get(f"http://127.0.0.1:{told['port']}/health").status_code == 200
        child.terminate()
    modules = set(written.read_text().split("\n"))
    assert modules >= SERVING
    assert not modules & NOT_TO_START
    found = counted(modules)
    assert len(found) <= 435, sorted(found)
