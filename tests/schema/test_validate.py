"""One minimal manifest for each diagnostic of the specification's table, then all at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from pylon.schema.diagnostics import error
from pylon.schema.model import Manifest
from pylon.schema.validate import validate
from tests.schema.samples import a_field, an_app, an_entity, codes, manifests, parsed

NOTE = an_entity("Note", a_field("title"))
POLICY = {"name": "p", "entity": "Note", "allow": "true"}
ROUTE = {"path": "/", "mode": "live"}


def an_index(name: str, *fields: str) -> dict[str, Any]:
    return {"name": name, "fields": list(fields), "unique": False}


def called(name: str, *inputs: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "input": list(inputs)}


TABLE: list[tuple[str, dict[str, Any], str]] = [
    ("MANIFEST_VERSION_UNSUPPORTED", an_app(manifest_version=2), '"manifest_version" to 1'),
    ("SCHEMA_EMPTY", {**an_app(), "entities": []}, "at least one"),
    ("ENTITY_NAME_EMPTY", an_app(an_entity("")), "a name"),
    ("ENTITY_DUPLICATE", an_app(NOTE, NOTE), "Rename"),
    ("FIELD_NAME_EMPTY", an_app(an_entity("N", a_field(""))), "a name"),
    ("FIELD_DUPLICATE", an_app(an_entity("N", a_field(), a_field())), "Rename"),
    ("INDEX_NAME_EMPTY", an_app(an_entity(indexes=[an_index("", "title")])), "by_owner"),
    ("INDEX_NAME_DUPLICATE", an_app(an_entity(indexes=[an_index("i", "title")] * 2)), "Rename"),
    ("INDEX_FIELDS_EMPTY", an_app(an_entity(indexes=[an_index("i")])), "at least one field"),
    ("INDEX_FIELD_NOT_FOUND", an_app(an_entity(indexes=[an_index("i", "titel")])), '"title"?'),
    ("INDEX_FIELD_NOT_FOUND", an_app(an_entity(indexes=[an_index("i", "id")])), "leave it out"),
    ("FIELD_ID_TARGET_NOT_FOUND", an_app(an_entity("N", a_field("n", "id(M)"))), "Known: N."),
    (
        "FIELD_ID_TARGET_NOT_FOUND",
        an_app(NOTE, queries=[called("q", a_field("n", "id(note)"))]),
        'Did you mean "Note"?',
    ),
    (
        "FIELD_ID_TARGET_NOT_FOUND",
        an_app(NOTE, actions=[called("q", a_field("n", "id(Notes)"))]),
        'Did you mean "Note"?',
    ),
    ("QUERY_NAME_EMPTY", an_app(queries=[called("")]), "a name"),
    ("QUERY_DUPLICATE", an_app(queries=[called("q"), called("q")]), "Rename"),
    ("INPUT_FIELD_NAME_EMPTY", an_app(queries=[called("q", a_field(""))]), "a name"),
    ("INPUT_FIELD_DUPLICATE", an_app(queries=[called("q", a_field(), a_field())]), "Rename"),
    ("ACTION_NAME_EMPTY", an_app(actions=[called("")]), "a name"),
    ("ACTION_DUPLICATE", an_app(actions=[called("a"), called("a")]), "Rename"),
    ("INPUT_FIELD_NAME_EMPTY", an_app(actions=[called("a", a_field(""))]), "a name"),
    ("INPUT_FIELD_DUPLICATE", an_app(actions=[called("a", a_field(), a_field())]), "Rename"),
    ("POLICY_NAME_EMPTY", an_app(NOTE, policies=[{**POLICY, "name": ""}]), "Name it"),
    ("POLICY_DUPLICATE", an_app(NOTE, policies=[POLICY, POLICY]), "Rename"),
    ("POLICY_ALLOW_EMPTY", an_app(NOTE, policies=[{**POLICY, "allow": ""}]), "at least one slot"),
    ("POLICY_NO_TARGET", an_app(policies=[{"name": "p", "allow": "true"}]), '"entity"'),
    (
        "POLICY_ENTITY_NOT_FOUND",
        an_app(NOTE, policies=[{**POLICY, "entity": "Noet"}]),
        'Did you mean "Note"?',
    ),
    (
        "POLICY_ACTION_NOT_FOUND",
        an_app(NOTE, actions=[called("send")], policies=[{**POLICY, "action": "sent"}]),
        'Did you mean "send"?',
    ),
    ("ROUTE_PATH_EMPTY", an_app(routes=[{**ROUTE, "path": ""}]), "/"),
    ("ROUTE_PATH_NO_SLASH", an_app(routes=[{**ROUTE, "path": "about"}]), '"/about"'),
    ("ROUTE_PATH_DUPLICATE", an_app(routes=[ROUTE, ROUTE]), "Remove"),
    (
        "ROUTE_QUERY_NOT_FOUND",
        an_app(queries=[called("notes")], routes=[{**ROUTE, "query": "note"}]),
        'Did you mean "notes"?',
    ),
    (
        "ROUTE_PARAM_NOT_IN_QUERY",
        an_app(
            queries=[called("q", a_field("slug"))],
            routes=[{"path": "/a/:slog", "mode": "live", "query": "q"}],
        ),
        'Did you mean "slug"?',
    ),
    ("ROUTE_AUTH_INVALID", an_app(routes=[{**ROUTE, "auth": "admin"}]), '"public" or "user"'),
    ("FIELD_TYPE_UNKNOWN", an_app(an_entity("N", a_field("n", "number"))), 'Use "float".'),
    ("FIELD_TYPE_UNKNOWN", an_app(an_entity("N", a_field("n", "strng"))), '"string"?'),
    ("FIELD_TYPE_UNKNOWN", an_app(an_entity("N", a_field("n", "id()"))), "id(User)"),
    ("FIELD_TYPE_UNKNOWN", an_app(an_entity("N", a_field("n", "blob"))), "Types are"),
    (
        "INPUT_FIELD_TYPE_UNKNOWN",
        an_app(actions=[called("a", a_field("n", "boolean"))]),
        'Use "bool".',
    ),
]


@pytest.mark.parametrize(("code", "wire", "hint"), TABLE, ids=[row[0] for row in TABLE])
def test_each_mistake_is_told_alone_with_a_hint(code: str, wire: dict[str, Any], hint: str) -> None:
    (finding,) = validate(parsed(wire))
    assert (finding.severity, finding.code) == ("error", code)
    assert hint in (finding.hint or "")


def test_a_good_manifest_has_no_findings() -> None:
    wire = an_app(
        an_entity("Note", a_field("title"), a_field("owner", "id(User)", optional=True)),
        an_entity("User", a_field("email")),
        routes=[{"path": "/n/:id", "mode": "live", "query": "one", "auth": "user"}],
        queries=[called("one", a_field("id"))],
        policies=[POLICY],
    )
    assert validate(parsed(wire)) == []


def test_all_mistakes_are_told_at_once_in_the_order_of_the_passes() -> None:
    wire = an_app(
        an_entity("N", a_field("a", "id(X)"), a_field("a", "text"), indexes=[an_index("i", "z")]),
        an_entity("N"),
        manifest_version=9,
        queries=[called("q"), called("q")],
        actions=[called("")],
        policies=[{"name": "p"}],
        routes=[{"path": "x", "mode": "live", "query": "w", "auth": "y"}],
    )
    assert codes(validate(parsed(wire))) == [
        "MANIFEST_VERSION_UNSUPPORTED",
        "ENTITY_DUPLICATE",
        "FIELD_DUPLICATE",
        "INDEX_FIELD_NOT_FOUND",
        "FIELD_ID_TARGET_NOT_FOUND",
        "QUERY_DUPLICATE",
        "ACTION_NAME_EMPTY",
        "POLICY_ALLOW_EMPTY",
        "POLICY_NO_TARGET",
        "ROUTE_PATH_NO_SLASH",
        "ROUTE_QUERY_NOT_FOUND",
        "ROUTE_AUTH_INVALID",
        "FIELD_TYPE_UNKNOWN",
    ]


def test_the_findings_of_the_policy_check_stand_in_the_policy_pass() -> None:
    wire = an_app(NOTE, policies=[{"name": "p", "allow": "true"}], routes=[{**ROUTE, "path": "x"}])
    found = validate(
        parsed(wire), policy_check=lambda manifest: [error("POLICY_SYNTAX", manifest.name)]
    )
    assert codes(found) == ["POLICY_NO_TARGET", "POLICY_SYNTAX", "ROUTE_PATH_NO_SLASH"]


@given(manifests)
def test_no_manifest_breaks_the_checks(manifest: Manifest) -> None:
    for finding in validate(manifest):
        assert finding.hint
        assert finding.message
