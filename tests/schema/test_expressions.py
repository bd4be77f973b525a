"""Rules in Python give policy text with the right parentheses."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.policy.syntax import format_expr, parse
from pylon.schema.expressions import Expression, auth, data, existing, exists, input_, now, row


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (auth.userId == data.ownerId, "auth.userId == data.ownerId"),
        (data.ownerId == auth.userId, "data.ownerId == auth.userId"),
        (auth.userId != None, "auth.userId != null"),
        (data.public == True, "data.public == true"),
        ("open" == data.state, 'data.state == "open"'),  # noqa: SIM300
        (data.level >= 3, "data.level >= 3"),
        (data.level < 0.5, "data.level < 0.5"),
        (3 < data.level, "data.level > 3"),  # noqa: SIM300
        (data.small == 1e-7, "data.small == 0.0000001"),
        (data.big == 1e22, "data.big == 10000000000000000000000.0"),
        (data.at <= datetime(2026, 1, 1, tzinfo=UTC), 'data.at <= "2026-01-01T00:00:00+00:00"'),
        (data.name == 'a"b\\c\n', 'data.name == "a\\"b\\\\c\\n"'),
        (data.author.id == auth.userId, "data.author.id == auth.userId"),
        (data["in_"] == input_.owner, "data.in_ == input.owner"),
        (existing.state != "closed", 'existing.state != "closed"'),
        (~data.locked, "!data.locked"),
        (~(data.a == data.b), "!(data.a == data.b)"),
        (~~data.locked, "!!data.locked"),
        ((~data.a) == None, "!data.a == null"),
        ((data.a == data.b) == True, "(data.a == data.b) == true"),
        (data.a == auth.has_role("x"), 'data.a == (auth.hasRole("x"))'),
        (auth.has_role("x") == data.a, 'auth.hasRole("x") == data.a'),
        (auth.has_any_role("x", "y"), 'auth.hasAnyRole("x", "y")'),
        (auth.roles.contains("x"), '"x" in auth.roles'),
        (auth.userId.in_(data.members), "auth.userId in data.members"),
        (data.state.in_(["open", None, 3]), 'data.state in ["open", null, 3]'),
        (data.a & data.b | data.c, "data.a && data.b || data.c"),
        (data.a & (data.b | data.c), "data.a && (data.b || data.c)"),
        (data.a & data.b & data.c, "data.a && data.b && data.c"),
        ((data.a == 1) & ~(data.b | data.c), "data.a == 1 && !(data.b || data.c)"),
        (auth.isAdmin | False, "auth.isAdmin || false"),
        (
            exists("Member", row.orgId == data.orgId, row.userId == auth.userId),
            "exists(Member, orgId == data.orgId && userId == auth.userId)",
        ),
        (exists("M", row.a | data.b), "exists(M, a || data.b)"),
        (exists("M", row.a | data.b, ~row["in"]), "exists(M, (a || data.b) && !in)"),
        (
            ~exists("M") & (exists("M", True) == data.a),
            "!exists(M, true) && exists(M, true) == data.a",
        ),
        (data.a == exists("M", row.a), "data.a == (exists(M, a))"),
        (True & auth.isGuest, "true && auth.isGuest"),
    ],
)
def test_a_rule_is_its_text(rule: Expression, text: str) -> None:
    assert str(rule) == text
    parse(text)


atoms = st.sampled_from([data.a, data.b.c, auth.userId, auth.has_role("r")])
rules = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
        st.tuples(atoms, atoms).map(lambda pair: pair[0] == pair[1]),
        inner.map(lambda rule: ~rule),
        inner.map(lambda rule: rule.in_(auth.roles)),
        st.tuples(atoms, st.text(st.characters(codec="utf-8")) | st.integers(-(2**53), 2**53)).map(
            lambda pair: pair[0] != pair[1]
        ),
    ),
    max_leaves=8,
)


@given(rules)
def test_every_rule_is_read_back_as_it_was_meant(rule: Expression) -> None:
    """The text parses, and the language's own formatter reads the same tree from it."""
    tree = parse(str(rule))
    assert format_expr(parse(format_expr(tree))) == format_expr(tree)


def test_and_or_not_are_refused_with_advice() -> None:
    with pytest.raises(TypeError, match=r"& \| ~ instead of and, or, not"):
        _ = (data.a == 1) and data.b
    with pytest.raises(TypeError, match="do not chain comparisons"):
        _ = 1 < data.a < 3
    with pytest.raises(TypeError, match=r"data\.members\.contains\(x\)"):
        _ = auth.userId in data.members


@pytest.mark.parametrize("value", [object(), [1], {}, float("nan"), float("inf")])
def test_what_the_language_has_no_literal_for_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="cannot compare"):
        _ = data.a == value


def test_only_rules_are_combined() -> None:
    with pytest.raises(TypeError, match="no rule"):
        _ = data.a & "data.b"  # type: ignore[operator]
    with pytest.raises(TypeError, match="not a string"):
        data.a.in_("abc")


def test_tools_that_ask_for_dunder_names_are_not_fooled() -> None:
    assert str(copy.copy(data.a)) == "data.a"
    assert str(pickle.loads(pickle.dumps(data.a.b))) == "data.a.b"
    assert not hasattr(data, "__wrapped__")
    assert repr(now) == "now"
    assert repr(data.a == 1) == "<rule data.a == 1>"
