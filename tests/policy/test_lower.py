"""What a text is lowered to: the rules about null and kinds, as formulas."""

from __future__ import annotations

import pytest

from pylon.policy.formula import (
    FALSE,
    TRUE,
    Atom,
    Attribute,
    Column,
    Constant,
    Exists,
    Formula,
    Input,
    Member,
    any_of,
    negate,
)
from pylon.policy.lower import lower, number_of_text
from pylon.policy.slots import Slot
from pylon.policy.syntax import parse
from pylon.schema.model import EntitySpec, FieldSpec

DOC = EntitySpec(
    name="Doc",
    fields=(
        FieldSpec(name="ownerId", type="string"),
        FieldSpec(name="n", type="int"),
        FieldSpec(name="price", type="float"),
    ),
)
USER, OWNER = Attribute("userId", "string"), Column("ownerId", "string")
N, PRICE = Column("n", "number"), Column("price", "number", is_float=True)


def lowered(text: str, slot: Slot = "read") -> Formula:
    entity = None if slot == "action" else DOC
    formula, problems = lower(parse(text), entity=entity, slot=slot, entities={"Doc": DOC})
    assert problems == []
    return formula


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("data.ownerId == null", Atom("null", (OWNER,))),
        ("null != data.ownerId", negate(Atom("null", (OWNER,)))),
        ("auth.userId == data.ownerId", Atom("equal", (OWNER, USER))),
        ("auth.userId != data.ownerId", Atom("differ", (OWNER, USER))),
        (
            "data.ownerId != 'x'",
            Atom("equal", (OWNER, Constant("x", "string")), negated=True),
        ),
        ("auth.roles == null", FALSE),
        ("auth.isGuest != null", TRUE),
        ("auth.isAdmin || null", FALSE),
        ("!auth.isAdmin", TRUE),
    ],
)
def test_null(text: str, formula: Formula) -> None:
    assert lowered(text) == formula


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("3 < data.n", Atom(">", (N, Constant(3, "number")))),
        ("data.n == '3'", Atom("equal", (N, Constant(3, "number")))),
        ("data.price == 3", Atom("equal", (PRICE, Constant(3.0, "number")))),
        ("data.price == '1.5'", Atom("equal", (PRICE, Constant(1.5, "number")))),
        ("1 < 2 && 'b' > 'a' && 1 == 1.0", TRUE),
        ("'' || 0 || null", FALSE),
        ("data.n", Atom("truthy", (N,))),
    ],
)
def test_kinds(text: str, formula: Formula) -> None:
    assert lowered(text) == formula
    if isinstance(formula, Atom) and isinstance(formula.terms[-1], Constant):
        found = lowered(text)
        assert isinstance(found, Atom)
        assert type(found.terms[-1]) is Constant
        assert type(found.terms[-1].value) is type(formula.terms[-1].value)


def test_lists_roles_and_calls_are_alternatives() -> None:
    editor, author = (Atom("has_role", (Constant(name, "string"),)) for name in ("e", "a"))
    assert lowered("auth.hasAnyRole('e', 'a', 'e')") == any_of([editor, author])
    assert lowered("'e' in auth.roles") == editor == lowered("auth.has_role('e')")
    assert lowered("data.ownerId in auth.roles") == Atom("in_roles", (OWNER,))
    either = any_of([Atom("equal", (OWNER, USER)), Atom("null", (OWNER,))])
    assert lowered("data.ownerId in [auth.userId, null]") == either
    assert lowered("data.n in []") == FALSE


def test_rows_of_others_are_asked_for() -> None:
    member = Member("ownerId", "string")
    joined = Exists("Doc", Atom("equal", (member, OWNER)))
    assert lowered("exists(Doc, ownerId == data.ownerId)") == joined
    assert lowered("!exists(Doc, false)") == TRUE
    of_kind = Input(("who",), "string")
    assert lowered("exists(Doc, ownerId == input.who)", "action") == Exists(
        "Doc", Atom("equal", (member, of_kind))
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("-12", -12),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        ("999999999999999999", 999_999_999_999_999_999),
        ("03", None),
        ("1.", None),
        (" 1", None),
        ("1e999", None),
        ("9999999999999999999", None),
        ("\u0663", None),
    ],
)
def test_numbers_in_quotes(text: str, number: float | None) -> None:
    found = number_of_text(text)
    assert (found, type(found)) == (number, type(number))
