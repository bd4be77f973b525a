"""Mistakes are found, each once, at their place and with a code."""

from __future__ import annotations

import pytest

from pylon.policy.check import check, check_manifest
from pylon.policy.slots import Slot
from pylon.policy.syntax import parse
from pylon.schema.model import CallableSpec, EntitySpec, FieldSpec, Manifest, PolicySpec

THING = EntitySpec(
    name="Thing",
    fields=(
        FieldSpec(name="title", type="string"),
        FieldSpec(name="at", type="datetime"),
        FieldSpec(name="ownerId", type="id(User)"),
        FieldSpec(name="count", type="int"),
        FieldSpec(name="share", type="float"),
        FieldSpec(name="done", type="bool"),
    ),
)


@pytest.mark.parametrize(
    "text",
    [
        "auth.userId == data.ownerId",
        "auth.user_id == data.id || auth.tenant_id != null || auth.is_guest || auth.is_admin",
        "auth.isGuest == data.done && auth.isAdmin != true && auth.email == data.title",
        'data.count == "3" && data.share != "1.5e3" && data.count < data.share',
        "data.count in [1, 2.5, '3', data.share] && data.at >= '2024-01-01'",
        "data.title in auth.roles && 'x' in auth.roles && auth.userId in auth.roles",
        "auth.hasRole('a') || auth.has_role('a') || auth.hasAnyRole('a', 'b',)",
        "(data.done || data.count) == auth.isGuest && !data.title != (true)",
        "data.title == null && data.done != null && null == null && !null && ''",
        "exists(Thing, id == data.id && ownerId == auth.userId && title in auth.roles)",
        "!exists(Thing, count > data.share || done) && exists(Thing, true) == data.done",
    ],
)
def test_right_expressions_have_no_problem(text: str) -> None:
    assert check(parse(text), entity=THING, slot="read", entities={"Thing": THING}) == []


@pytest.mark.parametrize(
    ("text", "code", "offset"),
    [
        ("record.ownerId == auth.userId", "POLICY_UNKNOWN_NAME", 0),
        ("true && user", "POLICY_UNKNOWN_NAME", 8),
        ("auth.name == null", "POLICY_UNKNOWN_NAME", 0),
        ("auth", "POLICY_UNKNOWN_NAME", 0),
        ("auth.isAdmin.x", "POLICY_UNKNOWN_NAME", 0),
        ("data", "POLICY_UNKNOWN_NAME", 0),
        ("data.", "POLICY_UNKNOWN_NAME", 0),
        ("auth.userId != data.ownerID", "POLICY_UNKNOWN_NAME", 15),
        ("data.author.id == auth.userId", "POLICY_UNKNOWN_NAME", 0),
        ("data.title in data.members", "POLICY_UNKNOWN_NAME", 14),
        ("existing.ownerId == auth.userId", "POLICY_NAME_NOT_HERE", 0),
        ("input.x == 1", "POLICY_NAME_NOT_HERE", 0),
        ("data.done == 'true'", "POLICY_TYPE_MISMATCH", 10),
        ("data.done != 1", "POLICY_TYPE_MISMATCH", 10),
        ("data.count == 'three'", "POLICY_TYPE_MISMATCH", 11),
        ("data.count == '03'", "POLICY_TYPE_MISMATCH", 11),
        ("data.title == 3", "POLICY_TYPE_MISMATCH", 11),
        ("data.count == auth.userId", "POLICY_TYPE_MISMATCH", 11),
        ("auth.userId != data.count", "POLICY_TYPE_MISMATCH", 12),
        ("auth.isGuest == 'yes'", "POLICY_TYPE_MISMATCH", 13),
        ("data.count < '3'", "POLICY_TYPE_MISMATCH", 11),
        ("data.count < null", "POLICY_TYPE_MISMATCH", 11),
        ("data.done < true", "POLICY_TYPE_MISMATCH", 10),
        ("(data.done || true) < 3", "POLICY_TYPE_MISMATCH", 20),
        ("!data.title == null", "POLICY_TYPE_MISMATCH", 12),
        ("data.count in [1, 'x']", "POLICY_TYPE_MISMATCH", 18),
        ("!data.title in ['a']", "POLICY_TYPE_MISMATCH", 16),
        ("auth.roles", "POLICY_TYPE_MISMATCH", 0),
        ("auth.roles == 'x'", "POLICY_TYPE_MISMATCH", 11),
        ("auth.userId in data.title", "POLICY_TYPE_MISMATCH", 15),
        ("3 in auth.roles", "POLICY_TYPE_MISMATCH", 2),
        ("exist('x')", "POLICY_UNKNOWN_CALL", 0),
        ("exists(Other, true)", "POLICY_UNKNOWN_NAME", 0),
        ("exists(Thing, nope == 1)", "POLICY_UNKNOWN_NAME", 14),
        ("exists(Thing, title == count)", "POLICY_TYPE_MISMATCH", 20),
        ("exists(Thing, exists(Thing, true))", "POLICY_EXISTS_NESTED", 14),
        ("exists(Thing, true) < 3", "POLICY_TYPE_MISMATCH", 20),
        ("title == 'x'", "POLICY_UNKNOWN_NAME", 0),
        ("auth.hasRole()", "POLICY_CALL_ARITY", 0),
        ("auth.hasRole('a', 'b')", "POLICY_CALL_ARITY", 0),
        ("auth.hasAnyRole()", "POLICY_CALL_ARITY", 0),
    ],
)
def test_mistakes(text: str, code: str, offset: int) -> None:
    problems = check(parse(text), entity=THING, slot="read", entities={"Thing": THING})
    assert [(problem.code, problem.offset) for problem in problems] == [(code, offset)]


@pytest.mark.parametrize(
    ("text", "slot", "codes"),
    [
        ("existing.ownerId == auth.userId", "update", []),
        ("existing.owner == auth.userId", "update", ["POLICY_UNKNOWN_NAME"]),
        ("existing.ownerId == auth.userId", "insert", ["POLICY_NAME_NOT_HERE"]),
        ("existing.ownerId == auth.userId", "delete", ["POLICY_NAME_NOT_HERE"]),
        ("input.a.b == auth.userId && input.n > 3 && input.flag", "action", []),
        ("exists(Thing, title == input.title && count >= input.n)", "action", []),
        ("exists(Thing, title == existing.title)", "update", []),
        ("exists(Thing, title == existing.title)", "read", ["POLICY_NAME_NOT_HERE"]),
        ("input == null", "action", ["POLICY_UNKNOWN_NAME"]),
        ("input.a..b == null", "action", ["POLICY_UNKNOWN_NAME"]),
        ("data.ownerId == auth.userId", "action", ["POLICY_NAME_NOT_HERE"]),
    ],
)
def test_names_belong_to_slots(text: str, slot: Slot, codes: list[str]) -> None:
    entity = None if slot == "action" else THING
    problems = check(parse(text), entity=entity, slot=slot, entities={"Thing": THING})
    assert [problem.code for problem in problems] == codes


def test_a_near_miss_is_suggested() -> None:
    (problem,) = check(parse("data.ownerID == null"), entity=THING, slot="read")
    assert problem.hint == "Did you mean `data.ownerId`?"
    (problem,) = check(parse("auth.userid == null"), entity=THING, slot="read")
    assert problem.hint == "Did you mean `auth.userId`?"


def test_a_manifest_reports_each_mistake_once_with_its_place() -> None:
    policies = (
        PolicySpec(name="p1", entity="Thing", allow="data.nope == 1"),
        PolicySpec(name="p2", entity="Thing", allow="existing.count > 1", allowRead="true"),
        PolicySpec(name="p3", entity="Thing", allowUpdate="existing.count > 1", allowRead="a ="),
        PolicySpec(name="p4", action="go", allow="data.title == 'x'"),
        PolicySpec(name="p5", entity="Gone", allow="data.title == 'x' &&"),
        PolicySpec(name="p6", entity="Gone", allow="data.title == 'x'"),
        PolicySpec(
            name="p7",
            entity="Thing",
            allow="nope",
            allowRead="true",
            allowWrite="true",
        ),
    )
    manifest = Manifest(
        name="app",
        version="1",
        entities=(THING,),
        actions=(CallableSpec(name="go"),),
        policies=policies,
    )
    found = [(p.policy, p.key, p.slot, p.code, p.offset) for p in check_manifest(manifest)]
    assert found == [
        ("p1", "allow", "read", "POLICY_UNKNOWN_NAME", 0),
        ("p2", "allow", "insert", "POLICY_NAME_NOT_HERE", 0),
        ("p3", "allowRead", "read", "POLICY_SYNTAX", 2),
        ("p4", "allow", "action", "POLICY_NAME_NOT_HERE", 0),
        ("p5", "allow", "read", "POLICY_SYNTAX", 20),
        ("p7", "allow", "update", "POLICY_UNKNOWN_NAME", 0),
    ]
    assert check_manifest(manifest)[2].message.startswith("at character 3: ")
