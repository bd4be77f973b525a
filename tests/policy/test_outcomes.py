"""Rules that nobody can pass and rules that everybody passes, and silence where it depends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from pylon.identity import ANONYMOUS, Identity
from pylon.policy.callers import Callers
from pylon.policy.formula import negate
from pylon.policy.outcomes import outcomes
from pylon.policy.reach import as_stored, clash
from pylon.policy.syntax import format_expr
from pylon.policy.texts import texts_of
from pylon.schema.model import CallableSpec, EntitySpec, FieldSpec, Manifest, PolicySpec
from tests.policy.worlds import Table, World, effort, engine_of, gathered, worlds

NEVER, ALWAYS = "POLICY_NEVER_TRUE", "POLICY_ALWAYS_TRUE"

FIELDS = {
    **dict.fromkeys(("ownerId", "editorId", "orgId", "state", "name"), "string"),
    "count": "int",
    "price": "float",
    "done": "bool",
    "startsAt": "datetime",
    "endsAt": "datetime",
}


def an_app(policy: PolicySpec, *user_fields: FieldSpec) -> Manifest:
    note = EntitySpec(
        name="Note",
        fields=tuple(
            FieldSpec(name=name, type=type_, caseInsensitive=True if name == "name" else None)
            for name, type_ in FIELDS.items()
        ),
    )
    member = EntitySpec(
        name="Member",
        fields=tuple(FieldSpec(name=name, type="string") for name in ("orgId", "userId", "role")),
    )
    user = EntitySpec(name="User", fields=user_fields)
    actions = (CallableSpec(name="send"),)
    return Manifest(
        name="a",
        version="1",
        entities=(note, member, user),
        actions=actions,
        policies=(policy,),
    )


def told(text: str, *user_fields: FieldSpec, key: str = "allowRead") -> list[tuple[str, str]]:
    policy = PolicySpec(name="p", entity="Note", **{key: text})
    return [(each.code, each.hint or "") for each in outcomes(an_app(policy, *user_fields))]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("auth.tenantId == data.orgId", "No session has a tenant yet"),
        ("auth.tenantId != data.orgId", "No session has a tenant yet"),
        ("auth.tenantId != null && data.done", "No session has a tenant yet"),
        ("data.state == 'a' && (auth.tenant_id == data.orgId || false)", "No session has a tenant"),
        ("exists(Member, orgId == auth.tenantId)", "No session has a tenant yet"),
        ("auth.email == data.ownerId", "field `email` of User"),
        ("auth.hasRole('editor')", "Nobody has the role 'editor'"),
        ("data.state in auth.roles", "Nobody has a role"),
        ("auth.userId == null && auth.userId == data.ownerId", "`auth.userId == null` and `data."),
        ("data.count == 1 && data.count == 2", "`data.count == 1` and `data.count == 2`"),
        ("data.name == 'a' && data.name == 'b'", "never both true"),
        ("data.count > 3 && data.count < 3", "never both true"),
        ("data.count > 3 && data.count <= 3", "never both true"),
        ("data.count == 3 && data.count > 3", "never both true"),
        ("data.count >= 3 && data.count > 3 && data.count <= 3", "never both true"),
        ("data.count < 3 && data.count < 9 && data.count > 3", "never both true"),
        ("data.price >= 2.5 && data.price < 2", "never both true"),
        ("data.done && !data.done", "never both true"),
        ("data.done && data.done == false", "never both true"),
        ("data.state == '' && data.state", "never both true"),
        ("auth.isGuest && auth.userId == null", "never both true"),
        ("data.ownerId == data.editorId && data.ownerId == 'a' && data.editorId == 'b'", "never"),
        ("auth.userId == data.ownerId && auth.userId != data.ownerId", "never both true"),
        ("data.startsAt < '2026-01-01' && data.startsAt > '2026-01-02'", "excludes itself"),
        ("data.state == 'a' && (data.state == 'b' || data.state == 'c')", "never both true"),
        ("exists(Member, userId == auth.userId && role == 'a' && role == 'b')", "never both true"),
        ("auth.userId == null && exists(Member, userId == auth.userId)", "never both true"),
    ],
)
def test_nobody_can_pass(text: str, hint: str) -> None:
    (found,) = told(text)
    assert found[0] == NEVER
    assert hint in found[1]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("data.state != 'a' || data.state != 'b'", '`data.state != "a"` or `data.state != "b"`'),
        ("auth.userId == data.ownerId || true", "Write `true`"),
        ("!auth.isAdmin", "Write `true`"),
        ("auth.userId != null || auth.userId == null", "always holds"),
        ("!auth.hasRole('banned')", "Nobody has the role 'banned'"),
        ("auth.tenantId == null || data.done", "No session has a tenant yet"),
    ],
)
def test_everybody_passes(text: str, hint: str) -> None:
    (found,) = told(text)
    assert found[0] == ALWAYS
    assert hint in found[1]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("existing.state == 'a' && data.state == 'b'", '`data.state == "a"` and `data.state ='),
        ("data.count > existing.count", "`data.count > data.count` never holds"),
    ],
)
def test_an_update_passes_on_the_stored_row_too(text: str, hint: str) -> None:
    (found,) = told(text, key="allowUpdate")
    assert found[0] == NEVER
    assert "stored row" in found[1]
    assert hint in found[1]


ROLES = FieldSpec(name="roles", type="list(string)", optional=True)
ROLE = FieldSpec(name="role", type="string", optional=True)
EMAIL = FieldSpec(name="email", type="string", optional=True)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("true", ()),
        ("false", ()),
        ("auth.isAdmin", ()),
        ("auth.userId == data.ownerId", ()),
        ("auth.tenantId == data.orgId || auth.userId == data.ownerId", ()),
        ("auth.hasRole('editor')", (ROLE,)),
        ("auth.hasRole('editor')", (ROLES,)),
        ("auth.hasRole('a') && auth.hasRole('b')", (ROLES,)),
        ("auth.email == data.ownerId", (EMAIL,)),
        ("data.state != 'a' && data.state != 'b'", ()),
        ("data.count > 3 || data.count < 3", ()),
        ("data.count >= 3 && data.count <= 3", ()),
        ("data.name == 'A' && data.name == 'a'", ()),
        ("data.startsAt == '2026-01-01' && data.startsAt == '2026-01-01T00:00:00Z'", ()),
        ("data.ownerId != data.editorId && data.ownerId == 'a' && data.editorId == 'b'", ()),
        ("data.name == data.ownerId && data.name == 'a' && data.ownerId == 'A'", ()),
        ("exists(Member, role == 'a') && exists(Member, role == 'b')", ()),
        ("!exists(Member, role == 'a' && role == 'b') && auth.userId != null", ()),
        ("auth.userId == null && !auth.isGuest", ()),
    ],
)
def test_nothing_to_say(text: str, fields: tuple[FieldSpec, ...]) -> None:
    assert told(text, *fields) == []


def test_one_warning_for_all_operations_of_a_text() -> None:
    policy = PolicySpec(name="p", entity="Note", allow="auth.tenantId == data.orgId")
    (found,) = outcomes(an_app(policy))
    assert found.message.startswith('policy "p", read, insert, update, delete: nobody but')
    assert found.about == ("policy", "p", "allow")


def test_actions_too() -> None:
    (found,) = outcomes(an_app(PolicySpec(name="p", action="send", allow="auth.hasRole('boss')")))
    assert (found.code, "whatever the input" in found.message) == (NEVER, True)
    plain = PolicySpec(name="p", action="send", allow="input.n == '3' && input.n == 3")
    assert list(outcomes(an_app(plain))) == []


def test_a_rule_of_a_program_is_not_looked_at() -> None:
    assert told(" && ".join(f"data.count == {number}" for number in range(300))) == []


def real(identity: Identity) -> Identity:
    """Nobody has an e-mail, a role or a guest's standing without being somebody."""
    return ANONYMOUS if identity.user_id is None else identity


@given(worlds())
@effort(300)
def test_what_is_told_is_so(world: World) -> None:
    text = format_expr(world.expr)
    policies = (PolicySpec(name="p", entity="Thing", allow=text),)
    manifest = Manifest(
        name="a", version="1", entities=(world.entity, world.other), policies=policies
    )
    formula = texts_of(manifest).lowered(text, world.entity, "read")[0]
    never = clash(formula) is not None
    always = clash(negate(formula)) is not None
    told = {each.code for each in outcomes(manifest)}
    if not (never or always or told):
        return
    table = Table(world.entity, [])
    table.add_other(world.other, world.others)
    engine = engine_of(world.entity, world.expr, others=(world.other,), read=table.fetch)
    rule = engine.entity("Thing").read
    for identity in map(real, world.identities):
        lookup = gathered(engine.lookup(), rule, identity, world.rows)
        plain = replace(identity, tenant_id=None, email=None, roles=())
        bare = gathered(engine.lookup(), rule, plain, world.rows)
        for row in world.rows:
            passes = rule.allows(identity, row, lookup=lookup)
            assert not (passes and never)
            assert passes or not always
            passes = rule.allows(plain, row, lookup=bare)
            assert not (passes and NEVER in told)
            assert passes or ALWAYS not in told


def test_callers_lack_what_no_user_has() -> None:
    manifest = an_app(PolicySpec(name="p", entity="Note", allow="auth.email == 'a'"), EMAIL)
    text = "auth.email == 'a'"
    formula = texts_of(manifest).lowered(text, manifest.entities[0], "read")[0]
    assert Callers(manifest).decide(formula) is None  # type: ignore[arg-type]
    assert as_stored(formula) == formula
