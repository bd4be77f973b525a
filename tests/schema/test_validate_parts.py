"""Relations, search, CRDT annotations and defaults that would fail later than at the start."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from pylon.schema.model import EntitySpec, FieldDefault, FieldSpec, Manifest, NowDefault
from pylon.schema.validate import validate
from tests.schema.samples import a_field, an_app, an_entity, codes, parsed

USER = an_entity("User", a_field("noteId", "id(Note)"))
OWNER = {"name": "owner", "target": "User", "field": "ownerId"}


def note(*relations: dict[str, Any], **keys: Any) -> dict[str, Any]:
    fields = (a_field("title"), a_field("ownerId", "id(User)"), a_field("count", "int"))
    secret = a_field("passwordHash")
    return an_app(an_entity("Note", *fields, secret, relations=list(relations), **keys), USER)


def partial(where: str) -> dict[str, Any]:
    index = {"name": "one", "fields": ["title"], "unique": True, "where": where}
    return an_app(an_entity("Note", a_field("title"), a_field("count", "int"), indexes=[index]))


def with_auth(**auth: Any) -> dict[str, Any]:
    return an_app(an_entity("Note"), auth=auth)


@pytest.mark.parametrize(
    ("code", "severity", "wire"),
    [
        ("INDEX_CONDITION_INVALID", "error", partial("lower(title) = 'x'")),
        ("INDEX_CONDITION_INVALID", "error", partial("titel = 'x'")),
        ("INDEX_CONDITION_INVALID", "error", partial("count = 'x'")),
        ("AUTH_ENTITY_NOT_FOUND", "error", with_auth(user="Nobody")),
        ("AUTH_ORIGIN_INVALID", "error", with_auth(trusted_origins=["*"])),
        ("AUTH_ORIGIN_INVALID", "error", with_auth(trusted_origins=["https://a.example/x"])),
        ("AUTH_ORIGIN_UNENCRYPTED", "warning", with_auth(trusted_origins=["http://a.example"])),
        ("AUTH_KEY_IGNORED", "warning", with_auth(session="Note")),
        ("AUTH_KEY_IGNORED", "warning", with_auth(org="Note")),
        (
            "INPUT_KEY_IGNORED",
            "warning",
            an_app(actions=[{"name": "do", "input": [a_field("x", serverOnly=True)]}]),
        ),
    ],
)
def test_what_newer_manifests_say_is_judged(code: str, severity: str, wire: dict[str, Any]) -> None:
    (finding,) = validate(parsed(wire))
    assert (finding.code, finding.severity) == (code, severity)
    assert finding.hint


@pytest.mark.parametrize(
    "wire",
    [
        partial("title = 'x' AND count > 3"),
        with_auth(user="Note", trusted_origins=["https://a.example", "http://localhost:3000"]),
        an_app(actions=[{"name": "do", "input": [a_field("x")]}]),
    ],
)
def test_what_newer_manifests_may_say(wire: dict[str, Any]) -> None:
    assert validate(parsed(wire)) == []


@pytest.mark.parametrize(
    ("code", "wire", "hint"),
    [
        ("RELATION_TARGET_NOT_FOUND", note({**OWNER, "target": "Usr"}), '"User"?'),
        ("RELATION_FIELD_NOT_FOUND", note({**OWNER, "field": "owner"}), '"ownerId"?'),
        ("RELATION_FIELD_NOT_FOUND", note({**OWNER, "field": "noteId"}), '"ownerId"?'),
        ("RELATION_DUPLICATE", note(OWNER, OWNER), "of its own"),
        ("RELATION_DUPLICATE", note({**OWNER, "name": ""}), "of its own"),
        ("SEARCH_FIELD_NOT_FOUND", note(search={"text": ["titel"]}), '"title"?'),
        ("SEARCH_FIELD_DUPLICATE", note(search={"facets": ["title", "title"]}), "Remove"),
        ("SEARCH_FIELD_PRIVATE", note(search={"sortable": ["passwordHash"]}), "leave"),
        ("SEARCH_FIELD_TYPE_MISMATCH", note(search={"text": ["count"]}), "string and richtext"),
        (
            "CRDT_ANNOTATION_INVALID",
            an_app(an_entity("N", a_field("n", "int", crdt="text"))),
            "richtext and string",
        ),
        (
            "CRDT_ANNOTATION_INVALID",
            an_app(an_entity("N", a_field("n", "string", crdt="counter"))),
            "float and int",
        ),
    ],
)
def test_each_mistake_is_told_alone_with_a_hint(code: str, wire: dict[str, Any], hint: str) -> None:
    (finding,) = validate(parsed(wire))
    assert finding.code == code
    assert hint in (finding.hint or "")


@pytest.mark.parametrize(
    "wire",
    [
        note(OWNER),
        note({"name": "users", "target": "User", "field": "noteId", "many": True}),
        note(search={"text": ["title"], "facets": ["count"], "sortable": ["count"]}),
        an_app(an_entity("N", a_field("n", "richtext", crdt="lww"))),
        an_app(an_entity("N", a_field("n", "int", crdt="text"), crdt=False)),
    ],
)
def test_what_fits_is_fine(wire: dict[str, Any]) -> None:
    assert validate(parsed(wire)) == []


def test_an_annotation_that_nobody_knows_is_told() -> None:
    field = FieldSpec(name="n", type="string", crdt="txt")
    manifest = Manifest(name="a", version="1", entities=(EntitySpec(name="N", fields=(field,)),))
    assert codes(validate(manifest)) == ["CRDT_ANNOTATION_INVALID"]


NOW = {"$now": True}
CALLER = {"$auth": "userId"}


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        ("string", ["", "x", CALLER, NOW], [1, True]),
        ("richtext", ["x"], [1, CALLER, NOW]),
        ("int", [0, -(2**63)], [1.5, True, "1", NOW]),
        ("float", [0, 1.5], [True, "1", CALLER]),
        ("bool", [True, False], [0, "true", NOW]),
        ("datetime", [NOW, "2026-01-31T09:00:00Z"], ["soon", 0, CALLER]),
        ("id(N)", [CALLER, "abc"], [7, NOW]),
    ],
)
def test_defaults_must_fit_the_type(type_: str, good: list[Any], bad: list[Any]) -> None:
    for default in good:
        wire = an_app(an_entity("N", a_field("n", type_, default=default)))
        assert validate(parsed(wire)) == [], default
    for default in bad:
        wire = an_app(an_entity("N", a_field("n", type_, default=default)))
        assert codes(validate(parsed(wire))) == ["DEFAULT_TYPE_MISMATCH"], default


@pytest.mark.parametrize(
    ("type_", "default"), [("float", inf), ("int", 2**70), ("int", NowDefault())]
)
def test_defaults_that_only_python_can_write_are_checked_too(
    type_: str, default: FieldDefault
) -> None:
    field = FieldSpec(name="n", type=type_, default=default)
    manifest = Manifest(name="a", version="1", entities=(EntitySpec(name="N", fields=(field,)),))
    assert codes(validate(manifest)) == ["DEFAULT_TYPE_MISMATCH"]
