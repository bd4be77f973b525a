"""What relations may say: ends that are there, promises that can be kept, fitting names."""

from __future__ import annotations

from typing import Any

import pytest

from pylon import App, Entity, Id, User, relation
from pylon.codec import encode
from pylon.schema.model import Manifest
from pylon.schema.parse import parse_manifest
from pylon.schema.validate import validate
from tests.schema.samples import an_app, an_entity


def field(name: str, kind: str, *, optional: bool = True) -> dict[str, Any]:
    return {"name": name, "type": kind, "optional": optional, "unique": False}


def codes(*relations: dict[str, Any]) -> list[str]:
    """What is said of a Task with these relations."""
    fields = (
        field("projectId", "id(Project)"),
        field("mustId", "id(Project)", optional=False),
        field("otherId", "id(Other)"),
        field("name", "string"),
        field("count", "int"),
    )
    app = an_app(
        an_entity("Task", *fields, relations=list(relations)),
        an_entity("Project", field("taskId", "id(Task)")),
        an_entity("Other", field("n", "int")),
    )
    manifest, problems = parse_manifest(encode(app))
    if manifest is None:
        return [each.code for each in problems]
    return [each.code for each in validate(manifest)]


def to(name: str = "project", target: str = "Project", key: str = "projectId", **more: Any) -> Any:
    return {"name": name, "target": target, "field": key, **more}


@pytest.mark.parametrize("on_delete", ["cascade", "set_null", "restrict", None])
def test_each_way_is_fine_for_an_optional_key(on_delete: str | None) -> None:
    assert codes(to(onDelete=on_delete, check=True)) == []
    assert codes(to(key="name", onDelete=on_delete)) == []


def test_what_cannot_be_kept_is_refused() -> None:
    assert codes(to(onDelete="forget")) == ["MANIFEST_PARSE_ERROR"]
    assert codes(to(key="mustId", onDelete="set_null")) == ["RELATION_ON_DELETE_INVALID"]
    assert codes(to(key="mustId", onDelete="cascade")) == []
    for promise in ({"check": True}, {"onDelete": "cascade"}):
        assert codes(to(key="otherId", **promise)) == ["RELATION_FIELD_MISMATCH"]
        assert codes(to(key="count", **promise)) == ["RELATION_FIELD_MISMATCH"]
        many = to("tasks", "Project", "taskId", many=True, **promise)
        assert codes(many) == ["RELATION_KEY_ELSEWHERE"]
    assert codes(to(key="otherId"), to("count", key="count")) == ["RELATION_HIDES_FIELD"]


def test_two_relations_through_one_key_must_agree() -> None:
    text = to("one", key="name", check=True)
    assert codes(text, to("two", key="name", check=True)) == []
    assert codes(text, to("two", "Other", key="name")) == []
    assert codes(text, to("two", "Other", key="name", check=True)) == ["RELATION_CONFLICT"]
    cascade, restrict = to("a", onDelete="cascade"), to("b", onDelete="restrict")
    assert codes(cascade, restrict) == ["RELATION_CONFLICT"]
    assert codes(cascade, to("b", check=True)) == []


@pytest.mark.parametrize("name", ["id", "ID", "__proto__"])
def test_a_name_that_would_hide_the_id(name: str) -> None:
    assert codes(to(name)) == ["NAME_RESERVED"]


def test_a_relation_that_hides_a_field_is_told_of() -> None:
    manifest, _ = parse_manifest(
        encode(an_app(an_entity("Task", field("a", "id(Task)"), relations=[to("a", "Task", "a")])))
    )
    assert manifest is not None
    (found,) = validate(manifest)
    assert (found.severity, found.code) == ("warning", "RELATION_HIDES_FIELD")


# --- in Python -------------------------------------------------------------------------------


def declared() -> Manifest:
    app = App("names")

    @app.entity
    class Project(Entity):
        title: str
        ownerId: Id[User] | None

        class relations:
            owner = relation("User", field="ownerId")
            tasks = relation("Task", field="projectId", many=True)

    @app.entity
    class Task(Entity):
        projectId: Id[Project]
        looseId: Id[Project] | None
        ownerId: Id[User]

        class relations:
            project = relation("Project", field="projectId", on_delete="cascade")
            loose = relation("Project", field="looseId", check=False)
            owner = relation("User", field="ownerId", on_delete="cascade", check=True)

    return app.manifest()


def test_keys_are_checked_unless_they_name_people() -> None:
    said = {
        f"{entity.name}.{each.name}": (each.check, each.onDelete)
        for entity in declared().entities
        for each in entity.relations
    }
    assert said == {
        "Project.owner": (False, None),
        "Project.tasks": (False, None),
        "Task.project": (True, "cascade"),
        "Task.loose": (False, None),
        "Task.owner": (True, "cascade"),
    }


def test_the_json_says_the_same() -> None:
    manifest = declared()
    wire = manifest.to_wire()
    task = next(each for each in wire["entities"] if each["name"] == "Task")
    assert task["relations"][:2] == [
        {
            "name": "project",
            "target": "Project",
            "field": "projectId",
            "many": False,
            "check": True,
            "onDelete": "cascade",
        },
        {"name": "loose", "target": "Project", "field": "looseId", "many": False},
    ]
    assert parse_manifest(encode(wire))[0] == manifest
