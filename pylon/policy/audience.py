"""What a rule asks of the caller: which attributes, in which groups, found by which row values.

`CallerShape` settles the part of a formula that the caller alone decides; `Audience` is what the
live hub groups its readers by. Neither looks at rows.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from pylon.identity import Identity
from pylon.letters import small
from pylon.policy.formula import (
    All,
    Atom,
    Attribute,
    Column,
    Const,
    Either,
    Folded,
    Formula,
    Member,
    Term,
    atoms,
    specialise,
)
from pylon.policy.names import IDENTITY_FIELDS
from pylon.policy.predicate import (
    compile_tuple,
    source_of_atom,
    source_of_folded,
    source_of_term,
)

ADMIN_KEY: Final = ("__admin__",)

NARROWNESS: Final = ("userId", "email", "tenantId")
"""Attributes from the fewest rows per value to the most, to choose between two selectors."""


EMAIL: Final = "email"
"""The attribute by which callers are found in either case, as `found_by` says."""


def found_by(attribute: str, value: object) -> object:
    """What callers are kept under who are found by a value of an attribute: of an e-mail A to Z in
    small, since fields may hold it in either case. It finds those who differ in that too."""
    return small(value) if attribute == EMAIL else value


class Selector(Struct, frozen=True, kw_only=True):
    """`identity.<attribute> == row[field]`, the attribute by its canonical name (`userId`)."""

    attribute: str
    field: str

    def value(self, identity: Identity) -> str | None:
        """What the row's field must hold for this caller; None selects nothing."""
        value: str | None = getattr(identity, IDENTITY_FIELDS[self.attribute])
        return value


class CallerShape:
    """The conditions of a formula that the caller alone decides, as a tuple of truths.

    Callers of equal shape get the same SQL text; only bound values differ.
    """

    def __init__(self, formula: Formula) -> None:
        self.conditions: tuple[Atom, ...] = tuple(
            dict.fromkeys(_plain(atom) for atom in atoms(formula) if atom.is_of_caller)
        )
        self.bound: tuple[Attribute, ...] = tuple(
            dict.fromkeys(
                term
                for atom in atoms(formula)
                if not atom.is_of_caller
                for term in _attributes(atom)
            )
        )
        presence = [Atom("null", (term,)) for term in self.bound if term.kind == "string"]
        self._places = {
            atom: place for place, atom in enumerate(dict.fromkeys((*self.conditions, *presence)))
        }
        self._counts_roles = any(term.kind == "roles" for term in self.bound)
        sources = [source_of_atom(atom) for atom in self._places]
        self.of = compile_tuple([*sources, "len(i.roles)"] if self._counts_roles else sources)

    def role_count(self, shape: tuple[Any, ...]) -> int:
        """How many roles callers of this shape have; 0 where that plays no part."""
        return int(shape[-1]) if self._counts_roles else 0

    def settle(self, formula: Formula, shape: tuple[Any, ...]) -> Formula:
        """What is left to ask of the row for callers of this shape."""

        def decide(atom: Atom) -> bool | None:
            place = self._places.get(_plain(atom))
            if place is not None:
                return bool(shape[place])
            for term in _attributes(atom):
                absent = self._places.get(Atom("null", (term,)))
                if absent is not None and shape[absent]:
                    return False
                if term.kind == "roles" and not shape[-1]:
                    return False
            return None

        return specialise(formula, decide)


class Audience:
    """Who can be affected by a rule, without looking at each reader.

    `attributes`: canonical names of the caller's attributes that decide, sorted.
    `selectors`: whoever passes the rule for a row (administrators aside) matches at least one of
    them; None when it cannot be narrowed, empty when nobody passes.
    """

    __slots__ = ("_key", "attributes", "selectors")

    def __init__(self, formula: Formula, shape: CallerShape) -> None:
        names = {name for atom in atoms(formula) for name in _attribute_names(atom)}
        self.attributes: tuple[str, ...] = tuple(sorted(names))
        self.selectors: tuple[Selector, ...] | None = selectors_of(formula)
        self._key = compile_tuple(
            [
                *(source_of_atom(atom) for atom in shape.conditions),
                *(_source_of_key(term) for term in shape.bound),
            ]
        )

    def key(self, identity: Identity) -> tuple[object, ...]:
        """Readers of equal keys pass the rule for exactly the same rows. Hashable."""
        return ADMIN_KEY if identity.is_admin else self._key(identity)


def _plain(atom: Atom) -> Atom:
    return replace(atom, negated=False) if atom.negated else atom


def _attributes(atom: Atom) -> tuple[Attribute, ...]:
    """The caller's attributes whose value a condition compares with the row."""
    if atom.test == "in_roles":
        return (Attribute("roles", "roles"),)
    return tuple(term for term in atom.terms if isinstance(term, Attribute))


def _attribute_names(atom: Atom) -> tuple[str, ...]:
    roles = ("roles",) if atom.test in ("has_role", "in_roles") else ()
    return (*roles, *(term.name for term in atom.terms if isinstance(term, Attribute)))


def _source_of_key(term: Attribute) -> str:
    return "tuple(sorted(set(i.roles)))" if term.kind == "roles" else source_of_term(term)


def selectors_of(
    formula: Formula, rows: type[Column] | type[Member] = Column
) -> tuple[Selector, ...] | None:
    """Which row values find the callers: of the row, or of the rows of an `exists` (`Member`)."""
    match formula:
        case Const():
            return None if formula.value else ()
        case Atom(test="equal", negated=False, terms=(column, Attribute() as caller)) as atom:
            if not isinstance(column, rows) or caller.kind != "string":
                return None
            if atom.is_folded and caller.name != EMAIL:
                return None
            if isinstance(column, Column) and column.stored:
                return None
            return (Selector(attribute=caller.name, field=column.name),)
        case All():
            found = [selectors_of(operand, rows) for operand in formula.operands]
            return min((choice for choice in found if choice is not None), key=_cost, default=None)
        case Either():
            branches = [selectors_of(operand, rows) for operand in formula.operands]
            narrow = [choice for choice in branches if choice is not None]
            if len(narrow) < len(branches):
                return None
            return tuple(dict.fromkeys(selector for choice in narrow for selector in choice))
        case _:
            return None


def _cost(selectors: tuple[Selector, ...]) -> tuple[int, int]:
    width = sum(NARROWNESS.index(selector.attribute) for selector in selectors)
    return (len(selectors), width)


def bound_source(term: Term | Atom | Folded) -> str:
    """Python source of a value to bind in SQL, for `compile_tuple`."""
    if isinstance(term, Folded):
        return source_of_folded(term.term)
    if isinstance(term, Atom):
        return f"int({source_of_atom(term)})"
    if isinstance(term, Attribute):
        if term.kind == "roles":
            return "*i.roles"
        if term.kind == "bool":
            return f"int({source_of_term(term)})"
    return source_of_term(term)
