"""A SQLite file as a `Database`: what it tells, what it leaves alone, how it is replaced."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from pylon.changes.log import LOG_TABLES
from pylon.clock import SystemClock
from pylon.errors import ConfigError
from pylon.schema.model import EntitySpec, FieldSpec, Manifest
from pylon.store.database import BackupError, Database, DatabaseFailed
from pylon.store.evolution.model import EvolutionError
from pylon.store.evolution.wish import Wish
from pylon.store.opening import open_database, scratch
from tests.cli.evolving import run_sql

NOTE = EntitySpec(name="Note", fields=(FieldSpec(name="title", type="string"),))
WIDER = EntitySpec(name="Note", fields=(*NOTE.fields, FieldSpec(name="stars", type="int")))
APP = Manifest(name="app", version="1", entities=(NOTE,))
WIDER_APP = Manifest(name="app", version="1", entities=(WIDER,))
SEQ = "SELECT value FROM _pylon_meta WHERE key = 'seq'"


def at(path: Path | None) -> Database:
    return open_database(path, tables={"changes": LOG_TABLES}, now=SystemClock.now)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of `APP` with one row."""
    made = tmp_path / "app.db"
    at(made).evolve(APP, Wish())
    run_sql(made, "INSERT INTO Note VALUES ('1', 'a')")
    return made


def test_what_only_looks_makes_nothing(path: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "app.db"
    assert not at(nowhere).exists()
    assert not at(nowhere).is_in_use()
    assert at(nowhere).ran_migrations() == {}
    for look in (at(nowhere).inspect, at(nowhere).history):
        with pytest.raises(ConfigError, match="nowhere"):
            look()
    assert not nowhere.parent.exists()
    theirs = tmp_path / "theirs.db"
    run_sql(theirs, "CREATE TABLE t (x)")
    assert at(theirs).history() == []
    assert list(at(theirs).inspect().tables) == ["t"]
    assert run_sql(theirs, "SELECT name FROM sqlite_schema") == [("t",)]


def test_a_preview_is_what_evolve_does(path: Path) -> None:
    planned = at(path).preview(WIDER_APP, Wish())
    assert [each.refused for each in planned.steps] == ["1 row would lack a value"]
    with pytest.raises(EvolutionError, match="do not allow"):
        at(path).evolve(WIDER_APP, Wish())
    run_sql(path, "DELETE FROM Note")
    assert at(path).evolve(WIDER_APP, Wish(baseline="me")).history_id is not None
    newest, first = at(path).history()
    assert (newest.baseline, first.baseline) == ("me", "push")
    assert at(path).history(entry_id=first.id) == [first]
    assert at(path).evolve(WIDER_APP, Wish()).history_id is None


def test_a_plan_between_apps_needs_no_database(tmp_path: Path) -> None:
    nowhere = at(tmp_path / "app.db")
    ops = [type(each.step).__name__ for each in nowhere.plan_from(APP, WIDER_APP, Wish()).steps]
    assert ops == ["AddField"]
    ops = [type(each.step).__name__ for each in nowhere.plan_from(None, APP, Wish()).steps]
    assert ops == ["CreateEntity"]
    assert not nowhere.exists()


async def test_it_is_in_use_while_it_is_served(path: Path) -> None:
    assert not at(path).is_in_use()
    store = at(path).serve(APP, baseline="start", confirm_renames=True)
    assert at(path).is_in_use()
    assert await store.read("SELECT title FROM Note") == [("a",)]
    with pytest.raises(BackupError, match="in use"), at(path).restore(path):
        pass
    await store.close()
    assert not at(path).is_in_use()


async def test_a_volatile_one_can_be_served(tmp_path: Path) -> None:
    database = at(None)
    assert (database.name, database.exists(), database.is_in_use()) == ("in memory", False, False)
    store = database.serve(APP, baseline="start", confirm_renames=False)
    assert await store.read("SELECT count(*) FROM Note") == [(0,)]
    await store.close()


def test_readers_cannot_write(path: Path) -> None:
    with at(path).reading() as reader:
        assert reader.fetch("SELECT id FROM Note WHERE title = ?", ("a",)) == [("1",)]
        with pytest.raises(DatabaseFailed, match="readonly"):
            reader.fetch("DELETE FROM Note")
        with pytest.raises(DatabaseFailed, match="no such table"):
            reader.fetch("SELECT * FROM Nobody")
    with pytest.raises(DatabaseFailed), at(path.with_name("no.db")).reading():
        pass


def test_scratch_rows(tmp_path: Path) -> None:
    reader = scratch([NOTE], {"Note": [{"id": "1", "title": "a"}, {"id": "2"}]})
    assert reader.fetch("SELECT id, title FROM Note ORDER BY id") == [("1", "a"), ("2", None)]
    with pytest.raises(DatabaseFailed):
        scratch([NOTE], {"Note": [{"id": "1", "stars": 1}]})


def test_a_restore_raises_the_log_and_keeps_what_was(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    run_sql(path, "UPDATE _pylon_meta SET value = 'known' WHERE key = 'read_rules'")
    at(path).backup(copy)
    assert at(copy).integrity() == []
    run_sql(path, "UPDATE Note SET title = 'b'")
    with at(path).restore(copy) as replacement:
        kept = replacement.exchange("now")
    assert kept == tmp_path / "app.db.now.before-restore"
    assert run_sql(kept, "SELECT title FROM Note") == [("b",)]
    assert run_sql(path, "SELECT title FROM Note") == [("a",)]
    assert run_sql(path, SEQ) == [(1_000_000,)]
    rules = run_sql(path, "SELECT value FROM _pylon_meta WHERE key = 'read_rules'")
    assert rules == [("changed by the schema change of a restore",)], "every cursor starts anew"
    with at(path).restore(copy) as replacement:
        assert replacement.exchange("now") == tmp_path / "app.db.now-2.before-restore"
    assert run_sql(path, SEQ) == [(1_000_001,)]


def test_a_restore_that_is_given_up_changes_nothing(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    at(path).backup(copy)
    run_sql(path, "UPDATE Note SET title = 'b'")
    before = sorted(tmp_path.iterdir())

    def give_up() -> None:
        with at(path).restore(copy):
            raise RuntimeError("the files could not be copied")

    with pytest.raises(RuntimeError):
        give_up()
    assert run_sql(path, "SELECT title FROM Note") == [("b",)]
    assert set(tmp_path.iterdir()) - set(before) == {tmp_path / "app.db-lock"}


def test_damage_is_told(path: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"SQLite format 3\x00" + bytes(5000))
    assert at(damaged).integrity()
    with pytest.raises(BackupError, match="damaged"), at(path).restore(damaged):
        pass
    with pytest.raises(ConfigError, match="is not a database or is damaged"):
        at(damaged).evolve(APP, Wish())


def test_a_backup_is_not_written_over(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        at(path).backup(path)
    with pytest.raises(DatabaseFailed):
        at(tmp_path / "no.db").backup(tmp_path / "copy.db")
    assert apsw.Connection(str(path)).execute("SELECT id FROM Note").fetchall() == [("1",)]
