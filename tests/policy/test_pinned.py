"""Which field a read rule pins, and to what for whom: wherever it says so, rows bear it out."""

from __future__ import annotations

import pytest

from pylon.identity import ADMIN, ANONYMOUS, Identity
from pylon.policy.engine import PolicyEngine
from pylon.policy.pinned import pinned_field
from pylon.schema.model import Manifest
from tests.data.searching import column, manifest_of
from tests.schema.samples import an_app, an_entity, parsed

ENTITY = an_entity(
    "Note",
    *map(column, ("ownerId", "tenantId", "text")),
    column("folded", caseInsensitive=True),
    column("at", "datetime"),
    column("isPublic", "bool"),
    crdt=False,
)
ANN = Identity(user_id="ann", tenant_id="acme")
SUPPORT = Identity(user_id="sue", tenant_id="acme", roles=("support",))

OWNER = "auth.userId == data.ownerId"


def of(rule: str) -> Manifest:
    return manifest_of(ENTITY, policies={"Note": rule})


@pytest.mark.parametrize(
    ("rule", "field", "ann", "support"),
    [
        (OWNER, "ownerId", "ann", "sue"),
        ("data.ownerId == auth.userId && data.isPublic == true", "ownerId", "ann", "sue"),
        ("data.tenantId == auth.tenantId", "tenantId", "acme", "acme"),
        (f"data.tenantId == auth.tenantId && {OWNER}", "ownerId", "ann", "sue"),
        (f"auth.hasRole('support') || {OWNER}", "ownerId", "ann", None),
        (f"{OWNER} || auth.hasRole('support') && data.isPublic == true", "ownerId", "ann", None),
        (
            f"auth.hasRole('support') || data.tenantId == auth.tenantId && {OWNER}",
            *("ownerId", "ann", None),
        ),
        (f"auth.userId != null && {OWNER}", "ownerId", "ann", "sue"),
        # Nothing that holds of every row:
        ("true", None, None, None),
        (f"data.isPublic == true || {OWNER}", None, None, None),
        (f"{OWNER} || data.tenantId == auth.tenantId", None, None, None),
        (f"!({OWNER})", None, None, None),
        ("auth.userId != data.ownerId", None, None, None),
        (f"({OWNER}) == (data.isPublic == true)", None, None, None),
        ("data.ownerId == 'ann'", None, None, None),
        ("auth.userId == data.id", None, None, None),
        ("auth.userId == data.folded", None, None, None),
        ("exists(Note, ownerId == auth.userId && tenantId == data.tenantId)", None, None, None),
        ("auth.userId == data.missing", None, None, None),
    ],
)
def test_what_a_rule_pins(rule: str, field: str | None, ann: str | None, support: str) -> None:
    manifest = of(rule)
    read = PolicyEngine(manifest, open_by_default=False).entity("Note").read
    assert pinned_field(manifest, manifest.entities[0]) == read.pinned_field == field
    assert (read.pinned(ANN), read.pinned(SUPPORT)) == (ann, support)
    assert read.pinned(ADMIN) is None
    assert read.pinned(ANONYMOUS) is None


def test_all_policies_of_an_entity_count_and_other_slots_do_not() -> None:
    policies = [
        {"name": "a", "entity": "Note", "allowRead": "data.isPublic == true"},
        {"name": "b", "entity": "Note", "allowRead": OWNER},
        {"name": "c", "entity": "Note", "allowUpdate": "data.tenantId == auth.tenantId"},
    ]
    for chosen, field in ((policies, "ownerId"), (policies[:1], None), (policies[2:], None)):
        manifest = parsed(an_app(ENTITY, policies=chosen))
        read = PolicyEngine(manifest, open_by_default=True).entity("Note").read
        assert pinned_field(manifest, manifest.entities[0]) == read.pinned_field == field
