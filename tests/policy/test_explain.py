"""Explanations: each part of an expression with its verdict and the values of its names."""

from __future__ import annotations

from typing import Any

from pylon.identity import Identity
from pylon.policy.explain import Case, Part, explain
from pylon.policy.lookup import UNCONNECTED, Lookup
from pylon.policy.syntax import parse
from pylon.schema.model import EntitySpec, FieldSpec

DOC = EntitySpec(
    name="Doc",
    fields=(
        FieldSpec(name="ownerId", type="string"),
        FieldSpec(name="n", type="int"),
        FieldSpec(name="isOpen", type="bool"),
    ),
)


async def explained(text: str, row: dict[str, Any], **who: Any) -> Part:
    case = Case(
        entity=DOC,
        slot="read",
        identity=Identity(**who),
        data=row,
        existing={},
        lookup=Lookup(UNCONNECTED),
        entities={},
    )
    return await explain(parse(text), case)


async def test_parts_are_judged_one_by_one() -> None:
    part = await explained(
        "auth.userId == data.ownerId && !(data.n < 3 || data.isOpen)",
        {"ownerId": "ann", "n": 7, "isOpen": True},
        user_id="ann",
    )
    assert list(part.lines()) == [
        "no  auth.userId == data.ownerId && !(data.n < 3 || data.isOpen)",
        'yes   auth.userId == data.ownerId    (auth.userId is "ann", data.ownerId is "ann")',
        "no    !(data.n < 3 || data.isOpen)",
        "yes     data.n < 3 || data.isOpen",
        "no        data.n < 3    (data.n is 7)",
        "yes       data.isOpen    (data.isOpen is true)",
    ]


async def test_the_same_for_programs() -> None:
    part = await explained("auth.email in ['a', auth.tenantId] || true", {}, email="a")
    assert part.to_wire() == {
        "text": 'auth.email in ["a", auth.tenantId] || true',
        "holds": True,
        "parts": [
            {
                "text": 'auth.email in ["a", auth.tenantId]',
                "holds": True,
                "values": {"auth.email": "a", "auth.tenantId": None},
            },
            {"text": "true", "holds": True},
        ],
    }


async def test_roles_are_a_list_and_null_is_nobodys() -> None:
    part = await explained("'editor' in auth.roles", {}, roles=("editor",))
    assert (part.holds, part.values) == (True, {"auth.roles": ["editor"]})
    part = await explained("auth.userId == data.ownerId", {"ownerId": None})
    assert (part.holds, part.values) == (False, {"auth.userId": None, "data.ownerId": None})
