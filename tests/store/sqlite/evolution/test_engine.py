"""What the engine does for each kind of change, and what follows in the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from pylon.schema.model import EntitySpec, IndexSpec, Manifest, NowDefault, SearchSpec
from pylon.store.evolution.model import EvolutionError, Hints, Progress, SqlMigration, step_wire
from pylon.store.evolution.wish import Wish
from pylon.store.evolution.words import planned_text
from pylon.store.sqlite.evolution.engine import evolve, preview
from pylon.store.sqlite.evolution.history import read_fingerprint, read_history
from pylon.store.sqlite.evolution.introspect import introspect
from pylon.store.sqlite.search_indexes import SqliteSearchIndexes
from tests.store.sqlite.evolution.database import (
    NOW,
    app,
    entity,
    field,
    fit,
    fresh_shape,
    insert,
    open_empty,
    rows_of,
    shape,
    start_with,
)

ONE = app(entity("Todo", field("name"), field("n", "int", optional=True)))
TWO_ROWS: list[dict[str, Any]] = [
    {"id": "1", "name": "a", "n": 1},
    {"id": "2", "name": "b", "n": None},
]
DESTROY: dict[str, Any] = {"allow": "destructive"}


def todo(*fields: Any, **rest: Any) -> Any:
    return app(entity("Todo", *fields, **rest))


def ops(outcome: Any) -> list[str]:
    return [step_wire(each.step)["op"] for each in outcome.plan.steps]


def refusal(connection: apsw.Connection, manifest: Any, **wish: Any) -> EvolutionError:
    before = [(name, rows_of(connection, name)) for name in introspect(connection).tables]
    with pytest.raises(EvolutionError) as caught:
        fit(connection, manifest, **wish)
    after = [(name, rows_of(connection, name)) for name in introspect(connection).tables]
    assert after == before, "a refused change changes nothing"
    return caught.value


def reasons(error: EvolutionError) -> str:
    assert error.plan is not None
    return "; ".join(planned_text(each) for each in error.plan.steps)


# --- fields ----------------------------------------------------------------------------------


def test_a_rename_keeps_the_values() -> None:
    db = start_with(ONE, Todo=TWO_ROWS)
    new = todo(field("title"), field("n", "int", optional=True))
    blocked = refusal(db, new)
    assert blocked.code == "SCHEMA_REFUSED"
    assert blocked.plan is not None
    assert [each.option for each in blocked.plan.suggestions] == ["--rename Todo.name:title"]
    renamed = fit(db, new, allow="careful", hints=Hints(fields=(("Todo", "name", "title"),)))
    assert ops(renamed) == ["rename_field"]
    assert [row["title"] for row in rows_of(db, "Todo")] == ["a", "b"]


def test_a_rename_that_is_told_of_late_merges_the_two_columns() -> None:
    old = todo(field("name", optional=True))
    new = todo(field("title", optional=True))
    db = start_with(old, Todo=[{"id": "1", "name": "a"}, {"id": "2", "name": "b"}])
    fit(db, new, keep_removed=True)
    insert(db, "Todo", {"id": "3", "title": "c"})
    fit(db, new, allow="careful", hints=Hints(fields=(("Todo", "name", "title"),)))
    assert [row["title"] for row in rows_of(db, "Todo")] == ["a", "b", "c"]
    assert shape(introspect(db)) == fresh_shape(new)


def test_a_late_rename_never_chooses_between_two_values() -> None:
    old, new = todo(field("name", optional=True)), todo(field("title", optional=True))
    db = start_with(old, Todo=[{"id": "1", "name": "a"}])
    fit(db, new, keep_removed=True)
    db.execute("UPDATE Todo SET title = 'other'")
    error = refusal(db, new, allow="careful", hints=Hints(fields=(("Todo", "name", "title"),)))
    assert "another value" in reasons(error)


def test_a_new_required_field_needs_something_to_fill_it_with() -> None:
    db = start_with(ONE, Todo=TWO_ROWS)
    fields = ONE.entities[0].fields
    error = refusal(db, todo(*fields, field("size", "int")))
    assert "2 rows would lack a value" in reasons(error)
    fit(
        db,
        todo(
            *fields, field("size", "int", default=7), field("at", "datetime", default=NowDefault())
        ),
    )
    assert [(row["size"], row["at"]) for row in rows_of(db, "Todo")] == [
        (7, "2026-01-01T00:00:00Z")
    ] * 2


def test_required_counts_the_rows_that_lack_a_value() -> None:
    db = start_with(ONE, Todo=TWO_ROWS)
    error = refusal(db, todo(field("name"), field("n", "int")), allow="careful")
    assert "1 of 2 rows lack a value" in reasons(error)
    fit(db, todo(field("name"), field("n", "int", default=5)), allow="careful")
    assert [row["n"] for row in rows_of(db, "Todo")] == [1, 5]


def test_unique_names_the_duplicates() -> None:
    rows = [{"id": str(i), "name": "same" if i < 3 else str(i), "n": i} for i in range(5)]
    db = start_with(ONE, Todo=rows)
    new = todo(field("name", unique=True), field("n", "int", optional=True))
    error = refusal(db, new)
    assert "1 value is shared by 3 rows, for example 'same'" in reasons(error)
    db.execute("UPDATE Todo SET name = id")
    assert ops(fit(db, new)) == ["add_index"]


@pytest.mark.parametrize(
    ("old", "new", "values", "expected"),
    [
        ("int", "float", [1, -5], [1.0, -5.0]),
        ("int", "string", [1, -5], ["1", "-5"]),
        ("float", "string", [1.5, 1e100], ["1.5", "1e+100"]),
        ("bool", "string", [1, 0], ["true", "false"]),
        ("string", "int", ["7", "-3"], [7, -3]),
        ("string", "float", ["0.1", "2"], [0.1, 2.0]),
        ("string", "bool", ["true", "false"], [1, 0]),
        ("float", "int", [2.0, -1.0], [2, -1]),
        ("string", "datetime", ["2026-01-01"], ["2026-01-01"]),
        ("string", "richtext", ["x"], ["x"]),
    ],
)
def test_lossless_conversions(old: str, new: str, values: list[Any], expected: list[Any]) -> None:
    was = todo(field("v", old, unique=True))
    rows = [{"id": str(i), "v": value} for i, value in enumerate(values)]
    db = start_with(was, Todo=rows)
    now = todo(field("v", new, unique=True))
    fit(db, now, allow="careful")
    found = [row["v"] for row in rows_of(db, "Todo")]
    assert found == expected
    assert [type(each) for each in found] == [type(each) for each in expected]
    assert shape(introspect(db)) == fresh_shape(now)


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("int", "float", 2**53 + 1),
        ("string", "int", "05"),
        ("string", "int", "five"),
        ("string", "datetime", "soon"),
        ("float", "int", 1.5),
        ("int", "bool", 2),
        ("string", "bool", "yes"),
        ("datetime", "bool", "2026-01-01"),
    ],
)
def test_lossy_conversions_must_be_allowed(old: str, new: str, value: Any) -> None:
    db = start_with(todo(field("v", old, optional=True)), Todo=[{"id": "1", "v": value}])
    now = todo(field("v", new, optional=True))
    error = refusal(db, now, allow="careful")
    assert error.code == "SCHEMA_BLOCKED"
    assert f"for example {value!r}" in reasons(error)
    fit(db, now, **DESTROY)


def test_an_empty_table_takes_any_type() -> None:
    db = start_with(todo(field("v")))
    fit(db, todo(field("v", "bool")))
    assert introspect(db).tables["Todo"].columns["v"].type == "INTEGER"


def test_what_left_the_app_is_kept_until_it_is_removed() -> None:
    db = start_with(ONE, Todo=TWO_ROWS)
    new = todo(field("name"))
    assert refusal(db, new, allow="careful").code == "SCHEMA_BLOCKED"
    assert ops(fit(db, new, keep_removed=True)) == ["retire_field"]
    assert ops(fit(db, new, keep_removed=True)) == []
    assert [row["n"] for row in rows_of(db, "Todo")] == [1, None]
    assert ops(fit(db, ONE)) == ["restore_field"]
    fit(db, new, **DESTROY)
    assert "n" not in introspect(db).tables["Todo"].columns


def test_others_tables_and_columns_are_left_alone() -> None:
    db = start_with(ONE, Todo=TWO_ROWS)
    db.execute("CREATE TABLE theirs (x); ALTER TABLE Todo ADD COLUMN extra TEXT")
    db.execute("CREATE INDEX fast ON Todo (name, extra)")
    assert ops(fit(db, ONE, **DESTROY)) == []
    fit(db, todo(field("name"), field("n", optional=True)), allow="careful")
    assert "fast" in introspect(db).tables["Todo"].indexes


# --- entities --------------------------------------------------------------------------------


def test_a_renamed_entity_keeps_its_rows_log_and_documents() -> None:
    db = start_with(todo(field("name", unique=True)), Todo=[{"id": "1", "name": "a"}])
    db.execute("INSERT INTO _pylon_changes VALUES (1, 'Todo', '1', 'insert', 1, '[]', 5)")
    db.execute("INSERT INTO _pylon_crdt_snapshots VALUES ('Todo', '1', 1, '', x'00')")
    new = app(entity("Task", field("name", unique=True)))
    fit(db, new, allow="careful", hints=Hints(entities=(("Todo", "Task"),)))
    assert rows_of(db, "Task") == [{"id": "1", "name": "a"}]
    logged = db.execute("SELECT entity, row_id, audiences FROM _pylon_changes").fetchall()
    assert logged == [("Task", "1", None)]
    assert db.execute("SELECT entity FROM _pylon_crdt_snapshots").fetchall() == [("Task",)]
    assert shape(introspect(db)) == fresh_shape(new)


def test_a_case_is_a_rename() -> None:
    db = start_with(app(entity("todo", field("Name"))), todo=[{"id": "1", "Name": "a"}])
    assert refusal(db, todo(field("name"))).code == "SCHEMA_BLOCKED"
    fit(db, todo(field("name")), allow="careful")
    assert rows_of(db, "Todo") == [{"id": "1", "name": "a"}]


def test_a_removed_entity_goes_with_its_log() -> None:
    db = start_with(ONE, Todo=TWO_ROWS)
    db.execute("INSERT INTO _pylon_changes VALUES (1, 'Todo', '1', 'insert', 1, NULL, 5)")
    other = app(entity("Note", field("text")))
    fit(db, other, keep_removed=True)
    assert len(rows_of(db, "Todo")) == 2
    fit(db, other, **DESTROY)
    assert list(introspect(db).tables) == ["Note"]
    assert db.execute("SELECT count(*) FROM _pylon_changes").fetchall() == [(0,)]


def test_index_names_that_clash_are_told() -> None:
    by = IndexSpec(name="b_c", fields=("x",))
    clash = app(
        entity("A", field("x"), indexes=(by,)),
        entity("A_b", field("x"), indexes=(IndexSpec(name="c", fields=("x",)),)),
    )
    assert refusal(open_empty(), clash).code == "INDEX_NAME_CLASH"
    like_a_table = app(entity("A", field("x"), indexes=(by,)), entity("a_B_c", field("x")))
    assert refusal(open_empty(), like_a_table).code == "INDEX_NAME_CLASH"


def test_an_index_that_changed_is_made_anew() -> None:
    def with_index(*fields: str) -> Any:
        index = IndexSpec(name="by", fields=fields)
        return todo(field("a"), field("b"), indexes=(index,))

    db = start_with(with_index("a"))
    assert ops(fit(db, with_index("a", "b"))) == ["remove_index", "add_index"]
    assert ops(fit(db, todo(field("a"), field("b")))) == ["remove_index"]


def hobby(*fields: Any, where: str | None, unique: bool = True) -> Any:
    index = IndexSpec(name="one", fields=("owner",), unique=unique, where=where)
    return todo(field("owner"), *fields, indexes=(index,))


def test_a_condition_of_an_index_comes_changes_and_goes() -> None:
    plan = field("plan", optional=True)
    db = start_with(hobby(plan, where="plan = 'hobby'"))
    insert(db, "Todo", {"id": "1", "owner": "a", "plan": "hobby"})
    insert(db, "Todo", {"id": "2", "owner": "a", "plan": "pro"})
    with pytest.raises(apsw.ConstraintError):
        insert(db, "Todo", {"id": "3", "owner": "a", "plan": "hobby"})
    assert ops(fit(db, hobby(plan, where="plan='hobby'"))) == []
    changed = hobby(plan, where="plan IN ('hobby', 'free')")
    assert ops(fit(db, changed)) == ["remove_index", "add_index"]
    assert shape(introspect(db)) == fresh_shape(changed)
    whole = refusal(db, hobby(plan, where=None)).plan
    assert whole is not None
    assert whole.steps[1].refused == "1 value is shared by 2 rows, for example 'a'"
    assert ops(fit(db, hobby(plan, where=None, unique=False))) == ["remove_index", "add_index"]


def test_rows_that_a_condition_leaves_out_do_not_stand_in_its_way() -> None:
    plain = todo(field("owner"), field("plan", optional=True))
    db = start_with(plain)
    insert(db, "Todo", *({"id": str(n), "owner": "a", "plan": "pro"} for n in range(3)))
    insert(db, "Todo", {"id": "4", "owner": "a", "plan": "hobby"})
    wanted = hobby(field("plan", optional=True), where="plan = 'hobby'")
    fit(db, wanted)
    db.execute("DROP INDEX Todo_one")
    insert(db, "Todo", {"id": "5", "owner": "a", "plan": "hobby"})
    error = refusal(db, wanted)
    assert error.code == "SCHEMA_REFUSED"
    assert error.plan is not None
    assert error.plan.steps[0].refused == "1 value is shared by 2 rows, for example 'a'"


def test_a_field_that_only_a_condition_looks_at_is_renamed_retyped_and_removed() -> None:
    db = start_with(hobby(field("plan", "int"), where="plan = 1"))
    insert(db, "Todo", {"id": "1", "owner": "a", "plan": 1})
    renamed = hobby(field("level", "int"), where="level = 1")
    fit(db, renamed, allow="careful", hints=Hints(fields=(("Todo", "plan", "level"),)))
    assert shape(introspect(db)) == fresh_shape(renamed)
    retyped = hobby(field("level"), where="level = '1'")
    fit(db, retyped, allow="careful")
    assert shape(introspect(db)) == fresh_shape(retyped)
    fit(db, hobby(where=None), **DESTROY)
    assert shape(introspect(db)) == fresh_shape(hobby(where=None))
    fit(db, todo(field("owner")), **DESTROY)
    assert rows_of(db, "Todo") == [{"id": "1", "owner": "a"}]


# --- what follows ----------------------------------------------------------------------------


def read_rules(db: apsw.Connection) -> Any:
    return db.execute("SELECT value FROM _pylon_meta WHERE key = 'read_rules'").fetchall()[0][0]


def test_readers_start_anew_only_when_they_would_see_other_rows() -> None:
    db = start_with(ONE, Todo=TWO_ROWS)
    db.execute("UPDATE _pylon_meta SET value = 'rules' WHERE key = 'read_rules'")
    known = read_fingerprint(db)
    fields = (*ONE.entities[0].fields, field("note", optional=True))
    fit(db, todo(*fields))
    assert read_rules(db) == "rules", "an empty new field changes no row"
    assert read_fingerprint(db) != known, "but another server must notice"
    fit(db, todo(*fields, field("k", "int", default=1)))
    assert read_rules(db) != "rules"


def test_only_changes_are_recorded() -> None:
    db = start_with(ONE)
    for _ in range(3):
        fit(db, ONE)
    (entry,) = read_history(db)
    assert entry.operation_count == 1
    fit(db, todo(field("name")), **DESTROY)
    newest, first = read_history(db)
    assert newest.id > first.id
    assert newest.to_wire()["plan"]["operations"][0]["op"] == "remove_field"


def test_a_preview_changes_nothing() -> None:
    db = start_with(ONE, Todo=TWO_ROWS)
    before = db.execute("SELECT * FROM sqlite_schema").fetchall()
    plan = preview(db, todo(field("x", optional=True)), Wish(), now=NOW)
    assert len(plan.steps) == 3
    assert db.execute("SELECT * FROM sqlite_schema").fetchall() == before


def test_a_copy_is_made_before_something_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    db = open_empty(str(path))
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    fit(db, ONE)
    insert(db, "Todo", *TWO_ROWS)
    outcome = fit(db, todo(field("name")), allow="destructive", backup_from=path)
    assert outcome.backup is not None
    copy = apsw.Connection(outcome.backup)
    assert [row["n"] for row in rows_of(copy, "Todo")] == [1, None]
    copy.close()
    assert fit(db, ONE, allow="destructive", backup_from=path).backup is None


def test_progress_is_told_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pylon.store.sqlite.evolution.apply.BATCH_ROWS", 10)
    rows = [{"id": f"{i:03}", "name": "x", "n": i} for i in range(25)]
    db = start_with(ONE, Todo=rows)
    told: list[tuple[str, int, int]] = []
    new = todo(field("name"), field("n", "string", optional=True))
    evolve(db, new, Wish(allow="careful"), now=NOW, progress=lambda *each: told.append(each))
    assert told == [("converting Todo.n", done, 25) for done in (10, 20, 25)]


# --- search ----------------------------------------------------------------------------------


class Indexes:
    """Search indexes that only say what they are asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def remove(self, connection: apsw.Connection, entity: str) -> None:
        self.calls.append(("remove", entity))

    def build(
        self,
        connection: apsw.Connection,
        manifest: Manifest,
        entity: EntitySpec,
        progress: Progress,
    ) -> None:
        assert entity.name in introspect(connection).tables
        self.calls.append(("build", entity.name))


def test_search_follows_its_configuration_and_its_rows() -> None:
    db, search = open_empty(), Indexes()

    def apply(manifest: Any, **wish: Any) -> list[tuple[str, str]]:
        search.calls = []
        evolve(db, manifest, Wish(**wish), now=NOW, search=search)
        return search.calls

    config = SearchSpec(text=("name",))
    fields = (field("name"), field("n", "int", optional=True))
    assert apply(todo(*fields, search=config)) == [("build", "Todo")]
    assert apply(todo(*fields, search=config)) == []
    wider = SearchSpec(text=("name",), sortable=("n",))
    assert apply(todo(*fields, search=wider)) == [("remove", "Todo"), ("build", "Todo")]
    renamed = app(entity("Task", *fields, search=wider))
    hints = Hints(entities=(("Todo", "Task"),))
    assert apply(renamed, allow="careful", hints=hints) == [("remove", "Todo"), ("build", "Task")]
    assert apply(app(entity("Task", *fields))) == [("remove", "Task")]


# --- hand-written SQL ------------------------------------------------------------------------


def migration(number: int, up: str) -> SqlMigration:
    return SqlMigration(number=number, name="m", up=up, checksum="c")


def test_a_migration_runs_first_and_its_rows_reach_the_log() -> None:
    db = start_with(ONE, Todo=TWO_ROWS)
    db.execute("INSERT INTO _pylon_changes VALUES (1, 'Todo', '1', 'insert', 1, NULL, 5)")
    db.execute("INSERT INTO _pylon_changes VALUES (2, 'Todo', 'gone', 'insert', 2, NULL, 5)")
    up = "UPDATE Todo SET n = 9 WHERE n IS NULL; INSERT INTO Todo VALUES ('3', 'c', 3);"
    new = todo(field("name"), field("n", "int"))
    outcome = fit(db, new, allow="careful", migrations=(migration(1, up),))
    assert ops(outcome) == ["require_field"]
    assert [row["n"] for row in rows_of(db, "Todo")] == [1, 9, 3]
    logged = db.execute("SELECT row_id FROM _pylon_changes ORDER BY row_id").fetchall()
    assert logged == [("1",), ("2",), ("3",)]
    seq = db.execute("SELECT value FROM _pylon_meta WHERE key = 'seq'").fetchall()[0][0]
    assert seq == db.execute("SELECT max(seq) FROM _pylon_changes").fetchall()[0][0]


@pytest.mark.parametrize(
    "up",
    [
        "UPDATE Todo SET name = 'x'",
        "UPDATE Todo SET id = id || '!'",
        "UPDATE Todo SET id = id || '!', name = 'x'",
        "UPDATE OR IGNORE Todo SET id = '2', name = 'x'",
        "UPDATE OR REPLACE Todo SET name = 'x'",
        "INSERT OR IGNORE INTO Todo VALUES ('1', 'x', 1), ('9', 'z', 1)",
        "DELETE FROM Todo WHERE id = '1'",
        "DELETE FROM Todo",
        "INSERT INTO Todo VALUES ('9', 'z', 1)",
        "REPLACE INTO Todo VALUES ('1', 'z', 1)",
        "DELETE FROM Todo WHERE id = '1' RETURNING id",
        "INSERT INTO Todo VALUES ('1', 'x', 1) ON CONFLICT (id) DO UPDATE SET name = 'y'",
        "WITH one AS (SELECT '1' AS id) UPDATE Todo SET name = 'x' WHERE id IN one",
        "/* BEGIN; */ -- COMMIT;\nUPDATE Todo SET name = 'a; COMMIT; x'",
        "SAVEPOINT a; DELETE FROM Todo; ROLLBACK TO a; RELEASE a; UPDATE Todo SET name = 'x'",
        "CREATE TABLE n (a); CREATE TRIGGER t AFTER INSERT ON n BEGIN"
        " UPDATE Todo SET name = 'begin; '; DELETE FROM Todo WHERE id = '2'; END;"
        " INSERT INTO n VALUES (1); DROP TABLE n",
        "SELECT * FROM pragma_table_info('Todo'); UPDATE Todo SET name = 'x'",
    ],
)
def test_a_migration_writes_rows_that_are_searched(up: str) -> None:
    search = SqliteSearchIndexes()
    manifest = todo(
        field("name"),
        field("n", "int", optional=True),
        search=SearchSpec(text=("name",), facets=("n",)),
    )
    db = open_empty()
    fit(db, manifest, search)
    insert(db, "Todo", *TWO_ROWS)
    fit(db, manifest, search, migrations=(migration(1, up),))
    listed = db.execute('SELECT row_id FROM "_pylon_search.Todo.ids" ORDER BY row_id').fetchall()
    assert listed == db.execute("SELECT id FROM Todo ORDER BY id").fetchall()
    for name in ("a", "b", "x", "y", "z", "begin"):
        held = [
            (row["id"],)
            for row in rows_of(db, "Todo")
            if name in row["name"].replace(";", "").split()
        ]
        found = db.execute(
            'SELECT i.row_id FROM "_pylon_search.Todo.text"(?) f'
            ' JOIN "_pylon_search.Todo.ids" i ON i.docid = f.rowid ORDER BY 1',
            (name,),
        ).fetchall()
        assert found == held, name


def test_a_migration_keeps_the_log_of_an_entity_with_fields_of_its_names() -> None:
    names = ("row_id", "entity", "seq", "kind", "born", "at", "value", "number", "docid")
    manifest = todo(*map(field, names))
    db = start_with(manifest, Todo=[{"id": "1"}, {"id": "2"}])
    for number in (1, 2):
        db.execute(
            "INSERT INTO _pylon_changes VALUES (?1, 'Todo', ?1, 'insert', ?1, NULL, 5)", (number,)
        )
    before = db.execute("SELECT * FROM _pylon_changes").fetchall()
    fit(db, manifest, migrations=(migration(1, "UPDATE Todo SET row_id = 'x', seq = 7"),))
    assert db.execute("SELECT * FROM _pylon_changes").fetchall() == before


@pytest.mark.parametrize(
    ("up", "code"),
    [
        ("UPDATE Todo SET n = 1; COMMIT", "MIGRATION_NOT_ALLOWED"),
        ("ATTACH 'x' AS y", "MIGRATION_NOT_ALLOWED"),
        ("DETACH main", "MIGRATION_NOT_ALLOWED"),
        ("/* then */ ROLLBACK", "MIGRATION_NOT_ALLOWED"),
        ("END", "MIGRATION_NOT_ALLOWED"),
        ("PRAGMA writable_schema = 1", "MIGRATION_NOT_ALLOWED"),
        ("PRAGMA user_version = 7", "MIGRATION_NOT_ALLOWED"),
        ("VACUUM", "MIGRATION_FAILED"),
        ("DELETE FROM _pylon_schema_history", "MIGRATION_NOT_ALLOWED"),
        ("ALTER TABLE _pylon_meta ADD COLUMN x", "MIGRATION_NOT_ALLOWED"),
        (
            "CREATE TRIGGER x AFTER UPDATE ON Todo BEGIN DELETE FROM _pylon_meta; END;"
            " UPDATE Todo SET n = 1",
            "MIGRATION_NOT_ALLOWED",
        ),
        (
            "INSERT OR ROLLBACK INTO Todo VALUES ('1', 'x', 1); UPDATE Todo SET n = 9",
            "MIGRATION_FAILED",
        ),
        ("UPDATE Todo SET n = 1; SELECT nonsense", "MIGRATION_FAILED"),
    ],
)
def test_a_migration_that_fails_leaves_nothing(up: str, code: str) -> None:
    db = start_with(ONE, Todo=TWO_ROWS)
    assert refusal(db, ONE, migrations=(migration(1, up),)).code == code
