"""Sentences about refusals: what failed of which policy, and what it saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pylon.identity import Identity
from pylon.policy.denial import SENTENCE_CHARACTERS_MAX, Denials
from pylon.schema.model import EntitySpec, FieldSpec, Manifest, PolicySpec

ANN = Identity(user_id="ann", roles=("writer",))


def app(*rules: str) -> Manifest:
    doc = EntitySpec(
        name="Doc",
        fields=(
            FieldSpec(name="ownerId", type="string"),
            FieldSpec(name="n", type="int"),
            FieldSpec(name="hush", type="string", private=True),
        ),
    )
    policies = tuple(
        PolicySpec(name=f"p{number}", entity="Doc", allow=rule) for number, rule in enumerate(rules)
    )
    return Manifest(name="app", version="1", entities=(doc,), policies=policies)


async def found_none(
    sql: str, params: Sequence[Any] = (), *, seconds: float | None = None
) -> list[tuple[bool]]:
    return [(False,)]


async def why(*rules: str, who: Identity = ANN, **row: Any) -> str:
    data = {"id": "1", "ownerId": "bob", "n": 7, "hush": "secret", **row}
    return await Denials(app(*rules)).why("Doc", "update", who, data, data, found_none)


@pytest.mark.parametrize(
    ("rule", "failed"),
    [
        ("data.n < 3", "`data.n < 3` does not hold, as data.n is 7"),
        ("data.n > 3 && data.n < 5", "`data.n < 5` does not hold, as data.n is 7"),
        (
            'data.n < 3 || auth.hasRole("editor")',
            '`data.n < 3` does not hold, as data.n is 7; `auth.hasRole("editor")` does not hold',
        ),
        (
            "!(data.n > 3 || data.n == 0)",
            "`!(data.n > 3 || data.n == 0)` does not hold, as data.n is 7",
        ),
        ('data.hush == "open"', '`data.hush == "open"` does not hold, as data.hush is private'),
        ("existing.n == 1", "`existing.n == 1` does not hold, as existing.n is 7"),
        (
            "exists(Doc, ownerId == data.ownerId && n == 1)",
            "`exists(Doc, ownerId == data.ownerId && n == 1)` does not hold,"
            ' as data.ownerId is "bob"',
        ),
        ("false", "`false` does not hold"),
    ],
)
async def test_what_failed_and_what_it_saw(rule: str, failed: str) -> None:
    assert await why(rule) == f'Policy "p0" (allow) says no to this update: {failed}.'


async def test_each_policy_that_says_no_is_named() -> None:
    told = await why("data.n < 3", "true", "data.n < 4")
    assert "p0" in told
    assert "p1" not in told
    assert "p2" in told


async def test_a_rule_with_a_mistake_and_none_at_all() -> None:
    assert "has a mistake" in await why("data.n <")
    assert await why() == "No policy of Doc says who may update it."


async def test_who_is_not_signed_in_is_told_so() -> None:
    assert (await why("data.n < 3", who=Identity())).endswith("The caller is not signed in.")


async def test_it_stays_short() -> None:
    assert len(await why('data.ownerId == "x"', ownerId="y" * 9_999)) < 300
    many = [f"data.n == {number}" for number in range(200)]
    assert len(await why(*many)) == SENTENCE_CHARACTERS_MAX


def test_without_a_row_only_the_caller_is_told_of() -> None:
    told = Denials(app('auth.hasRole("a") && exists(Doc, n == data.n)')).why_none(
        "Doc", "read", ANN
    )
    assert "hasRole" in told
    assert "data.n is" not in told
