"""`pylon schema` as a process: outputs, exit codes and what happens to the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pylon import codec
from pylon.cli.schema_difference import differences
from pylon.schema.model import (
    EntitySpec,
    FieldSpec,
    Manifest,
    PolicySpec,
    RelationSpec,
    SearchSpec,
)
from tests.cli.conftest import RunPylon
from tests.cli.evolving import run_sql, write_app


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / ".pylon" / "dev.db"


def json_of(result: Any) -> Any:
    return codec.decode(result.stdout)


def test_check(pylon: RunPylon, tmp_path: Path) -> None:
    write_app(tmp_path, "title: str")
    checked = pylon("schema", "check", "--json")
    assert (checked.returncode, json_of(checked)[0]["code"]) == (0, "SCHEMA_OK")
    write_app(tmp_path, "title: complex")
    assert pylon("schema", "check").returncode == 1


def test_diff(pylon: RunPylon, tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    write_app(tmp_path / "old", "title: str", "stars: int")
    write_app(tmp_path / "new", "title: str | None = None", "size: int")
    told = json_of(pylon("schema", "diff", "old", "new", "--json"))
    assert told["changes"] == [
        {"kind": "field_added", "entity": "Note", "name": "size"},
        {"kind": "field_removed", "entity": "Note", "name": "stars"},
        {
            "kind": "field_changed",
            "entity": "Note",
            "name": "title",
            "parts": {"optional": {"from": False, "to": True}},
        },
    ]
    assert told["summary"] == {"total": 3, "added": 1, "removed": 1}
    text = pylon("schema", "diff", "old", "new").stdout
    assert "field_changed Note.title (optional: false -> true)" in text
    missing = pylon("schema", "diff", "old", "--json")
    assert (missing.returncode, json_of(missing)[0]["code"]) == (64, "DIFF_MISSING_ARGS")


def test_push_says_does_and_records(pylon: RunPylon, tmp_path: Path, db: Path) -> None:
    write_app(tmp_path, "title: str")
    dry = json_of(pylon("schema", "push", "--dry-run", "--json"))
    assert (dry["code"], dry["applied"], dry["baseline"]) == ("PUSH_DRY_RUN", False, "empty")
    assert not db.exists()
    pushed = json_of(pylon("schema", "push", "--json"))
    assert (pushed["code"], pushed["applied"]) == ("PUSH_APPLIED", True)
    assert [each["op"] for each in pushed["plan"]["operations"]] == ["create_entity"]
    again = json_of(pylon("schema", "push", "--json"))
    assert again["plan"]["operations"] == [{"op": "noop"}]
    (entry,) = json_of(pylon("schema", "history", "--json"))
    assert (entry["operation_count"], entry["baseline"]) == (1, "live_sqlite")
    one = json_of(pylon("schema", "history", "--id", entry["id"], "--json"))
    assert one["plan"]["operations"][0]["name"] == "Note"
    assert "create_entity Note" in pylon("schema", "history", "--id", entry["id"]).stdout
    tables = json_of(pylon("schema", "inspect", "--json"))["tables"]
    assert [table["name"] for table in tables] == ["Note"]
    assert tables[0]["columns"][0] == {
        "name": "id",
        "column_type": "TEXT",
        "notnull": True,
        "primary_key": True,
    }


def test_push_refuses_to_lose_values_unasked(pylon: RunPylon, tmp_path: Path, db: Path) -> None:
    write_app(tmp_path, "title: str", "stars: int")
    pylon("schema", "push")
    run_sql(db, "INSERT INTO Note VALUES ('1', 'a', 5)")
    write_app(tmp_path, "title: str")
    blocked = pylon("schema", "push", "--json")
    told = json_of(blocked)
    assert (blocked.returncode, told["code"], told["applied"]) == (1, "PUSH_BLOCKED", False)
    assert told["analysis"]["destructive"]
    assert told["analysis"]["warnings"][0]["code"] == "DESTRUCTIVE_REMOVE_FIELD"
    text = pylon("schema", "push")
    assert "--allow-destructive" in text.stderr
    assert "1 value is lost" in text.stdout
    done = json_of(pylon("schema", "push", "--allow-destructive", "--json"))
    assert done["applied"]
    assert run_sql(Path(done["backup"]), "SELECT stars FROM Note") == [(5,)]
    assert run_sql(db, "SELECT * FROM Note") == [("1", "a")]


def test_push_renames_when_it_is_told(pylon: RunPylon, tmp_path: Path, db: Path) -> None:
    write_app(tmp_path, "title: str")
    pylon("schema", "push")
    run_sql(db, "INSERT INTO Note VALUES ('1', 'a')")
    write_app(tmp_path, "heading: str", entity="Page")
    refused = pylon("schema", "push")
    assert refused.returncode == 1
    done = pylon("schema", "push", "--rename-entity", "Note:Page", "--rename", "Note.title:heading")
    assert done.returncode == 0, done.stderr
    assert run_sql(db, "SELECT id, heading FROM Page") == [("1", "a")]
    wrong = pylon("schema", "push", "--rename", "Page.nothing:heading", "--json")
    assert (wrong.returncode, json_of(wrong)[0]["code"]) == (64, "RENAME_INVALID")
    assert pylon("schema", "push", "--rename", "nonsense").returncode == 64


def test_the_command_that_is_offered_keeps_the_renames_that_were_said(
    pylon: RunPylon, tmp_path: Path, db: Path
) -> None:
    write_app(tmp_path, "title: str", "stars: int = 0", "text: str | None = None")
    pylon("schema", "push")
    run_sql(db, "INSERT INTO Note VALUES ('1', 'a', 5, 'b')")
    write_app(tmp_path, "heading: str | None = None", "body: str | None = None")
    renames = ("--rename", "Note.title:heading", "--rename", "Note.text:body")
    blocked = pylon("schema", "push", *renames)
    assert f"{' '.join(renames)} --allow-destructive" in blocked.stderr
    kept = pylon("schema", "push", *renames, "--keep-removed", "--dry-run")
    assert "remove" not in kept.stdout
    assert "keep the values of Note.stars" in kept.stdout
    assert kept.returncode == 0


def test_push_from_another_app(pylon: RunPylon, tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    write_app(tmp_path / "old", "title: str")
    write_app(tmp_path / "new", "title: str", "stars: int")
    told = json_of(pylon("schema", "push", "new", "--from", "old", "--json"))
    assert (told["code"], told["baseline"]) == ("PUSH_DRY_RUN", "manifest")
    assert [each["op"] for each in told["plan"]["operations"]] == ["add_field"]
    both = pylon("schema", "push", "new", "--from", "old", "--db", "x.db", "--json")
    assert (both.returncode, json_of(both)[0]["code"]) == (64, "PUSH_AMBIGUOUS_MODE")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("inspect",), "INSPECT_NO_TARGET"),
        (("history",), "HISTORY_NO_TARGET"),
        (("history", "--limit", "0"), "HISTORY_INVALID_LIMIT"),
        (("history", "--limit", "x"), "HISTORY_INVALID_LIMIT"),
    ],
)
def test_usage_errors(pylon: RunPylon, arguments: tuple[str, ...], code: str) -> None:
    result = pylon("schema", *arguments, "--json")
    assert (result.returncode, json_of(result)[0]["code"]) == (64, code)


def test_an_unknown_entry(pylon: RunPylon, tmp_path: Path) -> None:
    write_app(tmp_path, "title: str")
    pylon("schema", "push")
    result = pylon("schema", "history", "--id", "1.2", "--json")
    assert (result.returncode, json_of(result)[0]["code"]) == (1, "HISTORY_ENTRY_NOT_FOUND")


def test_every_part_that_changes_is_told() -> None:
    def manifest(kind: str, **more: Any) -> Manifest:
        entity = EntitySpec(
            name="Note",
            fields=(FieldSpec(name="a", type=kind, unique=kind == "int"),),
            relations=(RelationSpec(name="r", target="Note", field="a", many=kind == "int"),),
            search=SearchSpec(text=("a",)) if kind == "string" else None,
            crdt=kind == "string",
        )
        rule = PolicySpec(name="p", entity="Note", allow=str(kind == "int").lower())
        return Manifest(name="n", version="1", entities=(entity,), policies=(rule,), **more)

    found = [each.to_text() for each in differences(manifest("string"), manifest("int"))]
    assert found == [
        'field_changed Note.a (type: "string" -> "int"; unique: false -> true)',
        "relation_changed Note.r (many: false -> true)",
        'search_changed Note.search (text: ["a"] -> [])',
        "entity_changed Note (crdt: true -> false)",
        'policy_changed p (allow: "false" -> "true")',
    ]
