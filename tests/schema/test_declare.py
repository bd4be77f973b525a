"""An app in Python gives the manifest that somebody would have written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from pylon import codec
from pylon.policy.check import check_manifest
from pylon.schema.declare import Declarations
from pylon.schema.diagnostics import SchemaError
from pylon.schema.entity import Entity
from pylon.schema.fields import Id
from pylon.schema.parse import parse_manifest
from pylon.schema.validate import validate
from tests.schema import sample_app
from tests.schema.samples import a_field, an_app, an_entity, codes, parsed

NOW = {"$now": True}

BY_HAND = an_app(
    an_entity(
        "Todo",
        a_field("title"),
        a_field("done", "bool", default=False),
        a_field("ownerId", "id(User)", optional=True, default={"$auth": "userId"}),
        a_field("parentId", "id(Todo)", optional=True),
        a_field("notes", "richtext", optional=True, crdt="text"),
        a_field("weight", "float", default=1.5),
        a_field("secret", optional=True, private=True),
        a_field("code", optional=True, writeOnce=True),
        a_field("number", "int", default=1, serverSet=True),
        a_field("createdAt", "datetime", default=NOW),
        indexes=[{"name": "by_owner", "fields": ["ownerId", "done"], "unique": False}],
        relations=[{"name": "owner", "target": "User", "field": "ownerId", "many": False}],
        search={"text": ["title", "notes"], "facets": ["done"], "sortable": ["createdAt"]},
        crdt=True,
    ),
    an_entity(
        "Audit",
        a_field("what"),
        a_field("todoId", "id(Todo)"),
        a_field("state", default="open"),
        a_field("level", "int", default=0),
        a_field("hidden", "bool", default=False),
        crdt=False,
    ),
    an_entity(
        "User",
        a_field("email", unique=True),
        a_field("displayName"),
        a_field("avatarColor", optional=True),
        a_field("passwordHash", optional=True, private=True),
        a_field("emailVerified", "datetime", optional=True),
        a_field("createdAt", "datetime", default=NOW),
        crdt=True,
    ),
    name="todos",
    version="0.1.0",
    routes=[{"path": "/", "mode": "live", "query": "recent", "auth": "public"}],
    queries=[
        {
            "name": "recent",
            "input": [a_field("since", "datetime"), a_field("limit", "int", optional=True)],
        }
    ],
    actions=[{"name": "clear", "input": [a_field("owner", "id(User)"), a_field("kind")]}],
    policies=[
        {
            "name": "Todo",
            "entity": "Todo",
            "allowRead": "auth.userId == data.ownerId",
            "allowInsert": "auth.userId != null",
            "allowUpdate": "auth.userId == data.ownerId",
            "allowDelete": "auth.userId == data.ownerId",
        },
        {
            "name": "Audit",
            "entity": "Audit",
            "allow": "false",
            "allowRead": 'auth.hasRole("auditor") || "owner" in auth.roles && !data.hidden',
            "allowUpdate": 'data.state == "open" && data.level <= 3 && existing.state != "closed"',
            "allowWrite": "false",
        },
        {
            "name": "User",
            "entity": "User",
            "allowRead": "auth.userId == data.id",
            "allowInsert": "false",
            "allowUpdate": "false",
            "allowDelete": "false",
        },
        {"name": "clear", "action": "clear", "allow": "auth.userId != null"},
        {
            "name": "shared",
            "entity": "Audit",
            "allowRead": "!exists(Todo, id == data.todoId && ownerId != auth.userId)",
        },
    ],
)


def test_the_python_form_gives_the_same_bytes_as_the_hand_written_one() -> None:
    manifest = sample_app.app.manifest()
    assert codec.encode_pretty(manifest.to_wire()) == codec.encode_pretty(BY_HAND)
    assert manifest == parsed(BY_HAND)
    assert parse_manifest(codec.encode(manifest.to_wire())) == (manifest, [])
    assert validate(manifest) == []
    assert check_manifest(manifest) == []


def test_the_standard_user_comes_only_when_it_is_meant() -> None:
    alone = Declarations("a")

    @alone.entity
    class Note(Entity):
        title: str

    assert [spec.name for spec in alone.manifest().entities] == ["Note"]
    alone.query("mine", input={"user": "id(User)"})
    assert [spec.name for spec in alone.manifest().entities] == ["Note", "User"]


def test_an_own_user_wins() -> None:
    app = Declarations("a")

    @app.entity
    class Note(Entity):
        owner: Id[User]

    @app.entity
    class User(Entity):
        nick: str

    manifest = app.manifest()
    assert [spec.name for spec in manifest.entities] == ["Note", "User"]
    assert list(manifest.entities_by_name["User"].fields_by_name) == ["nick"]
    assert manifest.policies == ()


def test_policies_and_actions_outside_of_entities() -> None:
    app = Declarations("a", "2")

    @app.entity
    class Note(Entity):
        title: str

    app.policy("notes", entity=Note, read=True, write="false")
    manifest = app.manifest()
    assert (manifest.name, manifest.version) == ("a", "2")
    assert manifest.policies[0].to_wire() == {
        "name": "notes",
        "entity": "Note",
        "allowRead": "true",
        "allowWrite": "false",
    }


def test_all_mistakes_are_raised_at_once() -> None:
    app = Declarations("broken")

    @app.entity
    class First(Entity):
        raw: bytes

        class policy:
            reed = True

    @app.entity(crdt=False)
    class Second(Entity):
        title: list[bytes]

    class Third:
        pass

    wrong: Any = Third
    app.entity(wrong)
    app.action("send", input={"to": "strin"})
    app.policy("p", entity=First, read=7)  # type: ignore[arg-type]
    with pytest.raises(SchemaError) as raised:
        app.manifest()
    found = list(raised.value.diagnostics)
    assert codes(found) == [
        *("ANNOTATION_UNKNOWN", "SLOT_UNKNOWN", "ANNOTATION_UNKNOWN"),
        *("ENTITY_INVALID", "ANNOTATION_UNKNOWN", "SLOT_INVALID"),
    ]
    assert all(finding.span and finding.span.file == __file__ for finding in found)
    for told in ("First.raw", "First.policy.reed", "Second.title", "Third", '"to"', '"p"'):
        assert told in raised.value.message
    assert 'The app "broken" has 6 mistakes:' in raised.value.message
