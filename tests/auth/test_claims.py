"""What a row of `User` says of a caller, and whose claims a change touches."""

from __future__ import annotations

from typing import Any

import pytest

from pylon.auth.claims import UserClaims, claims_of, read_roles
from pylon.auth.model import NO_CLAIMS, Claims
from pylon.changes.model import Change, Seq
from pylon.policy.callers import claim_fields
from pylon.schema.model import AuthSpec, EntitySpec, FieldSpec, Manifest
from pylon.store.sqlite.store import SqliteStore


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        (None, []),
        (7, []),
        ("", []),
        (" , ,", []),
        ("editor", ["editor"]),
        ("editor, reviewer ,", ["editor", "reviewer"]),
        ('["editor", "two words", 7, null]', ["editor", "two words"]),
        ('  ["a"]', ["a"]),
        ("[]", []),
        ('["a"', []),
        ('["a"] b', []),
        (",".join(["role"] * 800), ["role"] * 800),
        (",".join(["role"] * 900), []),
        ("[" + "[]," * 2_000 + '"a"]', []),
    ],
)
def test_roles_are_a_json_array_or_names_with_commas(text: object, roles: list[str]) -> None:
    assert read_roles(text) == roles


def test_both_fields_of_roles_count_once() -> None:
    claims = claims_of({"roles": '["a", "b"]', "role": "b, c", "email": "x@example.com"})
    assert claims == Claims(roles=("a", "b", "c"), email="x@example.com")
    assert claims_of({"email": 7}) == NO_CLAIMS


def test_only_texts_of_user_say_something() -> None:
    fields = tuple(
        FieldSpec(name=name, type=kind, optional=True)
        for name, kind in (("name", "string"), ("role", "string"), ("roles", "int"))
    )
    user = EntitySpec(name="User", fields=fields)
    assert claim_fields(Manifest(name="app", version="1", entities=(user,))) == ("role",)
    assert claim_fields(Manifest(name="app", version="1", entities=())) == ()


def test_the_app_may_name_the_entity_of_its_users() -> None:
    roles = FieldSpec(name="roles", type="string", optional=True)
    entities = (EntitySpec(name="User"), EntitySpec(name="Member", fields=(roles,)))
    auth = AuthSpec(user="Member")
    app = Manifest(name="app", version="1", entities=entities, auth=auth)
    assert claim_fields(app) == ("roles",)


def test_a_list_of_texts_may_hold_the_roles() -> None:
    fields = (
        FieldSpec(name="roles", type="list(string)"),
        FieldSpec(name="role", type="list(int)"),
        FieldSpec(name="email", type="list(string)"),
    )
    entities = (EntitySpec(name="User", fields=fields),)
    assert claim_fields(Manifest(name="app", version="1", entities=entities)) == ("roles",)


async def test_claims_are_read_from_the_row(store: SqliteStore) -> None:
    async def prepare(tx: Any) -> None:
        await tx.execute('CREATE TABLE "User" (id TEXT PRIMARY KEY, role TEXT, email TEXT)')
        await tx.execute('INSERT INTO "User" VALUES (?, ?, ?)', ("ann", "editor", "a@b.example"))

    await store.write(prepare)
    claims = UserClaims(store, ("role", "email"))
    assert await claims.of("ann") == Claims(roles=("editor",), email="a@b.example")
    assert await claims.of("bob") == NO_CLAIMS


@pytest.mark.parametrize(
    ("entity", "before", "after", "forgotten"),
    [
        ("User", {"role": "a"}, {"role": "b"}, ["ann"]),
        ("User", {"role": "a", "name": "x"}, {"role": "a", "name": "y"}, []),
        ("User", {"role": "a"}, None, ["ann"]),
        ("User", None, {"role": "a"}, ["ann"]),
        ("Other", {"role": "a"}, {"role": "b"}, []),
    ],
)
async def test_a_change_of_claims_names_its_user(
    store: SqliteStore,
    entity: str,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    forgotten: list[str],
) -> None:
    told: list[str] = []
    hear = UserClaims(store, ("role",)).listener(told.append)
    change = Change(
        seq=Seq(1),
        entity=entity,
        row_id="ann",
        kind="update",
        before=before and {"id": "ann", **before},
        after=after and {"id": "ann", **after},
        patch=None,
        at=0.0,
    )
    hear([change], 1)
    assert told == forgotten
