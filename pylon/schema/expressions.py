"""Rules written in Python: `auth.userId == data.ownerId` as an object that knows its policy text.

`auth`, `data`, `existing`, `input_` and `row` are the roots. Nothing is evaluated here; the text
goes to the manifest and is compiled by `policy/`. Users meet these names through `pylon`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import Final, TypeAlias

Operand: TypeAlias = "Expression | str | int | float | bool | datetime | None"

# How tightly each form binds, loosest first (spec 05 section 5.2).
_OR, _AND, _COMPARISON, _NOT, _CALL, _ATOM = range(6)

_ESCAPES: Final = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
)


class Expression:
    """A rule or a part of one. Combine with `&`, `|`, `~`; compare with `==`, `<` and the like.

    The concrete classes are siblings: were one the subclass of another, Python would swap the
    sides of their comparisons.
    """

    __slots__ = ("_binding", "_text")
    __hash__ = None  # type: ignore[assignment]  # `==` makes a rule, so there is no equality

    def __init__(self, text: str, binding: int) -> None:
        self._text = text
        self._binding = binding

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<rule {self._text}>"

    def __bool__(self) -> bool:
        raise TypeError(
            f"the rule `{self._text}` has no truth value while the app is declared; "
            "combine rules with & | ~ instead of and, or, not, and do not chain comparisons"
        )

    def __contains__(self, item: object) -> bool:
        raise TypeError(f"write `x.in_(...)` or `{self._text}.contains(x)` instead of `in`")

    def __eq__(self, other: object) -> Expression:  # type: ignore[override]
        return self._compare("==", other)

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]
        return self._compare("!=", other)

    def __lt__(self, other: Operand) -> Expression:
        return self._compare("<", other)

    def __le__(self, other: Operand) -> Expression:
        return self._compare("<=", other)

    def __gt__(self, other: Operand) -> Expression:
        return self._compare(">", other)

    def __ge__(self, other: Operand) -> Expression:
        return self._compare(">=", other)

    def __and__(self, other: Expression | bool) -> Expression:
        return _join("&&", _AND, self, other)

    def __rand__(self, other: bool) -> Expression:
        return _join("&&", _AND, other, self)

    def __or__(self, other: Expression | bool) -> Expression:
        return _join("||", _OR, self, other)

    def __ror__(self, other: bool) -> Expression:
        return _join("||", _OR, other, self)

    def __invert__(self) -> Expression:
        return Formula(f"!{self._within(_NOT)}", _NOT)

    def in_(self, values: Expression | Iterable[str | int | float | bool | None]) -> Expression:
        """Whether the value is one of `values`: literals, or a list such as `auth.roles`."""
        if isinstance(values, Expression):
            container = values._within(_ATOM)
        elif isinstance(values, str):
            raise TypeError("in_() takes a list of values, not a string")
        else:
            container = f"[{', '.join(_literal(value) for value in values)}]"
        return Formula(f"{self._within(_NOT)} in {container}", _COMPARISON)

    def contains(self, value: Operand) -> Expression:
        """Whether this list holds `value`."""
        return Formula(f"{_operand(value)._within(_NOT)} in {self._within(_ATOM)}", _COMPARISON)

    def _compare(self, operator: str, other: object) -> Expression:
        # A call or a negation needs parentheses on the right side, an atom does not.
        right = _operand(other)._within(_ATOM)
        return Formula(f"{self._within(_NOT)} {operator} {right}", _COMPARISON)

    def _within(self, binding: int) -> str:
        """The text, in parentheses when it binds more loosely than `binding`."""
        return self._text if self._binding >= binding else f"({self._text})"


class Formula(Expression):
    """An expression made of others, or a literal."""

    __slots__ = ()


class Path(Expression):
    """A named value: `auth.userId`."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        super().__init__(text, _ATOM)


class RowPath(Expression):
    """A value of a row, or one inside it: `data.title`, `data.author.id`."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        super().__init__(text, _ATOM)

    def __getattr__(self, name: str) -> RowPath:
        step = _checked(name)  # first, as a copy in the making has no text yet
        return RowPath(f"{self._text}.{step}")


class Row:
    """A root whose attributes are the fields of a row or of an input."""

    __slots__ = ("_root",)

    def __init__(self, root: str) -> None:
        self._root = root

    def __getattr__(self, name: str) -> RowPath:
        return RowPath(f"{self._root}.{_checked(name)}")

    def __getitem__(self, name: str) -> RowPath:
        """`data["in_"]`: a field whose name is a word of Python or of this class."""
        return RowPath(f"{self._root}.{_checked(name)}")


class MemberRow:
    """The root whose attributes are the fields of the rows that an `exists` looks through."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Path:
        return Path(_checked(name))

    def __getitem__(self, name: str) -> Path:
        """`row["in_"]`, as with `data`."""
        return Path(_checked(name))


class Auth:
    """The caller, as rules see it."""

    userId: Final = Path("auth.userId")  # noqa: N815 - names as in the policy language
    tenantId: Final = Path("auth.tenantId")  # noqa: N815
    isAdmin: Final = Path("auth.isAdmin")  # noqa: N815
    isGuest: Final = Path("auth.isGuest")  # noqa: N815
    roles: Final = Path("auth.roles")
    email: Final = Path("auth.email")

    def has_role(self, role: str) -> Expression:
        """Whether the caller has this role; administrators have every role."""
        return Formula(f"auth.hasRole({_literal(role)})", _CALL)

    def has_any_role(self, role: str, *more: str) -> Expression:
        """Whether the caller has at least one of these roles."""
        listed = ", ".join(_literal(name) for name in (role, *more))
        return Formula(f"auth.hasAnyRole({listed})", _CALL)


class Now:
    """The default of a field that is filled with the time of the insert; see `now`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "now"


auth: Final = Auth()
"""Who is asking."""

data: Final = Row("data")
"""The row: stored for read and delete, about to be stored for insert and update."""

existing: Final = Row("existing")
"""The row as it was before an update."""

input_: Final = Row("input")
"""The input of an action."""

row: Final = MemberRow()
"""A row of the other entity, inside of `exists`."""

now: Final = Now()
"""`createdAt: datetime = field(default=now)`: the time of the insert."""


def exists(entity: type | str, *conditions: Expression | bool) -> Expression:
    """Whether a row of `entity` fulfils all of the conditions.

    `exists("Member", row.orgId == data.orgId, row.userId == auth.userId)`: the caller belongs to
    the organisation of the row. `row` is the other entity's, `data` the one that the rule is for.
    """
    name = entity if isinstance(entity, str) else entity.__name__
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise TypeError(f"exists() takes an entity, not {name!r}")
    sides = []
    for condition in conditions or (True,):
        if not isinstance(condition, Expression | bool):
            raise TypeError(f"`{condition!r}` is no rule; exists() takes rules")
        sides.append(_operand(condition)._within(_AND if len(conditions) > 1 else _OR))
    return Formula(f"exists({name}, {' && '.join(sides)})", _CALL)


def _operand(value: object) -> Expression:
    return value if isinstance(value, Expression) else Formula(_literal(value), _ATOM)


def _join(sign: str, binding: int, left: object, right: object) -> Expression:
    sides = []
    for side in (left, right):
        if not isinstance(side, Expression | bool):
            raise TypeError(f"`{side!r}` is no rule; combine rules, True and False only")
        sides.append(_operand(side)._within(binding))
    return Formula(f" {sign} ".join(sides), binding)


def _literal(value: object) -> str:
    """A Python value as the policy language writes it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value.translate(_ESCAPES)}"'
        case int():
            return str(int(value))
        case float() if isfinite(value):
            # The language has no exponents.
            text = format(Decimal(repr(value)), "f")
            return text if "." in text else f"{text}.0"
        case datetime():
            return f'"{value.isoformat()}"'
        case _:
            pass
    raise TypeError(f"a rule cannot compare with {value!r}; use a string, number, bool or None")


def _checked(name: str) -> str:
    # Names with two underscores are asked for by copy, pickle and editors, never by rules.
    if name.startswith("__") or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise AttributeError(name)
    return name
