"""SIGKILL of `pylon migrate apply` at any moment: the database is as before or as after.

Three thousand rows and a few kills by default; 200,000 rows and twenty kills with PYLON_LONG=1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from time import monotonic, sleep

import pytest

from pylon import codec
from tests.cli.conftest import RunPylon, clean_environment
from tests.cli.evolving import run_sql
from tests.server import ADMIN_TOKEN, Server

LONG = bool(os.environ.get("PYLON_LONG"))
ROWS = 200_000 if LONG else 3_000
KILLS = 20 if LONG else 3

APP = """
from pylon import App, Entity
app = App("notes", "1.0.0")

@app.entity
class Note(Entity):
    title: str
    n: int
    {field}

    class search:
        text = ["title"]
        facets = [{facets}]

    class policy:
        read = insert = update = delete = True
"""
BEFORE = APP.format(field="old: str | None", facets='"n"')
AFTER = APP.format(field="mark: str = 'none'", facets='"n", "mark"')

MIGRATION = """-- UP
UPDATE Note SET title = 'moved ' || title WHERE n % 2 = 0;
DELETE FROM Note WHERE n % 10 = 3;
CREATE TABLE Moved AS SELECT id, old FROM Note;
"""

LEFT = "SELECT count(*), sum(title LIKE 'moved %') FROM Note"
OLD_ROWS = [(ROWS, 0)]
NEW_ROWS = [(ROWS - ROWS // 10, ROWS // 2)]


@pytest.fixture
def db(tmp_path: Path, pylon: RunPylon) -> Path:
    """A database of the app before, with its rows in the log and in the index."""
    (tmp_path / "app.py").write_text(BEFORE)
    path = tmp_path / "app.db"
    assert pylon("schema", "push", "--db", str(path)).returncode == 0
    run_sql(
        path,
        f"WITH RECURSIVE k(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n < {ROWS - 1})"
        " INSERT INTO Note (id, title, n, old)"
        " SELECT printf('%040x', n), 'word' || n || ' note', n, 'o' FROM k",
    )
    run_sql(
        path,
        "INSERT INTO _pylon_changes (seq, entity, row_id, kind, born, at)"
        " SELECT n + 1, 'Note', id, 'insert', n + 1, 5 FROM Note",
    )
    run_sql(path, f"UPDATE _pylon_meta SET value = {ROWS} WHERE key = 'seq'")
    (tmp_path / "app.py").write_text(AFTER)
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001_move.sql").write_text(MIGRATION)
    return path


def applying(folder: Path) -> subprocess.Popen[bytes]:
    """`pylon migrate apply` on its way."""
    command = ("migrate", "apply", "--yes", "--allow-destructive", "--db", str(folder / "app.db"))
    return subprocess.Popen(
        [sys.executable, "-m", "pylon", *command],
        cwd=folder,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def state_of(path: Path) -> bool:
    """Whether the migration has run; rows, columns, log and index must all say the same."""
    assert run_sql(path, "PRAGMA integrity_check") == [("ok",)]
    has_run = run_sql(path, LEFT) == NEW_ROWS
    if not has_run:
        assert run_sql(path, LEFT) == OLD_ROWS
    columns = {name for (name,) in run_sql(path, "SELECT name FROM pragma_table_info('Note')")}
    assert columns == {"id", "title", "n", "mark" if has_run else "old"}
    logged = "SELECT count(*) FROM _pylon_changes WHERE entity = 'Note' AND kind <> 'delete'"
    for counted in (logged, 'SELECT count(*) FROM "_pylon_search.Note.ids"'):
        assert run_sql(path, counted) == [run_sql(path, LEFT)[0][:1]]
    found = "SELECT count(*) FROM \"_pylon_search.Note.text\"('moved')"
    assert run_sql(path, found) == [run_sql(path, LEFT)[0][1:]]
    return has_run


@pytest.mark.timeout(1_800)
def test_a_killed_migration_has_run_or_has_not(tmp_path: Path, db: Path, pylon: RunPylon) -> None:
    assert not state_of(db)
    whole = tmp_path / "whole"
    shutil.copytree(tmp_path, whole)
    began = monotonic()
    assert applying(whole).wait() == 0
    takes = monotonic() - began
    assert state_of(whole / "app.db")
    random = Random(ROWS)
    for number in range(KILLS):
        folder = tmp_path / f"killed{number}"
        shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("*.db*", "killed*"))
        shutil.copy(db, folder / "app.db")
        child = applying(folder)
        sleep(takes * random.uniform(0.15, 1.0))
        child.kill()
        child.wait()
        _goes_on(folder, pylon)
    _serves(folder)


def _goes_on(folder: Path, pylon: RunPylon) -> None:
    """The next command finds one of the two states, and the migration can be made."""
    path = folder / "app.db"
    told = pylon("migrate", "status", str(folder / "app.py"), "--db", str(path), "--json")
    assert codec.decode(told.stdout)["applied"] == state_of(path)
    (folder / ".app.db.20260101T000000Z.backup.part").touch()
    was_applied = state_of(path)
    assert applying(folder).wait() == 0
    assert state_of(path)
    assert was_applied or not list(folder.glob(".*.part"))


def _serves(folder: Path) -> None:
    server = Server(folder / "app.py", folder / "app.db")
    server.start()
    with server.client(ADMIN_TOKEN) as client:
        found = client.post("/api/search/Note", json={"query": "moved"}).json()
    server.stop()
    assert found["total"] == ROWS // 2
