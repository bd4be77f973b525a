"""Reading a manifest: every problem of its shape at once, and no text that breaks the reader."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pylon import codec
from pylon.schema.model import AuthDefault, JsonDefault, Manifest, NowDefault
from pylon.schema.parse import parse_manifest
from tests.schema.samples import a_field, an_app, an_entity, manifests, parsed
from tests.schema.test_source import json_values


def messages(wire: Any) -> list[str]:
    manifest, problems = parse_manifest(codec.encode(wire))
    assert (manifest is None) == bool(problems)
    assert {problem.code for problem in problems} <= {
        "MANIFEST_PARSE_ERROR",
        "MANIFEST_KEY_UNKNOWN",
    }
    return [problem.message for problem in problems]


@given(manifests)
def test_writing_and_reading_is_the_identity(manifest: Manifest) -> None:
    assert parse_manifest(codec.encode(manifest.to_wire())) == (manifest, [])


@given(st.binary() | st.text())
@example(b'{"manifest_version":1')
@example('"\\ud800"')
@example(b"[" * 5000)
def test_no_bytes_break_the_reader(text: bytes | str) -> None:
    manifest, problems = parse_manifest(text)
    assert (manifest is None) == bool(problems)


KEYS = (
    "manifest_version name version entities routes queries actions policies fields indexes search "
    "relations crdt default private type optional unique input allow allowRead text"
)
keys = st.sampled_from(KEYS.split())


@given(
    st.recursive(
        json_values,
        lambda inner: st.dictionaries(keys, inner, max_size=8) | st.lists(inner, max_size=3),
        max_leaves=30,
    )
)
def test_no_json_breaks_the_reader(value: object) -> None:
    messages(value)


@given(st.data())
def test_no_misplaced_value_breaks_the_reader(data: st.DataObject) -> None:
    wire = data.draw(manifests).to_wire()
    place: Any = wire
    while isinstance(place, dict | list) and place:
        steps = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(steps))
        if data.draw(st.booleans()):
            place[key] = data.draw(json_values)
            break
        place = place[key]
    messages(wire)


def test_the_shortest_manifest_gets_the_defaults() -> None:
    manifest = parsed(an_app(an_entity("T", a_field("a"), search={})))
    entity = manifest.entities[0]
    assert (entity.crdt, entity.search, entity.relations) == (True, None, ())
    assert (manifest.queries, manifest.actions, manifest.policies) == ((), (), ())


def test_null_is_read_where_it_may_stand() -> None:
    policy = {"name": "p", "entity": None, "action": None, "allowRead": None, "allowWrite": ""}
    route = {"path": "/", "mode": "live", "query": None, "auth": None}
    entity = an_entity("T", a_field("a", crdt=None, default=None), search=None)
    manifest = parsed(an_app(entity, routes=[route], policies=[policy]))
    assert manifest.policies[0].expressions() == {}
    assert manifest.entities[0].fields[0].crdt is None


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("x", "x"),
        (3, 3),
        (False, False),
        ({"$auth": "tenantId"}, AuthDefault("tenantId")),
        ({"$now": True}, NowDefault()),
        ([], JsonDefault("[]")),
        ({"a": [1, None]}, JsonDefault('{"a":[1,null]}')),
    ],
)
def test_defaults_are_read(written: Any, read: Any) -> None:
    manifest = parsed(an_app(an_entity("T", a_field("a", default=written))))
    assert manifest.entities[0].fields[0].default == read


@pytest.mark.parametrize("written", [{"$now": 1}, {"$auth": "x"}, {"$now": True, "a": 1}])
def test_other_defaults_are_refused(written: Any) -> None:
    (message,) = messages(an_app(an_entity("T", a_field("a", default=written))))
    assert message.startswith("$.entities[0].fields[0].default: ")


LEVELS = {
    "manifest": an_app(novel=1),
    "entity": an_app(an_entity("T", novel=1)),
    "field": an_app(an_entity("T", a_field("a", novel=1))),
    "index": an_app(
        an_entity("T", indexes=[{"name": "i", "fields": ["a"], "unique": False, "novel": 1}])
    ),
    "relation": an_app(
        an_entity("T", relations=[{"name": "r", "target": "T", "field": "a", "novel": 1}])
    ),
    "search": an_app(an_entity("T", search={"novel": 1})),
    "route": an_app(routes=[{"path": "/", "mode": "live", "novel": 1}]),
    "callable": an_app(actions=[{"name": "q", "novel": 1}]),
    "policy": an_app(policies=[{"name": "p", "novel": 1}]),
    "auth": an_app(auth={"novel": 1}),
}


@pytest.mark.parametrize("level", LEVELS)
def test_a_key_that_is_not_known_is_refused_at_every_level(level: str) -> None:
    manifest, (problem,) = parse_manifest(codec.encode(LEVELS[level]), "app.json")
    assert manifest is None
    assert (problem.severity, problem.code) == ("error", "MANIFEST_KEY_UNKNOWN")
    assert problem.message.endswith(f".novel: the server does not know this key of a {level}")
    assert problem.hint is not None
    assert "x-" in problem.hint


@pytest.mark.parametrize(
    ("wire", "hint"),
    [
        (an_app(policies=[{"name": "p", "allowRaed": "false"}]), 'Did you mean "allowRead"?'),
        (an_app(an_entity("T", a_field("a", server_only=True))), 'Did you mean "serverOnly"?'),
        (an_app(an_entity("T", a_field("a", privat=True))), 'Did you mean "private"?'),
    ],
)
def test_a_misspelt_rule_is_refused_with_the_key_that_was_meant(wire: Any, hint: str) -> None:
    _, (problem,) = parse_manifest(codec.encode(wire))
    assert (problem.code, problem.hint) == ("MANIFEST_KEY_UNKNOWN", hint)


def test_words_for_people_are_passed_over_with_a_warning() -> None:
    wire = an_app(
        an_entity("T", a_field("a", description="x"), **{"x-team": 1}),
        **{"$schema": "./manifest.schema.json"},
    )
    manifest, problems = parse_manifest(codec.encode(wire))
    assert manifest is not None
    assert [(each.severity, each.code) for each in problems] == [
        ("warning", "MANIFEST_KEY_IGNORED"),
        ("warning", "MANIFEST_KEY_IGNORED"),
    ]


def test_the_words_of_newer_sdks_mean_what_they_mean_there() -> None:
    wire = an_app(
        an_entity(
            "Member",
            a_field("secret", serverOnly=True),
            a_field("plan", readonly=True),
            a_field("state", serverSet=True, default="new"),
            indexes=[
                {"name": "one", "fields": ["plan"], "unique": True, "where": "plan = 'hobby'"}
            ],
        ),
        auth={
            "user": "Member",
            "session": None,
            "trusted_origins": ["https://app.example"],
        },
    )
    manifest = parsed(wire)
    secret, plan, state = manifest.entities[0].fields
    assert (secret.is_private, secret.readonly, secret.writeOnce) == (True, False, False)
    assert (plan.is_private, plan.readonly, plan.writeOnce) == (False, False, True)
    assert (state.is_private, state.readonly, state.writeOnce) == (False, True, False)
    assert manifest.entities[0].indexes[0].where == "plan = 'hobby'"
    assert manifest.user_entity == "Member"
    assert manifest.trusted_origins == ("https://app.example",)
    assert parsed(manifest.to_wire()) == manifest


def test_every_problem_is_told_at_once_in_the_order_of_the_text() -> None:
    wire = an_app(
        an_entity("T", a_field("a", optional="yes", crdt="lw"), {"name": "b"}),
        {"name": 7, "fields": {}, "indexes": None},
        name=None,
    )
    wire["manifest_version"] = True
    assert messages(wire) == [
        "$.manifest_version: expected a whole number from 0, got true",
        "$.name: expected a string, got null",
        "$.entities[0].fields[0].optional: expected true or false, got a string",
        '$.entities[0].fields[0].crdt: "lw" is not known here',
        '$.entities[0].fields[1]: the key "type" is missing',
        '$.entities[0].fields[1]: the key "optional" is missing',
        '$.entities[0].fields[1]: the key "unique" is missing',
        "$.entities[1].name: expected a string, got a number",
        "$.entities[1].fields: expected an array, got an object",
        "$.entities[1].indexes: expected an array, got null",
    ]


def test_a_key_that_comes_twice_is_an_error_with_its_place() -> None:
    text = codec.encode(an_app()).replace(b'"version":', b'"name":"x",\n"version":')
    manifest, (problem,) = parse_manifest(text, "app.json")
    assert manifest is None
    assert problem.message == "$.name: this key comes twice in its object"
    assert problem.to_wire()["span"] == {"file": "app.json", "line": 1, "column": 38}


def test_a_misspelt_key_is_found() -> None:
    wire = an_app()
    wire["entites"] = wire.pop("entities")
    _, (problem,) = parse_manifest(codec.encode(wire), "app.json")
    assert problem.hint == 'Is it this key that is misspelt: "entites"?'


def test_a_syntax_error_has_a_span() -> None:
    _, (problem,) = parse_manifest(b'{\n "name": nope}', "app.json")
    assert problem.span is not None
    assert (problem.span.file, problem.span.line) == ("app.json", 2)
