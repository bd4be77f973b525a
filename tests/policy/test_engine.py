"""Rules as callers see them: who passes, which slot speaks, what SQL and audience come out."""

from __future__ import annotations

from typing import Any

import pytest

from pylon.identity import ADMIN, ANONYMOUS, Identity
from pylon.policy.audience import ADMIN_KEY, Selector
from pylon.policy.engine import EVERY_ROW, NO_RULE, PolicyEngine, Rule
from pylon.schema.model import CallableSpec, EntitySpec, FieldSpec, Manifest, PolicySpec
from tests.policy.worlds import Table, engine_of

U1 = Identity(user_id="u1", tenant_id="t1", roles=("editor",), email="u1@example.org")
GUEST = Identity(user_id="guest_1", is_guest=True)

THING = EntitySpec(
    name="Thing",
    fields=(
        FieldSpec(name="title", type="string"),
        FieldSpec(name="state", type="string", optional=True),
        FieldSpec(name="ownerId", type="id(User)", optional=True),
        FieldSpec(name="editorId", type="id(User)", optional=True),
        FieldSpec(name="orgId", type="string", optional=True),
        FieldSpec(name="count", type="int", optional=True),
        FieldSpec(name="share", type="float", optional=True),
        FieldSpec(name="locked", type="bool", optional=True),
    ),
)
FIELDS = ("id", *(field.name for field in THING.fields))


def rule_of(text: str) -> Rule:
    return engine_of(THING, text).entity("Thing").read


@pytest.mark.parametrize(
    ("text", "identity", "row", "allowed"),
    [
        ("auth.userId != null", U1, {}, True),
        ("auth.userId != null", GUEST, {}, True),
        ("auth.userId != null", ANONYMOUS, {}, False),
        ("auth.userId != null && !auth.isGuest", GUEST, {}, False),
        ("auth.userId == data.ownerId", U1, {"ownerId": "u1"}, True),
        ("auth.userId == data.ownerId", U1, {"ownerId": "u2"}, False),
        ("auth.userId == data.ownerId", U1, {}, False),
        ("auth.userId == data.ownerId", ANONYMOUS, {}, False),
        ("auth.userId == data.ownerId", ANONYMOUS, {"ownerId": None}, False),
        ("auth.userId == data.ownerId || auth.tenantId == data.orgId", U1, {"orgId": "t1"}, True),
        ('data.state == "open" && auth.userId != null', U1, {"state": "open"}, True),
        ('data.state != "open"', U1, {"state": None}, True),
        ("data.state == null", U1, {}, True),
        ("null != data.state", U1, {}, False),
        ("null == null", U1, {}, True),
        # `!=` between paths: null differs from nothing that is the caller's.
        ("auth.userId != data.ownerId", U1, {"ownerId": "u2"}, True),
        ("auth.userId != data.ownerId", U1, {"ownerId": None}, False),
        ("auth.userId != data.ownerId", ANONYMOUS, {"ownerId": "u2"}, False),
        ("data.ownerId != auth.userId", ANONYMOUS, {"ownerId": None}, False),
        ("auth.userId != auth.tenantId", ANONYMOUS, {}, False),
        ("data.ownerId != data.editorId", U1, {"ownerId": "u2"}, True),
        ("data.ownerId != data.editorId", U1, {}, True),
        ("data.ownerId == data.editorId", U1, {}, False),
        ("!(auth.userId == data.ownerId)", ANONYMOUS, {"ownerId": "u2"}, True),
        # Kinds.
        ("!data.locked", U1, {"locked": False}, True),
        ("!data.locked", U1, {"locked": None}, True),
        ("data.locked", U1, {"locked": True}, True),
        ("data.locked == true", U1, {"locked": True}, True),
        ("data.locked == false", U1, {"locked": None}, False),
        ("data.locked != true", U1, {"locked": None}, True),
        ("data.count", U1, {"count": 0}, False),
        ("data.count", U1, {"count": 2}, True),
        ("data.title", U1, {"title": ""}, False),
        ('data.count == "3"', U1, {"count": 3}, True),
        ('data.count == "3.0"', U1, {"count": 3}, True),
        ("data.count == 3.5", U1, {"count": 3}, False),
        ("data.count > 3", U1, {"count": 4}, True),
        ("data.count > 3", U1, {"count": None}, False),
        ("!(data.count > 3)", U1, {"count": None}, True),
        ("3 < data.count", U1, {"count": 4}, True),
        ("data.share <= data.count", U1, {"share": 2.5, "count": 3}, True),
        ("data.count > 3", U1, {"count": "a text that should not be here"}, False),
        # Membership and roles.
        ("auth.userId in [data.ownerId, data.editorId]", U1, {"editorId": "u1"}, True),
        ("auth.userId in [data.ownerId, data.editorId]", ANONYMOUS, {}, False),
        ('data.state in ["open", "new"]', U1, {"state": "new"}, True),
        ("data.state in []", U1, {"state": "new"}, False),
        ("data.state in ['open', null]", U1, {}, True),
        ('"editor" in auth.roles', U1, {}, True),
        ('"boss" in auth.roles', U1, {}, False),
        ("data.state in auth.roles", U1, {"state": "editor"}, True),
        ('auth.hasRole("editor")', U1, {}, True),
        ('auth.has_any_role("boss", "editor")', U1, {}, True),
        ('auth.hasAnyRole("boss")', U1, {}, False),
        ("auth.email == data.title", U1, {"title": "u1@example.org"}, True),
        ("auth.isAdmin || auth.is_admin", U1, {}, False),
        # Conditions as values.
        ("(data.count > 3) == data.locked", U1, {"count": 4, "locked": True}, True),
        ("(data.count > 3) == data.locked", U1, {"count": 1, "locked": None}, False),
        ("(data.count > 3) != data.locked", U1, {"count": 1, "locked": None}, True),
        ("(data.count > 3) == (data.share > 3)", U1, {}, True),
        ('auth.hasRole("editor") == true', U1, {}, True),
        # Mistakes deny, whatever they would be worth under a negation.
        ("!(data.nope == auth.userId)", U1, {}, False),
        ("data.count ~ 3", U1, {}, False),
        (" ", U1, {}, False),
        ("data.locked != 'x'", U1, {}, False),
    ],
)
def test_a_rule_and_its_sql(
    text: str, identity: Identity, row: dict[str, Any], allowed: bool
) -> None:
    rule = rule_of(text)
    assert rule.allows(identity, row) is allowed
    assert rule.allows(ADMIN, row) is True
    assert rule.denied_by(identity, row) == (None if allowed else "p0")
    if not isinstance(row.get("count"), str):
        table = Table(THING, [dict.fromkeys(FIELDS) | row])
        assert table.numbers(rule.where(identity)) == ({0} if allowed else set())


@pytest.mark.parametrize(
    ("text", "identity", "sql", "params"),
    [
        ("auth.userId == data.ownerId", U1, 't."ownerId" = ?', ("u1",)),
        ("data.ownerId == auth.user_id", U1, 't."ownerId" = ?', ("u1",)),
        (
            "auth.userId == data.ownerId || auth.tenantId == data.orgId",
            U1,
            '(t."ownerId" = ? OR t."orgId" = ?)',
            ("u1", "t1"),
        ),
        (
            "auth.userId == data.ownerId || auth.tenantId == data.orgId",
            GUEST,
            't."ownerId" = ?',
            ("guest_1",),
        ),
        ("auth.userId != null && data.locked == true", U1, 't."locked" = 1', ()),
        ("data.locked", U1, 'coalesce(t."locked", 0) <> 0', ()),
        ("!data.locked", U1, 'coalesce(t."locked", 0) = 0', ()),
        ("data.title", U1, "coalesce(t.\"title\", '') <> ''", ()),
        ('data.state != "open"', U1, 't."state" IS DISTINCT FROM ?', ("open",)),
        ("data.state != null", U1, 't."state" IS NOT NULL', ()),
        ("5 > data.count", U1, 't."count" < ?', (5,)),
        ("!(data.count < 5)", U1, '(t."count" < ?) IS NOT TRUE', (5,)),
        ("data.share > 5", U1, 't."share" > ?', (5.0,)),
        ("data.state in auth.roles", U1, 't."state" IN (?)', ("editor",)),
        ("auth.userId != data.ownerId", U1, 't."ownerId" <> ?', ("u1",)),
        (
            "(data.count > 3) == (data.share > 3)",
            U1,
            '(((t."count" > ?) IS TRUE) = ((t."share" > ?) IS TRUE))',
            (3, 3.0),
        ),
    ],
)
def test_sql_is_plain(text: str, identity: Identity, sql: str, params: tuple[object, ...]) -> None:
    where = rule_of(text).where(identity)
    assert (where.sql, where.params, where.never) == (sql, params, False)


MEMBER = EntitySpec(
    name="Member",
    fields=(
        FieldSpec(name="groupId", type="string", optional=True),
        FieldSpec(name="userId", type="id(User)", optional=True),
        FieldSpec(name="role", type="string", optional=True),
        FieldSpec(name="weight", type="float", optional=True),
    ),
)


@pytest.mark.parametrize(
    ("condition", "gathered"),
    [
        (
            "groupId == data.orgId && userId == auth.userId",
            '(t."orgId") IN (SELECT x."groupId" FROM "Member" x WHERE x."userId" = ?)',
        ),
        (
            "data.orgId == groupId && auth.userId == userId && role == data.state",
            '(t."orgId", t."state") IN'
            ' (SELECT x."groupId", x."role" FROM "Member" x WHERE x."userId" = ?)',
        ),
        # Rows of everybody are not collected, nor what needs more than an equality.
        ("groupId == data.orgId && role == 'open'", None),
        ("groupId == data.orgId", None),
        ("userId == auth.userId", None),
        ("groupId != data.orgId && userId == auth.userId", None),
        ("weight == data.count && userId == auth.userId", None),
    ],
)
def test_memberships_are_gathered_for_many_rows(condition: str, gathered: str | None) -> None:
    engine = engine_of(THING, f"exists(Member, {condition})", others=(MEMBER,))
    rule = engine.entity("Thing").read
    one, many = rule.where(U1), rule.where(U1, gathers=True)
    assert one.sql is not None
    assert one.sql.startswith("EXISTS (")
    assert many.sql == (gathered or one.sql)
    assert many.params == one.params


def test_memberships_under_a_negation_are_asked_for_one_by_one() -> None:
    text = "!exists(Member, groupId == data.orgId && userId == auth.userId)"
    rule = engine_of(THING, text, others=(MEMBER,)).entity("Thing").read
    assert rule.where(U1, gathers=True) == rule.where(U1)


def test_where_tells_every_row_and_no_row_apart() -> None:
    rule = rule_of("auth.userId != null")
    assert rule.where(U1) == EVERY_ROW
    assert rule.where(ADMIN) == EVERY_ROW
    nothing = rule.where(ANONYMOUS)
    assert nothing.never
    assert nothing.sql == "1 = 0"


def test_sql_text_depends_on_the_shape_only() -> None:
    rule = rule_of("auth.userId == data.ownerId || auth.hasRole('boss') || data.count > 3")
    texts = {
        rule.where(Identity(user_id=f"u{number}", email=f"{number}@x")).sql for number in range(9)
    }
    assert len(texts) == 1


def test_names_are_quoted() -> None:
    entity = EntitySpec(name="Thing", fields=(FieldSpec(name="order", type="string"),))
    where = engine_of(entity, "data.order == 'x'").entity("Thing").read.where(U1)
    assert where.sql == 't."order" = ?'


@pytest.mark.parametrize(
    ("text", "attributes", "selectors"),
    [
        ("true", (), None),
        ("false", (), ()),
        ("data.count > 3", (), None),
        ("auth.isAdmin", (), ()),
        ("auth.userId != null", ("userId",), None),
        (
            "auth.userId == data.ownerId || data.orgId == auth.tenant_id",
            ("tenantId", "userId"),
            (("userId", "ownerId"), ("tenantId", "orgId")),
        ),
        ("auth.userId == data.ownerId || data.locked", ("userId",), None),
        (
            "auth.tenantId == data.orgId && auth.userId == data.ownerId && data.locked",
            ("tenantId", "userId"),
            (("userId", "ownerId"),),
        ),
        ("auth.userId in [data.ownerId]", ("userId",), (("userId", "ownerId"),)),
        ("auth.userId != data.ownerId", ("userId",), None),
        ("auth.hasRole('x') && data.state in auth.roles", ("roles",), None),
        ("(auth.userId == data.ownerId) == data.locked", ("userId",), None),
    ],
)
def test_audience(
    text: str, attributes: tuple[str, ...], selectors: tuple[tuple[str, str], ...] | None
) -> None:
    audience = rule_of(text).audience
    expected = None
    if selectors is not None:
        expected = tuple(Selector(attribute=name, field=field) for name, field in selectors)
    assert audience.attributes == attributes
    assert audience.selectors == expected
    assert audience.key(ADMIN) == ADMIN_KEY
    assert (audience.key(U1) == ()) == (not attributes)


def test_readers_whom_a_rule_treats_alike_share_a_key() -> None:
    signed_in = rule_of("auth.userId != null || auth.hasRole('x')").audience
    assert signed_in.key(U1) == signed_in.key(GUEST) != signed_in.key(ANONYMOUS)
    owner = rule_of("auth.userId == data.ownerId").audience
    assert owner.key(U1) == ("u1",)


def app(*policies: PolicySpec, open_by_default: bool = False) -> PolicyEngine:
    manifest = Manifest(
        name="app",
        version="1",
        entities=(THING,),
        actions=(CallableSpec(name="go"), CallableSpec(name="other")),
        policies=policies,
    )
    return PolicyEngine(manifest, open_by_default=open_by_default)


def verdicts(engine: PolicyEngine) -> str:
    """The slots that an ordinary caller passes, by their first letters."""
    rules = engine.entity("Thing")
    pairs = (("r", rules.read), ("i", rules.insert), ("u", rules.update), ("d", rules.delete))
    return "".join(letter for letter, rule in pairs if rule.allows(U1, None))


@pytest.mark.parametrize(
    ("policy", "passed"),
    [
        ({"allow": "true"}, "riud"),
        ({"allow": "true", "allowRead": "false"}, "iud"),
        ({"allow": "true", "allowWrite": "false"}, "r"),
        ({"allow": "false", "allowWrite": "true"}, "iud"),
        ({"allow": "false", "allowWrite": "false", "allowUpdate": "true"}, "u"),
        ({"allow": "false", "allowInsert": "true", "allowDelete": "true"}, "id"),
        ({"allow": "true", "allowRead": ""}, "riud"),
        ({"allowRead": "true"}, "r"),
        ({"allowRead": "true", "allowWrite": " "}, "r"),
    ],
)
def test_slots(policy: dict[str, str], passed: str) -> None:
    assert verdicts(app(PolicySpec(name="p", entity="Thing", **policy))) == passed


def test_policies_must_all_hold_and_the_first_that_does_not_is_named() -> None:
    engine = app(
        PolicySpec(name="first", entity="Thing", allow="auth.userId != null"),
        PolicySpec(name="second", entity="Thing", allowRead="data.locked"),
        PolicySpec(name="elsewhere", entity="Other", allow="false"),
    )
    rules = engine.entity("Thing")
    assert verdicts(engine) == "iud"
    assert rules.read.denied_by(U1, {"locked": True}) is None
    assert rules.read.denied_by(U1, {}) == "second"
    assert rules.read.denied_by(ANONYMOUS, {}) == "first"
    assert rules.read.fields == {"locked"}


def test_what_nothing_mentions_is_open_in_dev_and_closed_in_production() -> None:
    policy = PolicySpec(name="p", entity="Thing", allowRead="true")
    dev, production = app(policy, open_by_default=True), app(policy)
    assert verdicts(dev) == "riud"
    assert verdicts(production) == "r"
    assert dev.undeclared == production.undeclared
    assert production.undeclared == (
        ("Thing", "insert"),
        ("Thing", "update"),
        ("Thing", "delete"),
        ("go", "action"),
        ("other", "action"),
    )
    rule = production.entity("Thing").insert
    assert rule.denied_by(U1, {}) == NO_RULE
    assert rule.allows(ADMIN, {})
    assert rule.constant is False
    assert rule.where(U1).never
    assert (rule.is_hopeless(U1), rule.is_hopeless(ADMIN)) == (True, False)
    assert dev.entity("Thing").insert.constant is True


def test_actions() -> None:
    engine = app(
        PolicySpec(name="amount", action="go", allow="input.order.amount <= 100"),
        PolicySpec(name="both", entity="Thing", action="other", allowRead="true"),
    )
    go = engine.action("go")
    assert go.allows(U1, {"order": {"amount": 100}})
    assert not go.allows(U1, {"order": {"amount": 101}})
    assert not go.allows(U1, {"order": [1]})
    assert not go.allows(U1, {"order": {"amount": "1"}})
    assert go.denied_by(U1, None) == "amount"
    assert go.allows(ADMIN, None)
    # Registered for the action too, where it has no `allow`: that denies.
    assert engine.action("other").denied_by(U1, {}) == "both"


def test_update_rules_see_the_stored_row() -> None:
    engine = app(
        PolicySpec(
            name="keep owner",
            entity="Thing",
            allowUpdate="existing.ownerId == auth.userId && data.ownerId == existing.ownerId",
        )
    )
    rule = engine.entity("Thing").update
    assert rule.allows(U1, {"ownerId": "u1"}, {"ownerId": "u1"})
    assert not rule.allows(U1, {"ownerId": "u2"}, {"ownerId": "u1"})
    assert not rule.allows(U1, {"ownerId": "u1"})


def test_mistakes_are_kept_and_deny() -> None:
    engine = app(PolicySpec(name="p", entity="Thing", allow="data.nope != 1"), open_by_default=True)
    assert verdicts(engine) == ""
    assert [problem.code for problem in engine.problems] == ["POLICY_UNKNOWN_NAME"]


def test_unknown_names_are_key_errors() -> None:
    with pytest.raises(KeyError):
        app().entity("Nope")


@pytest.mark.parametrize(
    "text",
    [
        " || ".join(f'data.title == "v{number}"' for number in range(2500)),
        " && ".join(f'data.title != "w{number}"' for number in range(2500)),
        "data.title in [" + ",".join(f'"v{number}"' for number in range(4000)) + "]",
        "(data.count < 9) == (" * 31 + "true" + ")" * 31,
        "(data.count < 9 && " * 31 + "true" + ")" * 31,
        "!(data.count < 9 && !data.locked || " * 15 + "true" + ")" * 15,
    ],
)
def test_the_largest_expressions_work_in_every_target(text: str) -> None:
    row = dict.fromkeys(("id", "title", "count", "locked")) | {"title": "v3", "count": 1}
    fields = tuple(field for field in THING.fields if field.name in row)
    entity = EntitySpec(name="Thing", fields=fields)
    rule = engine_of(entity, text).entity("Thing").read
    assert not engine_of(entity, text).problems
    assert Table(entity, [row]).numbers(rule.where(U1)) == ({0} if rule.allows(U1, row) else set())
    assert rule.audience.selectors is None or rule.audience.selectors == ()
