"""The tree of a policy expression, as written. No meaning here: names and kinds are `lower`'s.

`offset` is the position in the source text, for messages; it takes no part in equality.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal as OneOf

CompareOp = OneOf["==", "!=", "<", "<=", ">", ">="]
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    """`true`, `null`, `"text"`, `3`, `-0.5`. Unlike Python's, `1`, `1.0` and `true` differ."""

    value: Scalar
    offset: int = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Literal):
            return NotImplemented
        return type(self.value) is type(other.value) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True, slots=True)
class Path:
    """A dotted name such as `auth.userId`; `name` is the text verbatim."""

    name: str
    offset: int = field(default=0, compare=False)

    @property
    def root(self) -> str:
        """The part before the first dot."""
        return self.name.partition(".")[0]

    @property
    def steps(self) -> tuple[str, ...]:
        """The parts after the root."""
        return tuple(self.name.split(".")[1:])


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[a, b]`, only on the right of `in`."""

    items: tuple[Literal | Path, ...]
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """`auth.hasRole("editor")`."""

    name: str
    arguments: tuple[str, ...]
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Exists:
    """`exists(Entity, condition)`; in the condition bare names are fields of that entity."""

    entity: str
    condition: Expr
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """`!operand`."""

    operand: Expr
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class And:
    """Two or more operands joined by `&&`. A chain is one node, so its length costs no stack."""

    operands: tuple[Expr, ...]
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Or:
    """Two or more operands joined by `||`."""

    operands: tuple[Expr, ...]
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Compare:
    """`left op right`."""

    op: CompareOp
    left: Expr
    right: Expr
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class In:
    """`left in [a, b]` or `left in auth.roles`."""

    left: Expr
    right: ListOf | Path
    offset: int = field(default=0, compare=False)


Expr = Literal | Path | Call | Exists | Not | And | Or | Compare | In
