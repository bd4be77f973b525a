"""Warnings about policies that are right: where an index is missing, and where roles are loose."""

from __future__ import annotations

import pytest

from pylon.policy.advice import advise
from pylon.schema.model import EntitySpec, FieldSpec, IndexSpec, Manifest, PolicySpec


def an_entity(name: str, *fields: str, index: str = "", readonly: str = "") -> EntitySpec:
    return EntitySpec(
        name=name,
        fields=tuple(
            FieldSpec(name=field, type="string", readonly=field == readonly) for field in fields
        ),
        indexes=(IndexSpec(name="i", fields=tuple(index.split())),) if index else (),
    )


def an_app(*entities: EntitySpec, **rules: str) -> Manifest:
    policies = tuple(PolicySpec(name=name, entity=name, allow=text) for name, text in rules.items())
    return Manifest(name="app", version="1", entities=entities, policies=policies)


MEMBER = "exists(Member, orgId == data.orgId && userId == auth.userId)"


@pytest.mark.parametrize(
    ("manifest", "hint"),
    [
        (an_app(an_entity("Doc", "ownerId"), Doc="data.ownerId == auth.userId"), "ownerId"),
        (
            an_app(an_entity("Doc", "orgId"), an_entity("Member", "orgId", "userId"), Doc=MEMBER),
            'index("userId", "orgId")',
        ),
        (
            an_app(an_entity("Doc"), an_entity("Member", "n"), Doc="exists(Member, n != 'x')"),
            "Compare one",
        ),
        (an_app(an_entity("User", "roles"), User="data.id == auth.userId"), "readonly=True"),
    ],
)
def test_warned(manifest: Manifest, hint: str) -> None:
    found = {(each.severity, each.message): each.hint or "" for each in advise(manifest)}
    assert found
    assert all(severity == "warning" for severity, _ in found)
    assert all(hint in each for each in found.values())


@pytest.mark.parametrize(
    "manifest",
    [
        an_app(an_entity("Doc", "ownerId")),
        an_app(an_entity("Doc", "ownerId", index="ownerId"), Doc="data.ownerId == auth.userId"),
        an_app(an_entity("Doc", "a"), Doc="data.id == auth.userId || data.a == 'open'"),
        an_app(
            an_entity("Doc", "orgId"),
            an_entity("Member", "orgId", "userId", index="orgId userId"),
            Doc=MEMBER,
        ),
        an_app(an_entity("User", "roles", readonly="roles"), User="data.id == auth.userId"),
        an_app(an_entity("User", "roles"), User="false"),
    ],
)
def test_nothing_to_say(manifest: Manifest) -> None:
    assert advise(manifest) == []
