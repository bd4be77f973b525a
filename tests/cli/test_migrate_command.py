"""`pylon migrate` as a process: files, the ledger, and one engine with `schema push`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pylon import codec
from tests.cli.conftest import RunPylon
from tests.cli.evolving import run_sql, write_app


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / ".pylon" / "dev.db"


def json_of(result: Any) -> Any:
    return codec.decode(result.stdout)


def up(tmp_path: Path, name: str, sql: str) -> Path:
    file = tmp_path / "migrations" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"-- UP\n{sql}\n-- DOWN\nSELECT this is never run\n")
    return file


def test_create_numbers_above_the_highest(pylon: RunPylon, tmp_path: Path) -> None:
    first = json_of(pylon("migrate", "create", "first", "--json"))
    assert (first["created"], first["number"]) == ("0001_first.sql", 1)
    up(tmp_path, "0007_seven.sql", "SELECT 1")
    (tmp_path / "migrations" / "0001_first.sql").unlink()
    assert json_of(pylon("migrate", "create", "next", "--json"))["number"] == 8
    assert pylon("migrate", "create", "no-good").returncode == 64


def test_sql_runs_once_in_order_before_the_steps(pylon: RunPylon, tmp_path: Path, db: Path) -> None:
    write_app(tmp_path, "title: str", "stars: int | None = None")
    pylon("schema", "push")
    run_sql(db, "INSERT INTO Note VALUES ('1', 'a', NULL)")
    up(tmp_path, "0001_one.sql", "UPDATE Note SET stars = 1;")
    up(tmp_path, "0002_two.sql", "UPDATE Note SET stars = stars + 10;")
    write_app(tmp_path, "title: str", "stars: int")
    planned = json_of(pylon("migrate", "plan", "--json"))
    assert planned["plan"]["migrations"] == ["0001_one", "0002_two"]
    assert [each["op"] for each in planned["steps"]] == ["require_field"]
    assert run_sql(db, "SELECT stars FROM Note") == [(None,)]
    applied = json_of(pylon("migrate", "apply", "--yes", "--json"))
    assert applied["applied"] == 3
    assert run_sql(db, "SELECT stars FROM Note") == [(11,)]
    assert run_sql(Path(applied["backup"]), "SELECT stars FROM Note") == [(None,)]
    again = json_of(pylon("migrate", "apply", "--yes", "--json"))
    assert again == {"applied": 0, "up_to_date": True}
    assert json_of(pylon("migrate", "status", "--json")) == {
        "total": 2,
        "applied": 2,
        "pending": 0,
    }
    states = json_of(pylon("migrate", "list", "--json"))["migrations"]
    assert [each["status"] for each in states] == ["applied", "applied"]
    assert len(json_of(pylon("schema", "history", "--json"))) == 2


@pytest.mark.parametrize(
    ("name", "sql", "code"),
    [
        ("0001_one.sql", "SELECT 2", "MIGRATION_CHANGED"),
        ("0002_two.sql", "COMMIT", "MIGRATION_NOT_ALLOWED"),
        ("0002_two.sql", "UPDATE nothing SET x = 1", "MIGRATION_FAILED"),
        ("0001_other.sql", "SELECT 1", "MIGRATION_NUMBER_CLASH"),
        ("0000_late.sql", "SELECT 1", "MIGRATION_OUT_OF_ORDER"),
        ("hello.sql", "SELECT 1", "MIGRATION_NAME_INVALID"),
    ],
)
def test_what_is_refused(pylon: RunPylon, tmp_path: Path, name: str, sql: str, code: str) -> None:
    write_app(tmp_path, "title: str")
    up(tmp_path, "0001_one.sql", "SELECT 1")
    assert pylon("migrate", "apply", "--yes").returncode == 0
    up(tmp_path, name, sql)
    result = pylon("migrate", "apply", "--yes", "--json")
    assert (result.returncode, json_of(result)[0]["code"]) == (1, code)


def test_apply_asks_and_refuses_to_lose_values(pylon: RunPylon, tmp_path: Path, db: Path) -> None:
    write_app(tmp_path, "title: str", "stars: int | None = None")
    pylon("migrate", "apply", "--yes")
    write_app(tmp_path, "title: str")
    refused = pylon("migrate", "apply", "--yes")
    assert refused.returncode == 1
    assert "migrate apply" in refused.stderr
    assert "--allow-destructive" in refused.stderr
    asked = pylon("migrate", "apply", "--allow-destructive")
    assert asked.returncode == 1
    assert "--yes" in asked.stderr, "nobody answered"
    assert "stars" in str(run_sql(db, "SELECT sql FROM sqlite_schema WHERE name = 'Note'"))
    assert pylon("migrate", "apply", "--allow-destructive", "-y").returncode == 0


def test_what_is_missing_on_the_command_line_is_named(pylon: RunPylon, tmp_path: Path) -> None:
    nameless = pylon("migrate", "create")
    assert (nameless.returncode, "which name?" in nameless.stderr) == (64, True)
    write_app(tmp_path, "title: str")
    for command in ("list", "plan", "apply"):
        elsewhere = pylon("migrate", command, "--dir", "elsewhere")
        assert (elsewhere.returncode, "no such folder" in elsewhere.stderr) == (64, True)


def test_the_history_of_a_migration_names_it(pylon: RunPylon, tmp_path: Path, db: Path) -> None:
    write_app(tmp_path, "title: str")
    pylon("schema", "push")
    up(tmp_path, "0001_one.sql", "SELECT 1")
    pylon("migrate", "apply", "--yes")
    entry = json_of(pylon("schema", "history", "--limit", "1", "--json"))[0]
    told = pylon("schema", "history", "--id", entry["id"]).stdout
    assert "1 step\n" in told
    assert "run migrations/0001_one.sql" in told


def test_an_app_elsewhere_has_its_own_migrations(pylon: RunPylon, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    (shop / "migrations").mkdir(parents=True)
    write_app(shop, "title: str")
    up(shop, "0001_one.sql", "SELECT 1")
    assert pylon("migrate", "status", "shop").stdout == "0 of 1 migrations have run.\n"
    assert pylon("migrate", "apply", "shop", "--yes").returncode == 0
    assert "applied" in pylon("migrate", "list", "shop/app.py").stdout
    assert pylon("schema", "inspect", "shop").stdout.startswith("Note\n")
    assert "migrate" in pylon("schema", "history", "shop").stdout
    for command in (("schema", "history"), ("migrate", "list")):
        assert "APP_NOT_FOUND" in pylon(*command, "nowhere").stderr


def test_what_ran_is_listed_when_its_file_changed_or_went(
    pylon: RunPylon, tmp_path: Path, db: Path
) -> None:
    write_app(tmp_path, "title: str")
    for name in ("0001_one.sql", "0002_two.sql"):
        up(tmp_path, name, "SELECT 1")
    pylon("migrate", "apply", "--yes")
    (tmp_path / "migrations" / "0001_one.sql").unlink()
    up(tmp_path, "0002_two.sql", "SELECT 2")
    up(tmp_path, "0003_three.sql", "SELECT 3")
    listed = json_of(pylon("migrate", "list", "--json"))["migrations"]
    assert [(each["filename"], each["status"]) for each in listed] == [
        ("0001_one.sql", "missing"),
        ("0002_two.sql", "changed"),
        ("0003_three.sql", "pending"),
    ]
    assert json_of(pylon("migrate", "status", "--json")) == {"total": 3, "applied": 2, "pending": 1}
