"""Whether anybody can pass a rule, or whether everybody does, as far as its text alone tells.

Sound and not complete: `clash` finds conditions that exclude one another, and says nothing where it
is not certain. Values are those of `lower`: two truths, null equal to nothing. Asked by `advice`;
nothing here takes part in judging rows.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from msgspec.structs import replace

from pylon.letters import small
from pylon.policy.formula import (
    All,
    Atom,
    Attribute,
    Column,
    Const,
    Constant,
    Either,
    Exists,
    Formula,
    Input,
    Kind,
    Member,
    Same,
    Term,
    all_of,
    any_of,
    negate,
    same,
)

Clash = tuple[Formula, ...]
"""Two conditions that exclude one another, one that never holds, or none where it takes more."""

_ORDERS: Final = frozenset(("<", "<=", ">", ">="))
_CALLER: Final = Attribute("userId", "string")
_HOLDS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def clash(formula: Formula, known: tuple[Formula, ...] = ()) -> Clash | None:
    """Why a formula never holds beside the conditions that are `known` to; None where it may."""
    match formula:
        case Const():
            return None if formula.value else ()
        case Either():
            found = None
            for operand in formula.operands:
                found = clash(operand, known)
                if found is None:
                    return None
            return found
        case All():
            plain = tuple(each for each in formula.operands if not isinstance(each, Either | All))
            facts = (*known, *plain)
            found = _clash_of(facts)
            for operand in formula.operands:
                if found is None and isinstance(operand, Either | Exists):
                    found = clash(operand, facts)
            return found
        case Exists(negated=False):
            return clash(formula.condition, known)
        case _:
            return _clash_of((*known, formula))


def as_stored(formula: Formula) -> Formula:
    """What an update rule asks of the stored row, where `existing.` and `data.` are one."""
    match formula:
        case Atom():
            terms = tuple(
                replace(term, stored=False) if isinstance(term, Column) else term
                for term in formula.terms
            )
            return replace(formula, terms=terms)
        case All():
            return all_of(as_stored(operand) for operand in formula.operands)
        case Either():
            return any_of(as_stored(operand) for operand in formula.operands)
        case Same():
            agree = same(as_stored(formula.left), as_stored(formula.right))
            return negate(agree) if formula.negated else agree
        case Exists():
            return replace(formula, condition=as_stored(formula.condition))
        case Const():
            return formula


def _clash_of(facts: tuple[Formula, ...]) -> Clash | None:
    """Two of these that exclude one another."""
    held = set(facts)
    for fact in facts:
        if not isinstance(fact, All | Either | Const):
            opposite = replace(fact, negated=not fact.negated)
            if opposite in held:
                return opposite, fact
    atoms = [fact for fact in facts if isinstance(fact, Atom)]
    return _null_clash(atoms) or _value_clash(atoms)


# --- Null ------------------------------------------------------------------------------------


def _null_clash(atoms: Iterable[Atom]) -> Clash | None:
    """A term that is null by one condition and is not by another."""
    null: dict[Term, Atom] = {}
    there: dict[Term, Atom] = {}
    for atom in atoms:
        if atom.test == "null" and not atom.negated:
            null.setdefault(atom.terms[0], atom)
        for term in _there(atom):
            there.setdefault(term, atom)
    return next(((null[term], there[term]) for term in null if term in there), None)


def _there(atom: Atom) -> Iterator[Term]:
    """The terms that a condition shows not to be null. Whoever has an attribute has an id."""
    if atom.negated == (atom.test != "null"):
        return
    if atom.test in ("has_role", "in_roles"):
        yield _CALLER
    if atom.test == "has_role":
        return
    for term in atom.terms:
        yield term
        if isinstance(term, Attribute) and (term.kind == "string" or atom.test == "truthy"):
            yield _CALLER


# --- Values ----------------------------------------------------------------------------------


class _Alike:
    """Texts that are equal to one another, and the first of each group to stand for it. Numbers are
    left out: a whole one may be rounded beside a float."""

    def __init__(self, atoms: Iterable[Atom]) -> None:
        self._first: dict[Term, Term] = {}
        for atom in atoms:
            if _is_plain(atom, "equal") and not atom.is_folded and _are_names(atom, "string"):
                one, other = map(self.of, atom.terms)
                self._first[other] = one

    def of(self, term: Term) -> Term:
        while term in self._first and self._first[term] != term:
            term = self._first[term]
        return term


def _value_clash(atoms: list[Atom]) -> Clash | None:
    alike = _Alike(atoms)
    fixed: dict[Term, tuple[Any, Atom]] = {}
    for atom in atoms:
        if _is_plain(atom, "equal") and not _are_names(atom) and _is_judged(atom):
            value = _value(atom)
            known, by = fixed.setdefault(alike.of(atom.terms[0]), (value, atom))
            if known != value:
                return by, atom
    floors: dict[Term, Atom] = {}
    ceilings: dict[Term, Atom] = {}
    for atom in atoms:
        if not _is_judged(atom):
            continue
        term = alike.of(atom.terms[0])
        if atom.test == "truthy" and term in fixed and bool(fixed[term][0]) == atom.negated:
            return fixed[term][1], atom
        if len(atom.terms) != 2 or atom.negated or atom.is_folded:
            continue
        if _are_names(atom):
            if atom.test in ("<", ">", "differ") and term == alike.of(atom.terms[1]):
                return _with_itself(atom, atoms)
        elif atom.test in _ORDERS:
            if term in fixed and not _HOLDS[atom.test](fixed[term][0], _value(atom)):
                return fixed[term][1], atom
            edges, others = (floors, ceilings) if ">" in atom.test else (ceilings, floors)
            if _is_narrower(atom, edges.get(term)):
                edges[term] = atom
            if term in others and _is_empty(floors[term], ceilings[term]):
                return others[term], atom
    return None


def _with_itself(atom: Atom, atoms: Iterable[Atom]) -> Clash:
    """What an order or a difference of two values clashes with that are the same."""
    if atom.terms[0] == atom.terms[1]:
        return (atom,)
    equal = replace(atom, test="equal")
    return (equal, atom) if equal in atoms else ()


def _is_plain(atom: Atom, test: str) -> bool:
    return atom.test == test and not atom.negated


def _are_names(atom: Atom, kind: Kind | None = None) -> bool:
    """Whether both sides are values of a row or of the caller, and of this kind."""
    return len(atom.terms) == 2 and all(
        isinstance(term, Column | Member | Attribute) and kind in (None, term.kind)
        for term in atom.terms
    )


def _is_judged(atom: Atom) -> bool:
    """Whether the values of a condition are known to be of one kind: those of an input are not."""
    if any(isinstance(term, Input) for term in atom.terms):
        return False
    return all(not isinstance(term, Constant) or term.value is not None for term in atom.terms)


def _value(atom: Atom) -> Any:
    """The literal of a condition, as it is compared."""
    value = atom.terms[1].value if isinstance(atom.terms[1], Constant) else None
    return small(value) if atom.is_folded and isinstance(value, str) else value


def _is_narrower(atom: Atom, than: Atom | None) -> bool:
    if than is None:
        return True
    one, other = _value(atom), _value(than)
    if one == other:
        return len(atom.test) < len(than.test)
    return bool(one > other) == (">" in atom.test)


def _is_empty(floor: Atom, ceiling: Atom) -> bool:
    """Whether nothing lies between."""
    least, most = _value(floor), _value(ceiling)
    is_open = len(floor.test) == 1 or len(ceiling.test) == 1
    return bool(least > most or (least == most and is_open))
