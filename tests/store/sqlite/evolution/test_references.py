"""Keys that are checked, or that others follow, on a database that had rows before."""

from __future__ import annotations

from typing import Any

import apsw
import pytest

from pylon.schema.model import Manifest, RelationSpec
from pylon.store.evolution.model import Hints, KeepReference
from pylon.store.evolution.words import planned_text
from tests.store.sqlite.evolution.database import app, entity, field, fit, rows_of, start_with

TASKS: list[dict[str, Any]] = [
    {"id": "a", "projectId": "p", "parentId": None},
    {"id": "b", "projectId": "gone", "parentId": "a"},
    {"id": "c", "projectId": None, "parentId": "gone"},
    {"id": "d", "projectId": "gone", "parentId": "gone"},
]


def tasks(**promise: Any) -> Manifest:
    keys = (field("projectId", "id(Project)"), field("parentId", "id(Task)"))
    relations = (
        RelationSpec(name="project", target="Project", field="projectId", **promise),
        RelationSpec(name="parent", target="Task", field="parentId", **promise),
    )
    return app(entity("Project"), entity("Task", *keys, relations=relations))


def indexes(connection: apsw.Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'Task'"
        " AND sql IS NOT NULL ORDER BY name"
    ).fetchall()


def test_rows_that_name_none_stay_and_are_counted() -> None:
    connection = start_with(tasks(), Project=[{"id": "p"}], Task=TASKS)
    done = fit(connection, tasks(check=True)).plan
    assert [planned_text(each) for each in done.steps] == [
        "let Task.projectId name rows of Project only that are there"
        " (2 rows name none, and stay as before)",
        "let Task.parentId name rows of Task only that are there"
        " (2 rows name none, and stay as before)",
    ]
    assert done.steps[0].to_wire() == {
        "op": "keep_reference",
        "entity": "Task",
        "field_name": "projectId",
        "target": "Project",
        "level": "additive",
        "rows": 2,
        "note": "2 rows name none, and stay as before",
    }
    assert rows_of(connection, "Task") == TASKS
    assert fit(connection, tasks(check=True)).plan.is_empty


def test_a_new_database_has_nothing_to_be_told() -> None:
    connection = start_with(tasks(check=True))
    assert fit(connection, tasks(check=True)).plan.is_empty


def test_a_key_whose_names_change_is_counted_by_the_old_ones() -> None:
    connection = start_with(tasks(), Project=[{"id": "p"}], Task=TASKS)
    relation = RelationSpec(name="plan", target="Plan", field="planId", check=True)
    keys = (field("planId", "id(Plan)"), field("parentId", "id(Task)"))
    manifest = app(entity("Plan"), entity("Task", *keys, relations=(relation,)))
    hints = Hints(entities=(("Project", "Plan"),), fields=(("Task", "projectId", "planId"),))
    done = fit(connection, manifest, hints=hints, allow="careful").plan
    (kept,) = [each for each in done.steps if isinstance(each.step, KeepReference)]
    assert kept.rows == 2


@pytest.mark.parametrize("on_delete", ["cascade", "set_null", "restrict"])
def test_a_key_that_others_follow_has_an_index_while_they_do(on_delete: Any) -> None:
    connection = start_with(tasks(), Project=[{"id": "p"}], Task=TASKS)
    fit(connection, tasks(onDelete=on_delete))
    assert indexes(connection) == [("Task_parentId_reference",), ("Task_projectId_reference",)]
    assert fit(connection, tasks(onDelete=on_delete)).plan.is_empty
    fit(connection, tasks())
    assert indexes(connection) == []
