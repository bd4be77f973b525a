"""Text to tree and back: what is accepted, what is not, where the message points."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.limits import POLICY_CHARACTERS_MAX
from pylon.policy.nodes import And, Call, Compare, Exists, Expr, In, ListOf, Literal, Not, Or, Path
from pylon.policy.syntax import PolicySyntaxError, format_expr, parse
from tests.policy.worlds import Draw, effort, entities, exprs_of

A, B, C = Path("a"), Path("b"), Path("c")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a", A),
        (" \t\r\n a ", A),
        ("true", Literal(True)),
        ("True", Path("True")),
        ("nullable", Path("nullable")),
        ("_x.y9..z.", Path("_x.y9..z.")),
        ("!!a", Not(Not(A))),
        ("a || b && c", Or((A, And((B, C))))),
        ("(a || b) && c", And((Or((A, B)), C))),
        ("a || b || c", Or((A, B, C))),
        ("a || (b || c)", Or((A, Or((B, C))))),
        ("!a == null", Compare("==", Not(A), Literal(None))),
        ("(a && b) != true", Compare("!=", And((A, B)), Literal(True))),
        ("a == (b)", Compare("==", A, B)),
        ("a == (b || c)", Compare("==", A, Or((B, C)))),
        ("a<=3&&b>-0.5", And((Compare("<=", A, Literal(3)), Compare(">", B, Literal(-0.5))))),
        ('a in ["x", b, 3,]', In(A, ListOf((Literal("x"), B, Literal(3))))),
        ("a in []", In(A, ListOf(()))),
        ('"x" in auth.roles', In(Literal("x"), Path("auth.roles"))),
        ("in in [in]", In(Path("in"), ListOf((Path("in"),)))),
        ("f()", Call("f", ())),
        ("f('x', \"y\",)", Call("f", ("x", "y"))),
        ("exists(E, a)", Exists("E", A)),
        ("!exists(E, a || b) && c", And((Not(Exists("E", Or((A, B)))), C))),
        ("exists(E, a) == true", Compare("==", Exists("E", A), Literal(True))),
        ("exists", Path("exists")),
        ("f('x') == true", Compare("==", Call("f", ("x",)), Literal(True))),
        (r'"\\\"\'\n\r\t\0"', Literal("\\\"'\n\r\t\0")),
        ("'é \" \n'", Literal('é " \n')),
        ("9223372036854775807", Literal(2**63 - 1)),
        ("-9223372036854775808", Literal(-(2**63))),
        ("007", Literal(7)),
        ("1.0", Literal(1.0)),
    ],
)
def test_accepted(text: str, tree: Expr) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("", 0),
        ("   ", 3),
        ("a ==", 4),
        ("a = b", 2),
        ("a & b", 2),
        ("a | b", 2),
        ("a == b == c", 7),
        ("a < b < c", 6),
        ("a == !b", 5),
        ("a == f('x')", 5),
        ("a b", 2),
        ("(a", 2),
        ("a)", 1),
        ("a + b", 2),
        ("a - 1", 2),
        ("1a", 0),
        ("1.", 0),
        ("é", 0),
        ('a == "x', 5),
        (r'a == "x\y"', 7),
        (r'"\é"', 1),
        ("f(a)", 2),
        ("f('x'", 5),
        ("a in b.c()", 8),
        ("exists()", 7),
        ("exists(a.b, c)", 7),
        ("exists(E)", 8),
        ("exists(E, )", 10),
        ("exists(E, a, b)", 11),
        ("a == exists(E, a)", 5),
        ("a in 'x'", 5),
        ("a in [b", 7),
        ("a in [(b)]", 6),
        ("a in", 4),
        ("[a]", 0),
        ("9223372036854775808", 0),
        ("1" * 5000, 0),
        ("1" * 400 + ".0", 0),
        ('"\ud800"', 0),
    ],
)
def test_refused(text: str, offset: int) -> None:
    with pytest.raises(PolicySyntaxError) as caught:
        parse(text)
    assert caught.value.offset == offset
    assert caught.value.message


@pytest.mark.parametrize(
    ("fits", "exceeds"),
    [
        ("!" * 63 + "a", "!" * 64 + "a"),
        ("(" * 31 + "a" + ")" * 31, "(" * 32 + "a" + ")" * 32),
        ("a == " + "(" * 31 + "b" + ")" * 31, "a == " + "(" * 32 + "b" + ")" * 32),
        ("(!" * 21 + "a" + ")" * 21, "(!" * 22 + "a" + ")" * 22),
        ("exists(E, " * 31 + "a" + ")" * 31, "exists(E, " * 32 + "a" + ")" * 32),
        (" || ".join("a" * 9000), " || ".join("a" * 20000)),
    ],
)
def test_budgets(fits: str, exceeds: str) -> None:
    parse(fits)
    with pytest.raises(PolicySyntaxError):
        parse(exceeds)
    assert len(fits) <= POLICY_CHARACTERS_MAX


_PIECES = st.sampled_from(
    (
        *("auth.userId", "data.a", "in", "null", "true", "3", "-1.5", '"x"', "'", '"', "\\"),
        *("&&", "||", "!", "==", "!=", "<", "<=", "(", ")", "[", "]", ",", " ", "\n", "&"),
        *("é", "\0", ".", "-"),
    )
)


@effort(300)
@given(st.text() | st.lists(_PIECES, max_size=30).map("".join))
def test_every_text_parses_or_is_a_syntax_error_inside_it(text: str) -> None:
    tree, mistake = attempt(text)
    if mistake is not None:
        assert 0 <= mistake.offset <= len(text)
    if tree is not None:
        assert parse(format_expr(tree)) == tree


def attempt(text: str) -> tuple[Expr | None, PolicySyntaxError | None]:
    try:
        return parse(text), None
    except PolicySyntaxError as error:
        return None, error


@st.composite
def trees(draw: Draw) -> Expr:
    tree: Expr = draw(exprs_of(draw(entities)))
    return tree


@effort(40)
@given(trees())
def test_formatting_and_parsing_again_gives_the_same_tree(tree: Expr) -> None:
    assert parse(format_expr(tree)) == tree


@pytest.mark.parametrize("value", [1e300, 1e16, 5e-324, 1.7976931348623157e308, -0.1, 0.0])
def test_decimals_keep_their_value(value: float) -> None:
    assert parse(format_expr(Literal(value))) == Literal(value)
