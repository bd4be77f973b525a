"""Manifests to start a test from, and Hypothesis strategies that make arbitrary ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from pylon import codec
from pylon.schema.diagnostics import Diagnostic
from pylon.schema.model import (
    CRDT_CONTAINERS,
    AuthDefault,
    CallableSpec,
    EntitySpec,
    FieldSpec,
    IndexSpec,
    Manifest,
    NowDefault,
    PolicySpec,
    RelationSpec,
    RouteSpec,
    SearchSpec,
)
from pylon.schema.parse import parse_manifest


def a_field(name: str = "title", type_: str = "string", **keys: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, "optional": False, "unique": False, **keys}


def an_entity(name: str = "Note", *fields: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"name": name, "fields": list(fields) or [a_field()], "indexes": [], **keys}


def an_app(*entities: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """The JSON of an app; with one plain entity when none is given."""
    return {
        "manifest_version": 1,
        "name": "notes",
        "version": "1",
        "entities": list(entities) or [an_entity()],
        "routes": [],
        **keys,
    }


def parsed(wire: dict[str, Any]) -> Manifest:
    manifest, problems = parse_manifest(codec.encode(wire))
    assert manifest is not None, problems
    return manifest


def codes(found: list[Diagnostic]) -> list[str]:
    return [finding.code for finding in found]


_text = st.text(st.characters(codec="utf-8"), max_size=8)
_texts = st.lists(_text, max_size=3).map(tuple)
_maybe = st.none() | _text
_rule = st.none() | _text.filter(bool)
_defaults = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text
    | st.builds(AuthDefault, st.sampled_from(["userId", "tenantId"]))
    | st.just(NowDefault())
)
_fields = st.builds(
    FieldSpec,
    name=_text,
    type=_text,
    optional=st.booleans(),
    unique=st.booleans(),
    crdt=st.none() | st.sampled_from(CRDT_CONTAINERS),
    default=_defaults,
    private=st.booleans(),
    readonly=st.booleans(),
    writeOnce=st.booleans(),
)
_entities = st.builds(
    EntitySpec,
    name=_text,
    fields=st.lists(_fields, max_size=3).map(tuple),
    indexes=st.lists(
        st.builds(
            IndexSpec, name=_text, fields=_texts, unique=st.booleans(), where=st.none() | _text
        ),
        max_size=2,
    ).map(tuple),
    relations=st.lists(
        st.builds(RelationSpec, name=_text, target=_text, field=_text, many=st.booleans()),
        max_size=2,
    ).map(tuple),
    search=st.none()
    | st.builds(SearchSpec, text=_texts, facets=_texts, sortable=_texts).filter(bool),
    crdt=st.booleans(),
)
_callables = st.builds(CallableSpec, name=_text, input=st.lists(_fields, max_size=2).map(tuple))

manifests = st.builds(
    Manifest,
    name=_text,
    version=_text,
    manifest_version=st.integers(0, 2**32 - 1),
    entities=st.lists(_entities, max_size=3).map(tuple),
    routes=st.lists(
        st.builds(RouteSpec, path=_text, mode=_text, query=_maybe, auth=_maybe), max_size=2
    ).map(tuple),
    queries=st.lists(_callables, max_size=2).map(tuple),
    actions=st.lists(_callables, max_size=2).map(tuple),
    policies=st.lists(
        st.builds(
            PolicySpec,
            name=_text,
            entity=_maybe,
            action=_maybe,
            allow=_text,
            allowRead=_rule,
            allowInsert=_rule,
            allowUpdate=_rule,
            allowDelete=_rule,
            allowWrite=_rule,
        ),
        max_size=3,
    ).map(tuple),
)
