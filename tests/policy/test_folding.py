"""Case-insensitive fields in rules: who is found by them, and what is bound."""

from __future__ import annotations

import pytest

from pylon.changes.epochs import subject_of, subjects_of
from pylon.identity import Identity
from pylon.policy.audience import Selector, found_by
from pylon.policy.engine import PolicyEngine
from pylon.schema.model import EntitySpec, FieldSpec, Manifest, PolicySpec

INVITE = EntitySpec(
    name="Invite",
    fields=(
        FieldSpec(name="mail", type="string", caseInsensitive=True),
        FieldSpec(name="ownerId", type="string", caseInsensitive=True),
        FieldSpec(name="plain", type="string"),
    ),
)


def engine(rule: str) -> PolicyEngine:
    policy = PolicySpec(name="p", entity="Invite", allowRead=rule)
    manifest = Manifest(name="app", version="1", entities=(INVITE,), policies=(policy,))
    return PolicyEngine(manifest, open_by_default=False)


@pytest.mark.parametrize(
    ("rule", "selectors"),
    [
        ("data.mail == auth.email", (Selector(attribute="email", field="mail"),)),
        ("data.plain == auth.email", (Selector(attribute="email", field="plain"),)),
        # Callers are kept by their id as it is written.
        ("data.ownerId == auth.userId", None),
    ],
)
def test_who_is_found(rule: str, selectors: tuple[Selector, ...] | None) -> None:
    assert engine(rule).entity("Invite").read.audience.selectors == selectors


def test_callers_are_found_by_their_address_in_small_letters() -> None:
    assert found_by("email", "Kim@X") == "kim@x"
    assert found_by("userId", "Kim") == "Kim"
    assert found_by("email", None) is None
    kim = Identity(user_id="Kim", email="KIM@x")
    assert subject_of("email", "kim@X") in subjects_of(kim)
    assert subject_of("userId", "kim") not in subjects_of(kim)


@pytest.mark.parametrize(
    ("rule", "sql", "params"),
    [
        ("data.mail == auth.email", 'lower(t."mail") = ?', ("kim@x",)),
        ('data.mail == "ÀB"', 'lower(t."mail") = ?', ("Àb",)),
        ("data.mail == data.plain", 'lower(t."mail") = lower(t."plain")', ()),
        ("data.plain == auth.email", 't."plain" = ?', ("Kim@X",)),
    ],
)
def test_what_is_asked_of_the_database(rule: str, sql: str, params: tuple[str, ...]) -> None:
    where = engine(rule).entity("Invite").read.where(Identity(user_id="k", email="Kim@X"))
    assert where.sql == sql
    assert tuple(where.params) == params
