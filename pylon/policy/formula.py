"""A policy as a formula: names resolved, kinds known, negations pushed down to single conditions.

Every condition is either true or not; there is no third value. Because only conditions are
negated, a target may let NULL stand for "not true" in the conditions that are not negated
(SQL does), and needs care only in the negated ones. Made by `lower`, read by `predicate`, `sql`
and `audience`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal as OneOf

from msgspec import Struct
from msgspec.structs import replace

Kind = OneOf["null", "bool", "number", "string", "time", "roles", "opaque", "any", "unknown"]
"""`any` is an action's input, known only at run time; `unknown` a name that does not resolve. A
field of times is a string that `is_time`; its kind is `time` where it is asked for its moment."""

Test = OneOf[
    "equal", "differ", "<", "<=", ">", ">=", "null", "truthy", "bool", "has_role", "in_roles"
]
"""What an atom asks. `equal` and the order signs are false when a side is null; `differ` is true
when both sides are there and unequal; `bool` asks whether an input is a boolean at all."""


class Constant(Struct, frozen=True):
    """A literal. The kind keeps `1` and `true` apart, which Python holds equal."""

    value: str | int | float | bool | None
    kind: Kind


class Attribute(Struct, frozen=True):
    """An attribute of the caller, by its canonical name, for example `userId`."""

    name: str
    kind: Kind


class Column(Struct, frozen=True):
    """A field of the row; `stored` means the row before an update (`existing.`), `folds` that A to
    Z in either case are one value."""

    name: str
    kind: Kind
    stored: bool = False
    is_float: bool = False
    is_time: bool = False
    folds: bool = False


class Member(Struct, frozen=True):
    """A field of the rows that an `exists` looks through."""

    name: str
    kind: Kind
    is_float: bool = False
    is_time: bool = False
    folds: bool = False


class Input(Struct, frozen=True):
    """A value inside an action's input, by the keys that lead to it.

    Beside a `Member` it has that one's kind, and a value of another kind is null.
    """

    steps: tuple[str, ...]
    kind: Kind = "any"


Term = Constant | Attribute | Column | Member | Input


class Const(Struct, frozen=True):
    """Always true or never."""

    value: bool


class Atom(Struct, frozen=True):
    """One condition. `has_role` takes role names (any of them), `null` and the like one term."""

    test: Test
    terms: tuple[Term, ...]
    negated: bool = False

    @property
    def is_folded(self) -> bool:
        """Whether both sides are compared with A to Z in small."""
        return len(self.terms) == 2 and any(
            isinstance(term, Column | Member) and term.folds for term in self.terms
        )

    @property
    def is_of_caller(self) -> bool:
        """Whether the caller alone decides it."""
        return not any(isinstance(term, Column | Member | Input) for term in self.terms)


class Folded(Struct, frozen=True):
    """A value that is bound in SQL with A to Z in small."""

    term: Term


class All(Struct, frozen=True):
    """Two or more, all true."""

    operands: tuple[Formula, ...]


class Either(Struct, frozen=True):
    """Two or more, at least one true."""

    operands: tuple[Formula, ...]


class Same(Struct, frozen=True):
    """Both sides true or both not (`(a || b) == (c && d)`). Kept whole, to not double in size."""

    left: Formula
    right: Formula
    negated: bool = False


class Exists(Struct, frozen=True):
    """Whether a row of another entity fulfils the condition."""

    entity: str
    condition: Formula
    negated: bool = False


Formula = Const | Atom | All | Either | Same | Exists

TRUE = Const(True)
FALSE = Const(False)


def all_of(operands: Iterable[Formula]) -> Formula:
    """The conjunction, flattened, without constants and repetitions."""
    return _joined(operands, All, FALSE)


def any_of(operands: Iterable[Formula]) -> Formula:
    """The disjunction, flattened, without constants and repetitions."""
    return _joined(operands, Either, TRUE)


def _joined(
    operands: Iterable[Formula], node: type[All] | type[Either], decisive: Const
) -> Formula:
    kept: dict[Formula, None] = {}
    for operand in operands:
        if operand == decisive:
            return decisive
        if isinstance(operand, node):
            kept.update(dict.fromkeys(operand.operands))
        elif not isinstance(operand, Const):
            kept[operand] = None
    if not kept:
        return Const(not decisive.value)
    return next(iter(kept)) if len(kept) == 1 else node(tuple(kept))


def same(left: Formula, right: Formula) -> Formula:
    """Whether both sides agree."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Const):
            return other if one.value else negate(other)
    return Same(left, right)


def negate(formula: Formula) -> Formula:
    """The opposite, with the negation at the conditions."""
    match formula:
        case Const():
            return Const(not formula.value)
        case All():
            return any_of(negate(operand) for operand in formula.operands)
        case Either():
            return all_of(negate(operand) for operand in formula.operands)
        case _:
            return replace(formula, negated=not formula.negated)


def specialise(formula: Formula, decide: Callable[[Atom], bool | None]) -> Formula:
    """The formula with the conditions that `decide` settles (ignoring `negated`) made constant."""
    match formula:
        case Atom():
            verdict = decide(formula)
            return formula if verdict is None else Const(verdict != formula.negated)
        case All():
            return all_of(specialise(operand, decide) for operand in formula.operands)
        case Either():
            return any_of(specialise(operand, decide) for operand in formula.operands)
        case Same():
            agree = same(specialise(formula.left, decide), specialise(formula.right, decide))
            return negate(agree) if formula.negated else agree
        case Exists():
            condition = specialise(formula.condition, decide)
            if condition == FALSE:
                return Const(formula.negated)
            return replace(formula, condition=condition)
        case Const():
            return formula


def atoms(formula: Formula) -> Iterator[Atom]:
    """Every condition, from left to right, also those inside of `exists`."""
    match formula:
        case Atom():
            yield formula
        case All() | Either():
            for operand in formula.operands:
                yield from atoms(operand)
        case Same():
            yield from atoms(formula.left)
            yield from atoms(formula.right)
        case Exists():
            yield from atoms(formula.condition)
        case Const():
            pass


def memberships(formula: Formula) -> Iterator[Exists]:
    """Every `exists`, not negated, from left to right."""
    match formula:
        case Exists():
            yield replace(formula, negated=False)
        case All() | Either():
            for operand in formula.operands:
                yield from memberships(operand)
        case Same():
            yield from memberships(formula.left)
            yield from memberships(formula.right)
        case Atom() | Const():
            pass


def split_join(condition: Formula) -> tuple[Formula, list[tuple[Member, Column]]] | None:
    """The condition of an `exists` as what does not look at the row around it, and equalities with
    fields of that row; None where it is not of this form."""
    own: list[Formula] = []
    joined: list[tuple[Member, Column]] = []
    for part in condition.operands if isinstance(condition, All) else (condition,):
        terms = [term for atom in atoms(part) for term in atom.terms]
        if not any(isinstance(term, Column | Input) for term in terms):
            own.append(part)
            continue
        match part:
            case Atom(
                test="equal",
                negated=False,
                is_folded=False,
                terms=(Member() as member, Column() as column),
            ):
                joined.append((member, column))
            case _:
                return None
    return all_of(own), joined
