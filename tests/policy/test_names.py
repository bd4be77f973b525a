"""Which names a rule may use, and what is said of those that it may not."""

from __future__ import annotations

import pytest

from pylon.policy.formula import Attribute, Column, Constant, Input, Member, Term
from pylon.policy.names import BadName, resolve
from pylon.policy.nodes import Path
from pylon.policy.slots import Slot
from pylon.schema.model import EntitySpec, FieldSpec

DOC = EntitySpec(
    name="Doc",
    fields=(FieldSpec(name="ownerId", type="id(User)"), FieldSpec(name="price", type="float")),
)
TEAM = EntitySpec(name="Team", fields=(FieldSpec(name="docId", type="id(Doc)"),))


@pytest.mark.parametrize(
    ("name", "slot", "term"),
    [
        ("auth.userId", "read", Attribute("userId", "string")),
        ("auth.user_id", "action", Attribute("userId", "string")),
        ("auth.isAdmin", "read", Constant(False, "bool")),
        ("auth.roles", "read", Attribute("roles", "roles")),
        ("data.ownerId", "insert", Column("ownerId", "string")),
        ("data.id", "read", Column("id", "string")),
        ("data.price", "read", Column("price", "number", is_float=True)),
        ("existing.price", "update", Column("price", "number", stored=True, is_float=True)),
        ("input.a.b", "action", Input(("a", "b"))),
    ],
)
def test_a_name_stands_for_a_term(name: str, slot: Slot, term: Term) -> None:
    assert resolve(Path(name), None if slot == "action" else DOC, slot) == term


@pytest.mark.parametrize(
    ("name", "slot", "code", "hint"),
    [
        ("auth.userID", "read", "POLICY_UNKNOWN_NAME", "Did you mean `auth.userId`?"),
        ("auth", "read", "POLICY_UNKNOWN_NAME", "Known: `auth.userId`, "),
        ("data.owner", "read", "POLICY_UNKNOWN_NAME", "Did you mean `data.ownerId`?"),
        ("data", "read", "POLICY_UNKNOWN_NAME", "Known: `data.id`, `data.ownerId`, "),
        ("existing.price", "read", "POLICY_NAME_NOT_HERE", "Only an update"),
        ("data.price", "action", "POLICY_NAME_NOT_HERE", "An action has no row"),
        ("input.a", "read", "POLICY_NAME_NOT_HERE", "The row is `data.<field>`"),
        ("input.a..b", "action", "POLICY_UNKNOWN_NAME", "Write `input.<name>`."),
        ("ownerId", "read", "POLICY_UNKNOWN_NAME", "Names begin with `auth.`"),
    ],
)
def test_a_bad_name_is_told_with_a_way_out(name: str, slot: Slot, code: str, hint: str) -> None:
    bad = resolve(Path(name), None if slot == "action" else DOC, slot)
    assert isinstance(bad, BadName)
    assert (bad.code, bad.hint[: len(hint)]) == (code, hint)


def test_bare_names_are_the_other_entitys_inside_of_an_exists() -> None:
    assert resolve(Path("docId"), DOC, "read", TEAM) == Member("docId", "string")
    assert resolve(Path("id"), DOC, "read", TEAM) == Member("id", "string")
    assert resolve(Path("data.ownerId"), DOC, "read", TEAM) == Column("ownerId", "string")
    bad = resolve(Path("ownerId"), DOC, "read", TEAM)
    assert isinstance(bad, BadName)
    assert bad.message == "`Team` has no field `ownerId`"
