"""Class bodies as entities, with and without postponed annotations, at any depth."""

import datetime as dt
from typing import ClassVar

import pytest

from pylon.schema.entity import Entity, index, relation
from pylon.schema.expressions import auth, data, now
from pylon.schema.fields import Id, RichText, field
from pylon.schema.model import AuthDefault, FieldSpec, IndexSpec, RelationSpec, SearchSpec


def problems(cls: type[Entity]) -> list[tuple[str, str]]:
    return [(found.code, found.message) for found in cls.__pylon__.problems]


def test_annotations_are_fields_in_their_order() -> None:
    class Note(Entity):
        LIMIT: ClassVar[int] = 3
        title: str
        done: bool = False
        body: RichText | None = field(crdt="text")
        owner: Id["User"] | None = field(default=auth.userId)  # type: ignore[name-defined]  # noqa: F821
        key: str = field(unique=True, private=True)
        loose: str = field(optional=True)

    assert Note.__pylon__.fields == (
        FieldSpec(name="title", type="string"),
        FieldSpec(name="done", type="bool", default=False),
        FieldSpec(name="body", type="richtext", optional=True, crdt="text"),
        FieldSpec(name="owner", type="id(User)", optional=True, default=AuthDefault("userId")),
        FieldSpec(name="key", type="string", unique=True, private=True),
        FieldSpec(name="loose", type="string", optional=True),
    )
    assert problems(Note) == []


def test_postponed_annotations_see_the_function_they_stand_in() -> None:
    source = """
from __future__ import annotations
import typing
from pylon.schema.entity import Entity
from pylon.schema.fields import Id

def make():
    from datetime import datetime as Moment
    class Note(Entity):
        at: Moment | None
        parent: Id[Note] | None
        owner: Id[Somewhere]
        kept: typing.ClassVar[int] = 1
    return Note
"""
    namespace: dict[str, type[Entity]] = {"__name__": "made"}  # type: ignore[dict-item]
    exec(compile(source, "made.py", "exec", dont_inherit=True), namespace)
    note = namespace["make"]()
    assert [(spec.name, spec.type) for spec in note.__pylon__.fields] == [
        ("at", "datetime"),
        ("parent", "id(Note)"),
        ("owner", "id(Somewhere)"),
    ]


def test_inner_classes_say_the_rest() -> None:
    class Note(Entity):
        title: str
        owner: Id["User"]  # type: ignore[name-defined]  # noqa: F821

        class policy:
            read = update = auth.userId == data.owner
            insert = "auth.userId != null"
            delete = False
            allow = True

        class indexes:
            by_owner = index("owner", "title", unique=True)

        class relations:
            writer = relation("User", field="owner")
            others = relation(Entity, field="owner", many=True)

        class search:
            text = ("title",)
            facets = ["owner"]

    reading = Note.__pylon__
    assert reading.rules == {
        "allowRead": "auth.userId == data.owner",
        "allowUpdate": "auth.userId == data.owner",
        "allowInsert": "auth.userId != null",
        "allowDelete": "false",
        "allow": "true",
    }
    assert reading.indexes == (IndexSpec(name="by_owner", fields=("owner", "title"), unique=True),)
    assert reading.relations == (
        RelationSpec(name="writer", target="User", field="owner"),
        RelationSpec(name="others", target="Entity", field="owner", many=True),
    )
    assert reading.search == SearchSpec(text=("title",), facets=("owner",))


def test_a_field_may_have_the_name_of_a_block() -> None:
    class Note(Entity):
        search: str
        policy: str = "none"

    assert [spec.name for spec in Note.__pylon__.fields] == ["search", "policy"]
    assert problems(Note) == []


def test_fields_and_blocks_are_inherited() -> None:
    class Stamped(Entity):
        createdAt: dt.datetime = field(default=now)
        title: str

        class policy:
            read = True

        class indexes:
            by_time = index("createdAt")

    class Note(Stamped):
        title: str = "untitled"
        body: str

    assert [spec.name for spec in Note.__pylon__.fields] == ["createdAt", "title", "body"]
    assert Note.__pylon__.fields[1].default == "untitled"
    assert Note.__pylon__.rules == {"allowRead": "true"}
    assert [spec.name for spec in Note.__pylon__.indexes] == ["by_time"]


def test_every_mistake_of_a_class_is_kept_with_its_place() -> None:
    class Note(Entity):
        raw: bytes
        title: str = None  # type: ignore[assignment]
        email: str = field(default=auth.email)
        stray = field(unique=True)

        class policy:
            reed = True
            update = 3
            write = " "

        class indexes:
            by_title = "title"

        class search:
            text = "title"
            texts = ("title",)

        class relation:
            pass

    assert problems(Note) == [
        (
            "ANNOTATION_UNKNOWN",
            "Note.raw has the annotation `bytes`, which is no type of a field",
        ),
        ("DEFAULT_INVALID", "Note.title has the default None but is not optional"),
        ("DEFAULT_INVALID", "Note.email has the rule `auth.email` as its default"),
        ("FIELD_NOT_ANNOTATED", "Note.stray has no annotation"),
        ("SLOT_UNKNOWN", "Note.relation is an inner class that means nothing"),
        ("SLOT_INVALID", "Note.indexes.by_title is 'title' where index(...) was expected"),
        ("SLOT_INVALID", "Note.search.text is 'title' where field names were expected"),
        ("SLOT_UNKNOWN", "Note.search.texts is no part of a search"),
        ("SLOT_UNKNOWN", "Note.policy.reed is no slot of a policy"),
        ("SLOT_INVALID", "Note.policy.update is 3, which is no rule"),
        ("SLOT_INVALID", "Note.policy.write is ' ', which is no rule"),
    ]
    span = Note.__pylon__.problems[0].span
    assert span is not None
    assert span.file == __file__


def test_a_block_must_be_a_class() -> None:
    class Note(Entity):
        title: str
        policy = True

    assert problems(Note) == [
        ("SLOT_INVALID", "Note.policy is True where an inner class was expected")
    ]


class Todo(Entity):
    title: str
    done: bool = False
    owner: Id["Todo"] | None = field(default=auth.userId)
    secret: str | None = field(default=None, private=True)


def test_an_instance_holds_its_values() -> None:
    todo = Todo(title="x", secret="hush")
    assert (todo.title, todo.done, todo.owner) == ("x", False, None)
    assert repr(todo) == "Todo(title='x', done=False, owner=None)"
    assert todo == Todo(title="x", secret="hush")
    assert todo != Todo(title="y")
    with pytest.raises(LookupError, match="not stored yet"):
        _ = todo.id


def test_a_constructor_names_what_is_wrong() -> None:
    with pytest.raises(TypeError, match=r"Todo\(\): unknown: titel; missing: title"):
        Todo(titel="x")  # type: ignore[call-arg]
