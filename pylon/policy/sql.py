"""From a formula to a WHERE fragment: the one place of this folder that writes SQL.

Every fragment is true exactly where the formula is, and false or NULL elsewhere, so it may stand
in a WHERE and under AND and OR, but not under NOT. What differs between databases is behind
`Dialect`; SQLite's is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pylon.policy.formula import (
    All,
    Any,
    Atom,
    Attribute,
    Column,
    Const,
    Constant,
    Formula,
    Same,
    Term,
)

_CHAIN_MAX: Final = 8
"""Longer chains are halved with parentheses: a parser takes a chain as a tree as deep as the
chain is long, and SQLite refuses a depth of 1000."""


class Dialect(Protocol):
    """What databases spell differently."""

    def column(self, name: str) -> str:
        """The column of the table aliased `t`."""

    def placeholder(self, number: int) -> str:
        """The bound value `number`, counted from 1."""

    def constant(self, value: bool) -> str:
        """A condition that always or never holds."""

    def boolean(self, value: bool) -> str:
        """A stored boolean."""

    def is_not(self, column: str, value: str) -> str:
        """True where the column is NULL or another value than the given one, never NULL itself."""

    def is_not_true(self, condition: str) -> str:
        """True where the condition is false or NULL."""

    def agree(self, left: str, right: str, *, negated: bool) -> str:
        """Whether two conditions are both true or both not."""

    def truth(self, column: Column, *, negated: bool) -> str:
        """Whether a value counts as true: not NULL, not zero, not empty."""


class SqliteDialect:
    """Booleans are the integers 0 and 1; values are bound by `?` in textual order."""

    def column(self, name: str) -> str:
        quoted = name.replace('"', '""')
        return f't."{quoted}"'

    def placeholder(self, number: int) -> str:
        return "?"

    def constant(self, value: bool) -> str:
        return "1 = 1" if value else "1 = 0"

    def boolean(self, value: bool) -> str:
        return "1" if value else "0"

    def is_not(self, column: str, value: str) -> str:
        return f"{column} IS NOT {value}"

    def is_not_true(self, condition: str) -> str:
        return f"({condition}) IS NOT 1"

    def agree(self, left: str, right: str, *, negated: bool) -> str:
        return f"(coalesce({left}, 0) {'<>' if negated else '='} coalesce({right}, 0))"

    def truth(self, column: Column, *, negated: bool) -> str:
        nothing = "''" if column.kind == "string" else "0"
        return (
            f"coalesce({self.column(column.name)}, {nothing}) {'=' if negated else '<>'} {nothing}"
        )


SQLITE: Final = SqliteDialect()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """SQL text and the terms to bind, in textual order; the attribute `roles` binds each role."""

    sql: str
    terms: tuple[Term, ...]


def render(formula: Formula, *, dialect: Dialect, role_count: int) -> Fragment:
    """The fragment of a formula whose conditions on the caller alone are already settled.

    `role_count` is how many values the attribute `roles` will bind; at least 1 where it occurs.
    """
    renderer = _Renderer(dialect, role_count)
    return Fragment(sql=renderer.formula(formula), terms=tuple(renderer.terms))


class _Renderer:
    def __init__(self, dialect: Dialect, role_count: int) -> None:
        self._dialect = dialect
        self._role_count = role_count
        self._bound = 0
        self.terms: list[Term] = []

    def formula(self, formula: Formula) -> str:
        match formula:
            case Const():
                return self._dialect.constant(formula.value)
            case Atom():
                return self._atom(formula)
            case All():
                return self._chain(formula.operands, " AND ")
            case Any():
                return self._chain(formula.operands, " OR ")
            case Same():
                left, right = self.formula(formula.left), self.formula(formula.right)
                return self._dialect.agree(left, right, negated=formula.negated)

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
        assert isinstance(column, Column), "conditions on the caller alone are settled before"
        name = self._dialect.column(column.name)
        match atom.test:
            case "null":
                return f"{name} IS {'NOT ' if atom.negated else ''}NULL"
            case "truthy":
                return self._dialect.truth(column, negated=atom.negated)
            case "in_roles":
                return self._signed(f"{name} IN ({self._roles()})", negated=atom.negated)
        right = atom.terms[1]
        value = self._value(right)
        if atom.test == "equal" and atom.negated and not isinstance(right, Column):
            return self._dialect.is_not(name, value)
        sign = {"equal": "=", "differ": "<>"}.get(atom.test, atom.test)
        return self._signed(f"{name} {sign} {value}", negated=atom.negated)

    def _signed(self, condition: str, *, negated: bool) -> str:
        return self._dialect.is_not_true(condition) if negated else condition

    def _value(self, term: Term) -> str:
        if isinstance(term, Column):
            return self._dialect.column(term.name)
        if isinstance(term, Constant) and isinstance(term.value, bool):
            return self._dialect.boolean(term.value)
        self.terms.append(term)
        return self._placeholder()

    def _roles(self) -> str:
        self.terms.append(Attribute("roles", "roles"))
        return ", ".join(self._placeholder() for _ in range(self._role_count))

    def _placeholder(self) -> str:
        self._bound += 1
        return self._dialect.placeholder(self._bound)
