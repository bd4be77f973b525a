"""The wire form of a manifest: which keys are there, in which order."""

from __future__ import annotations

import pytest

from pylon import codec
from pylon.schema.model import (
    AuthSpec,
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


def test_empty_parts_are_left_out_and_the_rest_is_always_there() -> None:
    manifest = Manifest(name="a", version="1", entities=(EntitySpec(name="T"),))
    assert codec.encode(manifest.to_wire()).decode() == (
        '{"manifest_version":1,"name":"a","version":"1",'
        '"entities":[{"name":"T","fields":[],"indexes":[],"crdt":true}],'
        '"routes":[],"queries":[],"actions":[],"policies":[]}'
    )


def test_every_key_stands_in_the_order_of_the_specification() -> None:
    entity = EntitySpec(
        name="T",
        fields=(
            FieldSpec(
                name="f",
                type="datetime",
                crdt="lww",
                default=NowDefault(),
                private=True,
                readonly=True,
                writeOnce=True,
            ),
        ),
        indexes=(IndexSpec(name="i", fields=("f",)),),
        relations=(RelationSpec(name="r", target="U", field="f"),),
        search=SearchSpec(text=("f",)),
    )
    wire = entity.to_wire()
    assert list(wire) == ["name", "fields", "indexes", "relations", "search", "crdt"]
    assert list(wire["fields"][0]) == [
        *("name", "type", "optional", "unique", "crdt", "default", "private", "serverSet"),
        "writeOnce",
    ]
    assert wire["fields"][0]["default"] == {"$now": True}
    assert wire["indexes"] == [{"name": "i", "fields": ["f"], "unique": False}]
    assert wire["relations"] == [{"name": "r", "target": "U", "field": "f", "many": False}]
    assert wire["search"] == {"text": ["f"], "facets": [], "sortable": []}
    policy = PolicySpec(name="p", entity="T", allow="", allowRead="true", allowWrite="false")
    assert list(policy.to_wire()) == ["name", "entity", "allowRead", "allowWrite"]


def test_routes_and_callables_leave_out_what_is_not_set() -> None:
    manifest = Manifest(
        name="a",
        version="1",
        routes=(RouteSpec(path="/", mode="live"), RouteSpec(path="/x", mode="live", query="q")),
        queries=(CallableSpec(name="q"),),
    )
    wire = manifest.to_wire()
    assert wire["routes"] == [
        {"path": "/", "mode": "live"},
        {"path": "/x", "mode": "live", "query": "q"},
    ]
    assert wire["queries"] == [{"name": "q"}]


def test_policies_can_be_kept_from_the_public() -> None:
    manifest = Manifest(name="a", version="1", policies=(PolicySpec(name="p", allow="true"),))
    assert manifest.to_wire()["policies"] == [{"name": "p", "allow": "true"}]
    assert manifest.to_wire(include_policies=False)["policies"] == []


def test_the_public_manifest_names_no_private_field() -> None:
    entity = EntitySpec(
        name="T",
        fields=(
            FieldSpec(name="open", type="string"),
            FieldSpec(name="secretOwner", type="id(T)", private=True),
            FieldSpec(name="passwordHash", type="string"),
        ),
        indexes=(
            IndexSpec(name="a", fields=("open",)),
            IndexSpec(name="b", fields=("open", "secretOwner")),
            IndexSpec(name="c", fields=("open",), where="secretOwner IS NULL"),
            IndexSpec(name="d", fields=("open",), where="open = 'x'"),
        ),
        relations=(
            RelationSpec(name="up", target="T", field="open"),
            RelationSpec(name="of", target="T", field="secretOwner"),
        ),
    )
    manifest = Manifest(
        name="a",
        version="1",
        entities=(
            entity,
            EntitySpec(
                name="U",
                relations=(RelationSpec(name="ts", target="T", field="secretOwner", many=True),),
            ),
        ),
        auth=AuthSpec(user="T", trusted_origins=("https://internal.example",)),
    )
    public = manifest.public.to_wire()
    assert not any(word in str(public) for word in ("secretOwner", "passwordHash", "internal"))
    first, second = manifest.public.entities
    assert second.relations == ()
    assert [index.name for index in first.indexes] == ["a", "d"]
    assert [relation.name for relation in first.relations] == ["up"]


@pytest.mark.parametrize(
    ("type_", "kind", "target"),
    [
        ("string", "string", None),
        ("richtext", "richtext", None),
        ("id(User)", "id", "User"),
        ("id()", "string", None),
        ("id(User", "string", None),
        ("jsonb", "string", None),
    ],
)
def test_a_type_has_a_kind_and_perhaps_a_target(type_: str, kind: str, target: str | None) -> None:
    field = FieldSpec(name="f", type=type_)
    assert (field.kind, field.target) == (kind, target)


def test_a_password_hash_is_private_from_the_start() -> None:
    assert FieldSpec(name="passwordHash", type="string").is_private
    assert FieldSpec(name="f", type="string", private=True).is_private
    assert not FieldSpec(name="f", type="string").is_private


def test_a_manifest_is_a_key() -> None:
    def make() -> Manifest:
        return Manifest(name="a", version="1", entities=(EntitySpec(name="T"),))

    first = make()
    assert first.entities_by_name["T"].fields_by_name == {}
    assert hash(first) == hash(make())
    assert first == make()
