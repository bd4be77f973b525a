"""`pylon policy` as a process: what it says of expressions, apps and rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from pylon import codec
from tests.cli.conftest import RunPylon

APP = """
from pylon import App, Entity, auth, data, exists, field, row
app = App("docs")

@app.entity
class User(Entity):
    roles: str | None = field(default=None, readonly=True)

    class policy:
        read = data.id == auth.userId
        write = False

@app.entity
class Member(Entity):
    orgId: str
    userId: str

    class policy:
        allow = False

@app.entity
class Doc(Entity):
    orgId: str
    locked: bool = False

    class policy:
        read = exists("Member", row.orgId == data.orgId, row.userId == auth.userId)
        update = auth.has_role("editor") & ~data.locked
        delete = False
"""
EXPR = "auth.userId == data.ownerId && data.count > 3"


def json_of(result: Any) -> Any:
    return codec.decode(result.stdout)


@pytest.fixture
def docs(pylon: RunPylon, tmp_path: Path) -> Path:
    """The app, and a database with a document of the organisation `red`, which Ann belongs to."""
    (tmp_path / "app.py").write_text(APP)
    assert pylon("schema", "push").returncode == 0
    db = tmp_path / ".pylon" / "dev.db"
    connection = apsw.Connection(str(db))
    connection.execute("INSERT INTO User VALUES ('ann', 'editor, boss')")
    connection.execute("INSERT INTO Member VALUES ('m', 'red', 'ann')")
    connection.execute("INSERT INTO Doc VALUES ('d', 'red', 0)")
    connection.close()
    return db


def test_an_expression_is_tried_on_values(pylon: RunPylon) -> None:
    row = '{"ownerId": "ann", "count": 4}'
    said = pylon("policy", "test", EXPR, "--auth", "userId=ann", "--row", row)
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines() == [
        "allow",
        "  yes auth.userId == data.ownerId && data.count > 3",
        '  yes   auth.userId == data.ownerId    (auth.userId is "ann", data.ownerId is "ann")',
        "  yes   data.count > 3    (data.count is 4)",
    ]
    said = pylon("policy", "test", EXPR, "--row", row, "--json")
    told = json_of(said)
    assert (said.returncode, told["allow"]) == (1, False)
    assert [part["holds"] for part in told["parts"]["parts"]] == [False, True]


def test_stored_rows_inputs_and_rows_of_others(pylon: RunPylon) -> None:
    for expression, options in (
        ("existing.a != data.a", ["--row", '{"a": 1}', "--existing", '{"a": 2}']),
        ("input.a.b == 3", ["--input", '{"a": {"b": 3}}']),
        (
            "exists(M, orgId == data.orgId && userId == auth.userId)",
            [
                *("--auth", "userId=ann", "--row", '{"orgId": "red"}'),
                *("--rows", '{"M": [{"orgId": "red", "userId": "ann"}]}'),
            ],
        ),
        ('"x" in auth.roles && auth.isGuest', ["--auth", "roles=y, x", "--auth", "isGuest=true"]),
    ):
        said = pylon("policy", "test", expression, *options)
        assert (said.returncode, said.stdout[:5]) == (0, "allow"), said.stdout + said.stderr


def test_mistakes_are_named(pylon: RunPylon, docs: Path) -> None:
    for arguments, code, exit_code in (
        (["data.a =="], "POLICY_SYNTAX", 1),
        (["data.a == 'x'", "--row", '{"a": 1}'], "POLICY_TYPE_MISMATCH", 1),
        (["data.nope == 'x'", "--entity", "Doc"], "POLICY_UNKNOWN_NAME", 1),
        (["true", "--entity", "Dog"], "ENTITY_NOT_FOUND", 1),
        (["true", "--row", "[]"], "USAGE", 64),
        (["true", "--auth", "name=x"], "USAGE", 64),
    ):
        said = pylon("policy", "test", *arguments, "--json")
        assert (said.returncode, json_of(said)[0]["code"]) == (exit_code, code)
    assert docs.exists()


def test_a_row_that_the_entity_could_not_hold_is_refused(pylon: RunPylon, docs: Path) -> None:
    for row, told in (('{"titel": "x"}', "no field titel"), ('{"orgId": 1}', "must be a string")):
        result = pylon("policy", "test", "true", "--entity", "Doc", "--row", row)
        assert (result.returncode, told in result.stderr) == (64, True), result.stderr


def test_what_the_command_line_lacks_is_said(pylon: RunPylon) -> None:
    assert "--row" in pylon("policy", "test", "data.x == 1").stderr
    assert "--rows" in pylon("policy", "test", "exists(Ban, userId == auth.userId)").stderr
    admin = pylon("policy", "test", "false", "--auth", "isAdmin=true")
    assert "administrators are not asked" in admin.stdout


def test_what_decided_on_a_row(pylon: RunPylon, docs: Path) -> None:
    told = json_of(pylon("policy", "explain", "Doc", "--as", "ann", "--row", "d", "--json"))
    assert {each["operation"]: each["allow"] for each in told} == {
        "read": True,
        "insert": False,
        "update": True,
        "delete": False,
    }
    assert told[1]["why"] == "no policy speaks about it: open in dev, closed in production"
    assert told[3]["why"] == "policy Doc says no"
    assert told[0]["policies"][0]["name"] == "Doc (allowRead)"
    said = pylon("policy", "explain", "Doc", "--as", "bob", "--row", "d")
    assert said.stdout.startswith("read    deny   policy Doc says no")
    assert "POLICY_NO_INDEX" in said.stdout
    told = json_of(pylon("policy", "explain", "Doc", "--row", "nope", "--json"))
    assert told[0]["code"] == "NOT_FOUND"
    told = json_of(pylon("policy", "explain", "Doc", "--row", "d", "--db", "no.db", "--json"))
    assert told[0]["code"] == "DB_NOT_FOUND"
    assert docs.exists()


def test_an_app_is_checked(pylon: RunPylon, docs: Path) -> None:
    told = json_of(pylon("policy", "check", "--json"))
    assert [each["code"] for each in told] == ["POLICY_NO_INDEX", "POLICY_UNDECLARED"]
    assert told[0]["hint"] == (
        'Add to `class indexes` of Member: `by_userid_orgid = index("userId", "orgId")`.'
    )
    assert docs.exists()
