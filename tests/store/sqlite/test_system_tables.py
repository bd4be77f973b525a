"""System tables are brought to the versions that the program knows, or the database is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest

from pylon.errors import ConfigError, PylonError
from pylon.schema.model import EntitySpec, FieldSpec, Manifest
from pylon.store.base import Tx
from pylon.store.evolution.wish import Wish
from pylon.store.opening import open_database
from pylon.store.sqlite.store import open_store
from pylon.store.sqlite.system_tables import WORDS, fit_system_tables, recorded_versions
from pylon.store.system import SystemTables, with_store
from pylon.wiring import PARTS, table_steps
from tests.cli.conftest import RunPylon
from tests.cli.conftest import pylon as pylon  # the fixture
from tests.cli.evolving import run_sql, write_app
from tests.server import Server, bearer
from tests.store.sqlite import landed

TABLES = table_steps(PARTS)
ONE: SystemTables = {"a": (("CREATE TABLE _pylon_a (x {bigint} PRIMARY KEY NOT NULL)",),)}
TWO: SystemTables = {
    "a": (
        *ONE["a"],
        ("ALTER TABLE _pylon_a ADD COLUMN y TEXT", "INSERT INTO _pylon_a VALUES (1, '')"),
    )
}
WISH = Wish()
MANIFEST = Manifest(name="app", version="1", entities=())


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    made = apsw.Connection(":memory:")
    yield made
    made.close()


def dump(connection: apsw.Connection) -> dict[str, Any]:
    """Every statement of the schema, without its white space."""
    found: list[tuple[Any, ...]] = connection.execute(
        "SELECT name, coalesce(sql, '') FROM sqlite_schema WHERE name <> 'Note'"
        " AND tbl_name <> 'Note'"
    ).fetchall()
    return {name: re.sub(r"\s+", "", sql) for name, sql in found}


def fresh(tables: SystemTables) -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    fit_system_tables(connection, tables, "fresh")
    return connection


def rows(path: Path) -> dict[str, list[Any]]:
    return {table: run_sql(path, f"SELECT * FROM {table} ORDER BY 1") for table in landed.ROWS}


# --- steps -----------------------------------------------------------------------------------


def test_a_fresh_database_is_the_sum_of_the_steps(connection: apsw.Connection) -> None:
    for steps in with_store(TABLES).values():
        for step in steps:
            for statement in step:
                connection.execute(WORDS.spell(statement))
    assert dump(fresh(TABLES)) == dump(connection)
    versions = recorded_versions(fresh(TABLES))
    assert versions == {part: len(steps) for part, steps in with_store(TABLES).items()}


def test_a_database_comes_from_every_version_to_the_same(connection: apsw.Connection) -> None:
    fit_system_tables(connection, ONE, "one")
    assert recorded_versions(connection)["a"] == 1
    fit_system_tables(connection, TWO, "one")
    assert dump(connection) == dump(fresh(TWO))
    assert connection.execute("SELECT * FROM _pylon_a").fetchall() == [(1, "")]
    fit_system_tables(connection, TWO, "one")
    assert connection.execute("SELECT count(*) FROM _pylon_a").fetchall() == [(1,)]


def test_steps_are_taken_all_or_none(connection: apsw.Connection) -> None:
    fit_system_tables(connection, ONE, "one")
    wrong = {"a": (*TWO["a"], ("CREATE TABLE _pylon_b (y TEXT)", "SELECT nothing"))}
    with pytest.raises(apsw.SQLError, match="nothing"):
        fit_system_tables(connection, wrong, "one")
    assert dump(connection) == dump(fresh(ONE))
    assert recorded_versions(connection)["a"] == 1


def test_parts_that_are_not_listed_are_left_alone(connection: apsw.Connection) -> None:
    fit_system_tables(connection, TWO, "one")
    fit_system_tables(connection, {}, "one")
    assert recorded_versions(connection) == {"store": 1, "a": 2}


# --- databases from before there were versions ------------------------------------------------


def test_a_landed_database_becomes_as_a_fresh_one(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    landed.make(path)
    before = rows(path)
    connection = apsw.Connection(str(path))
    fit_system_tables(connection, TABLES, "app.db")
    assert dump(connection) == dump(fresh(TABLES))
    assert recorded_versions(connection) == recorded_versions(fresh(TABLES))
    connection.close()
    after = rows(path)
    after["_pylon_meta"] = [
        # Steps beyond the first tell servers that go on with the tables as they were.
        (key, value.removesuffix("+") if key == "schema_fingerprint" else value)
        for key, value in after["_pylon_meta"]
        if "system:" not in key
    ]
    assert after == before


def test_a_start_brings_a_landed_database_up_with_its_rows(tmp_path: Path) -> None:
    server = Server(write_app(tmp_path, "title: str"), tmp_path / "app.db")
    landed.make(server.db)
    before = rows(server.db)
    server.start()
    try:
        url, ann = f"{server.url}/api", bearer(landed.TOKEN)
        sessions = httpx.get(f"{url}/auth/sessions", headers=ann)
        assert sessions.status_code == 200, sessions.text
        cursor = {"since": 2}
        (gone,) = httpx.get(f"{url}/sync/pull", params=cursor).json()["changes"]
        assert (gone["kind"], gone["row_id"]) == ("delete", "gone")
        made = httpx.post(f"{url}/entities/Note", json={"title": "new"})
        assert made.status_code == 201, made.text
        found = httpx.get(f"{url}/entities/Note").json()["data"]
        assert sorted(row["title"] for row in found) == ["kept", "new"]
    finally:
        server.stop()
    after = rows(server.db)
    for table in set(landed.ROWS) - {"_pylon_meta", "_pylon_sessions"}:
        assert set(before[table]) <= set(after[table]), table


@pytest.mark.parametrize(
    "lacking",
    ["_pylon_sessions.device", "_pylon_changes.born", "_pylon_schema_history.baseline"],
)
def test_a_half_made_database_is_refused_and_left_as_it_was(
    tmp_path: Path, pylon: RunPylon, lacking: str
) -> None:
    server = Server(write_app(tmp_path, "title: str"), tmp_path / "app.db")
    landed.make(server.db, without=lacking)
    before = run_sql(server.db, "SELECT * FROM sqlite_schema")
    refused = server.fail_to_start()
    assert refused.returncode == 1
    assert f"lacks {lacking}, which belongs to" in refused.stderr
    assert "Traceback" not in refused.stderr
    pushed = pylon("schema", "push", "--db", str(server.db), "--json")
    assert (pushed.returncode, "DATABASE_INCOMPLETE" in pushed.stdout) == (1, True)
    assert run_sql(server.db, "SELECT * FROM sqlite_schema") == before


def test_a_table_that_was_lost_is_named(connection: apsw.Connection) -> None:
    fit_system_tables(connection, TWO, "app.db")
    connection.execute("ALTER TABLE _pylon_a DROP COLUMN y")
    with pytest.raises(ConfigError, match=r"app.db lacks _pylon_a\.y, which belongs to a") as error:
        fit_system_tables(connection, TWO, "app.db")
    assert error.value.code == "DATABASE_INCOMPLETE"
    connection.execute("DROP TABLE _pylon_a")
    with pytest.raises(ConfigError, match=r"lacks _pylon_a, which"):
        fit_system_tables(connection, TWO, "app.db")


def test_an_index_that_somebody_dropped_is_made_again(connection: apsw.Connection) -> None:
    fit_system_tables(connection, TABLES, "app.db")
    connection.execute("DROP INDEX _pylon_sessions_exp_idx")
    fit_system_tables(connection, TABLES, "app.db")
    assert dump(connection) == dump(fresh(TABLES))


# --- newer databases, older servers -----------------------------------------------------------


def test_a_newer_database_is_refused(tmp_path: Path, pylon: RunPylon) -> None:
    server = Server(write_app(tmp_path, "title: str"), tmp_path / "app.db")
    newer = {**TABLES, "auth": (*TABLES["auth"], ("CREATE TABLE _pylon_keys (id TEXT)",))}
    open_database(server.db, tables=newer).evolve(MANIFEST, WISH)
    refused = server.fail_to_start()
    assert refused.returncode == 1
    version = f"its tables of auth have version {len(newer['auth'])}"
    assert f"was used by a newer Pylon: {version}" in refused.stderr
    for command in (("push",), ("inspect",), ("history",)):
        done = pylon("schema", *command, "--db", str(server.db), "--json")
        assert (done.returncode, "DATABASE_NEWER" in done.stdout) == (1, True), done.stdout
    bundle = tmp_path / "copy.db"
    open_database(server.db, tables=newer).backup(bundle)
    restored = pylon("restore", str(bundle), "--db", "other.db", "--yes", "--json")
    assert (restored.returncode, "DATABASE_NEWER" in restored.stdout) == (1, True)


async def test_a_server_stops_writing_when_its_system_tables_move_on(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    note = EntitySpec(name="Note", fields=(FieldSpec(name="title", type="string"),))
    manifest = Manifest(name="app", version="1", entities=(note,))
    store = open_database(path, tables=ONE).serve(manifest, baseline="a", confirm_renames=False)

    async def unit(tx: Tx) -> int:
        return await tx.execute("INSERT INTO Note VALUES ('1', 'a')")

    try:
        open_database(path, tables=ONE).inspect()
        open_database(path, tables=ONE).preview(manifest, WISH)
        await store.write(unit)
        open_database(path, tables=TWO).preview(manifest, WISH)
        with pytest.raises(PylonError, match="migrated under this server"):
            await store.write(unit)
        assert not store.schema_is_current
    finally:
        await store.close()
    again = open_store(path, tables=TWO)
    await again.close()
