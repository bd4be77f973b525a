"""From a formula to SQL: the one place of this folder that writes any.

Every fragment is true exactly where the formula is, and false or NULL elsewhere, so it may stand
in a WHERE and under AND and OR, but not under NOT. The row is aliased `t`, the rows of an `exists`
`x`. The text is SQL that every store takes: booleans are stored as the integers 1 and 0, values are
bound by `?` in textual order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from pylon.letters import small_sql
from pylon.moments import moment_column
from pylon.policy.audience import selectors_of
from pylon.policy.formula import (
    All,
    Atom,
    Attribute,
    Column,
    Const,
    Constant,
    Either,
    Exists,
    Folded,
    Formula,
    Input,
    Kind,
    Member,
    Same,
    Term,
    split_join,
)

_CHAIN_MAX: Final = 8
"""Longer chains are halved with parentheses: a parser takes a chain as a tree as deep as the
chain is long, and SQLite refuses a depth of 1000."""


Bound = Term | Atom | Folded
"""A value to bind; a condition binds its truth."""


class Fragment(Struct, frozen=True, kw_only=True):
    """SQL text and the terms to bind, in textual order; the attribute `roles` binds each role."""

    sql: str
    terms: tuple[Bound, ...]


def render(formula: Formula, *, role_count: int, gathers: bool = False) -> Fragment:
    """The fragment of a formula whose conditions on the caller alone are already settled.

    `role_count` is how many values the attribute `roles` will bind; at least 1 where it occurs.
    With `gathers` the caller's own rows of an `exists` are collected once and looked up in, so
    that an index of the table can start from them: for statements that look through many rows.
    """
    renderer = _Renderer(role_count, binds_row=False, gathers=gathers)
    return Fragment(sql=renderer.formula(formula), terms=tuple(renderer.terms))


def render_members(
    node: Exists, *, columns: Sequence[Member], limit: int, role_count: int
) -> Fragment:
    """A query for the rows that fulfil the condition of an `exists`, where the row around it is
    bound and not a table. Without `columns` each gives a 1."""
    renderer = _Renderer(role_count, binds_row=True)
    wanted = ", ".join(renderer.column(column) for column in columns)
    return Fragment(
        sql=f"SELECT {f'DISTINCT {wanted}' if columns else '1'} FROM {_name(node.entity)} x"
        f" WHERE {renderer.formula(node.condition)} LIMIT {limit}",
        terms=tuple(renderer.terms),
    )


class _Renderer:
    """`binds_row` says that there is no table `t`: what the caller and the row decide is bound."""

    def __init__(self, role_count: int, *, binds_row: bool, gathers: bool = False) -> None:
        self._role_count = role_count
        self._binds_row = binds_row
        self._gathers = gathers
        self.terms: list[Bound] = []

    def formula(self, formula: Formula) -> str:
        match formula:
            case Const():
                return "1 = 1" if formula.value else "1 = 0"
            case Atom():
                return self._atom(formula)
            case All():
                return self._chain(formula.operands, " AND ")
            case Either():
                return self._chain(formula.operands, " OR ")
            case Same():
                left, right = self.formula(formula.left), self.formula(formula.right)
                sign = "<>" if formula.negated else "="
                return f"((({left}) IS TRUE) {sign} (({right}) IS TRUE))"
            case Exists():
                return self._exists(formula)

    def _exists(self, node: Exists) -> str:
        source = f"FROM {_name(node.entity)} x WHERE"
        gathered = _gathered(node) if self._gathers and not node.negated else None
        if gathered is not None:
            own, joined = gathered
            keys = ", ".join(self.column(column) for _, column in joined)
            members = ", ".join(self.column(member) for member, _ in joined)
            return f"({keys}) IN (SELECT {members} {source} {self.formula(own)})"
        sign = "NOT " if node.negated else ""
        return f"{sign}EXISTS (SELECT 1 {source} {self.formula(node.condition)})"

    def column(self, term: Column | Member) -> str:
        name = moment_column(term.name) if term.kind == "time" else term.name
        return f"{'x' if isinstance(term, Member) else 't'}.{_name(name)}"

    def _chain(self, operands: Sequence[Formula], joint: str) -> str:
        if len(operands) == 1:
            return self.formula(operands[0])
        if len(operands) > _CHAIN_MAX:
            middle = len(operands) // 2
            left = self._chain(operands[:middle], joint)
            return f"({left}{joint}{self._chain(operands[middle:], joint)})"
        return "(" + joint.join(self.formula(operand) for operand in operands) + ")"

    def _atom(self, atom: Atom) -> str:
        column = atom.terms[0]
        if self._binds_row and not isinstance(column, Member):
            self.terms.append(atom)
            return "? = 1"
        assert isinstance(column, Column | Member), "what the caller alone decides is settled"
        name = self.column(column)
        match atom.test:
            case "null":
                return f"{name} IS {'NOT ' if atom.negated else ''}NULL"
            case "truthy":
                return _truth(name, column.kind, negated=atom.negated)
            case "in_roles":
                return self._signed(f"{name} IN ({self._roles()})", negated=atom.negated)
        right = atom.terms[1]
        value = self._value(right, is_folded=atom.is_folded)
        if atom.is_folded:
            name = small_sql(name)
        elif isinstance(column, Member) and isinstance(right, Column | Input):
            name, value = self._as_floats(column, name, right, value)
        elif isinstance(right, Constant) and isinstance(right.value, float) and not column.is_float:
            # Beside a column of whole numbers some databases would take it for one.
            value = _as_double(value)
        if atom.test == "equal" and atom.negated and isinstance(right, Attribute | Constant):
            return f"{name} IS DISTINCT FROM {value}"
        sign = {"equal": "=", "differ": "<>"}.get(atom.test, atom.test)
        return self._signed(f"{name} {sign} {value}", negated=atom.negated)

    def _as_floats(
        self, column: Member, name: str, right: Column | Input, value: str
    ) -> tuple[str, str]:
        """A whole number beside a float becomes one, as an index lookup would make it."""
        if column.is_float and not (isinstance(right, Column) and right.is_float):
            return name, _as_double(value) if column.kind == "number" else value
        if isinstance(right, Column) and right.is_float and not column.is_float:
            return _as_double(name), value
        return name, value

    def _signed(self, condition: str, *, negated: bool) -> str:
        return f"({condition}) IS NOT TRUE" if negated else condition

    def _value(self, term: Term, *, is_folded: bool) -> str:
        if isinstance(term, Member) or (isinstance(term, Column) and not self._binds_row):
            column = self.column(term)
            return small_sql(column) if is_folded else column
        if isinstance(term, Constant) and isinstance(term.value, bool):
            return "1" if term.value else "0"
        self.terms.append(Folded(term) if is_folded else term)
        return "?"

    def _roles(self) -> str:
        self.terms.append(Attribute("roles", "roles"))
        return ", ".join("?" * self._role_count)


def _name(name: str) -> str:
    """A table or column, quoted."""
    quoted = name.replace('"', '""')
    return f'"{quoted}"'


def _truth(column: str, kind: Kind, *, negated: bool) -> str:
    """Whether a value counts as true: not NULL, not zero, not empty."""
    nothing = "''" if kind == "string" else "0"
    return f"coalesce({column}, {nothing}) {'=' if negated else '<>'} {nothing}"


def _as_double(value: str) -> str:
    return f"CAST({value} AS DOUBLE PRECISION)"


def _gathered(node: Exists) -> tuple[Formula, list[tuple[Member, Column]]] | None:
    """An `exists` as the caller's own rows and the fields that join them to the row, or None.

    Only where an equality with the caller narrows them: all rows of everybody are too many to
    collect. Floats are left to comparisons, which convert what stands beside them.
    """
    split = split_join(node.condition)
    if split is None or not split[1] or not selectors_of(split[0], Member):
        return None
    return None if any(m.is_float or c.is_float for m, c in split[1]) else split
