"""Formulas as values: what joining, negating and specialising makes of them."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from pylon.policy.formula import (
    FALSE,
    TRUE,
    All,
    Atom,
    Column,
    Const,
    Constant,
    Either,
    Exists,
    Formula,
    Member,
    Same,
    all_of,
    any_of,
    atoms,
    memberships,
    negate,
    same,
    specialise,
    split_join,
)

A, B, C = (Atom("truthy", (Column(name, "bool"),)) for name in "abc")
OWNER = Column("ownerId", "string")
MEMBER = Member("userId", "string")
JOIN = Atom("equal", (MEMBER, OWNER))
OWN = Atom("truthy", (Member("isOpen", "bool"),))


def holds(formula: Formula, truth: dict[Atom, bool]) -> bool:
    """The plain meaning."""
    match formula:
        case Const(value):
            return value
        case Atom():
            return truth[_plain(formula)] != formula.negated
        case All(operands):
            return all(holds(each, truth) for each in operands)
        case Either(operands):
            return any(holds(each, truth) for each in operands)
        case Same(left, right, negated):
            return (holds(left, truth) == holds(right, truth)) != negated
    raise AssertionError(formula)


def _plain(atom: Atom) -> Atom:
    return Atom(atom.test, atom.terms)


formulas: st.SearchStrategy[Formula] = st.recursive(
    st.sampled_from([A, B, C, TRUE, FALSE]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(all_of),
        st.lists(inner, max_size=3).map(any_of),
        st.tuples(inner, inner).map(lambda pair: same(*pair)),
        inner.map(negate),
    ),
)
TRUTHS = [dict(zip((A, B, C), values, strict=True)) for values in product((True, False), repeat=3)]


@given(formulas)
def test_a_negation_is_the_opposite_and_stands_at_conditions(formula: Formula) -> None:
    for truth in TRUTHS:
        assert holds(negate(formula), truth) is not holds(formula, truth)
    assert negate(negate(formula)) == formula


@given(st.lists(formulas, max_size=4))
def test_joining_keeps_the_meaning_and_nests_nothing(some: list[Formula]) -> None:
    for joined, meaning, node in ((all_of(some), all, All), (any_of(some), any, Either)):
        for truth in TRUTHS:
            assert holds(joined, truth) == meaning(holds(each, truth) for each in some)
        if isinstance(joined, node):
            assert len(set(joined.operands)) == len(joined.operands) > 1
            assert not any(isinstance(each, node | Const) for each in joined.operands)


@given(formulas, st.sampled_from(TRUTHS), st.sets(st.sampled_from([A, B, C])))
def test_what_is_settled_is_gone(
    formula: Formula, truth: dict[Atom, bool], known: set[Atom]
) -> None:
    def decide(atom: Atom) -> bool | None:
        return truth[_plain(atom)] if _plain(atom) in known else None

    special = specialise(formula, decide)
    assert not {_plain(atom) for atom in atoms(special)} & known
    assert holds(special, truth) == holds(formula, truth)


def test_constants_decide_or_vanish() -> None:
    assert (all_of([]), any_of([])) == (TRUE, FALSE)
    assert (all_of([A, FALSE]), any_of([A, TRUE])) == (FALSE, TRUE)
    assert (all_of([A, TRUE]), any_of([FALSE, A]), all_of([A, A])) == (A, A, A)
    assert (same(A, TRUE), same(FALSE, A)) == (A, negate(A))


def test_an_exists_whose_condition_never_holds_is_false() -> None:
    asked = Exists("Member", all_of([JOIN, OWN]))
    never = specialise(asked, lambda atom: False if atom == OWN else None)
    assert (never, specialise(negate(asked), lambda atom: False)) == (FALSE, TRUE)
    assert specialise(asked, lambda atom: True if atom == OWN else None) == Exists("Member", JOIN)


def test_memberships_are_found_in_every_corner() -> None:
    one, two = Exists("Member", JOIN), Exists("Other", OWN)
    formula = all_of([A, any_of([negate(one), B]), same(two, C)])
    assert list(memberships(formula)) == [one, two]
    assert list(atoms(formula)) == [A, JOIN, B, OWN, C]


def test_a_condition_is_split_where_only_equalities_look_outside() -> None:
    assert split_join(all_of([OWN, JOIN])) == (OWN, [(MEMBER, OWNER)])
    assert split_join(OWN) == (OWN, [])
    assert split_join(negate(JOIN)) is None
    assert split_join(any_of([OWN, JOIN])) is None
    assert split_join(Atom("<", (MEMBER, OWNER))) is None


def test_who_decides_an_atom() -> None:
    assert Atom("equal", (Constant("a", "string"), Constant("b", "string"))).is_of_caller
    assert not A.is_of_caller
    assert not OWN.is_of_caller
