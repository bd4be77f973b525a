"""Rules written in Python: `auth.userId == data.ownerId` as an object that knows its policy text.

`auth`, `data`, `existing`, `input_` and `row` are the roots. Nothing is evaluated here; the text
goes to the manifest and is compiled by `policy/`. Users meet these names through `pylon`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Final, Never, TypeAlias

from pylon.schema.called import declaration
from pylon.schema.diagnostics import did_you_mean
from pylon.schema.truth import why_no_truth

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
        raise TypeError(why_no_truth(self._text, sys._getframe(1)))

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
        elif not isinstance(values, Iterable):
            raise TypeError(f"in_() takes a list of values: `{self._text}.in_([{values!r}])`")
        else:
            container = f"[{', '.join(_literal(value) for value in values)}]"
        return Formula(f"{self._within(_NOT)} in {container}", _COMPARISON)

    def contains(self, value: Operand) -> Expression:
        """Whether this list holds `value`."""
        return Formula(f"{_operand(value)._within(_NOT)} in {self._within(_ATOM)}", _COMPARISON)

    if not TYPE_CHECKING:

        def __call__(self, *_values: object) -> Never:
            raise TypeError(
                f"`{self._text}` cannot be called: rules compare, and have in_(), contains(), "
                "auth.has_role() and exists(); what they cannot say belongs into a hook"
            )

        def __iter__(self) -> Never:
            raise TypeError(
                f"the rule `{self._text}` has no items while the app is declared; "
                f"for a list of values write `x.in_([...])` or `{self._text}.contains(x)`"
            )

        def __len__(self) -> Never:
            raise TypeError(
                f"rules measure nothing, so there is no len(`{self._text}`); how long a text may "
                "be is said by `field(max_length=...)`"
            )

        def _compute(self, _other: object) -> Never:
            raise TypeError(
                f"rules compute nothing, so `{self._text}` has no + - * / %; "
                "compare fields with values, and keep what is computed in a field of its own"
            )

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _compute
        __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _compute

    def _compare(self, operator: str, other: object) -> Expression:
        _refuse_lost_parentheses(self, operator, other)
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

    def __repr__(self) -> str:
        return self._root

    def __getattr__(self, name: str) -> RowPath:
        return RowPath(f"{self._root}.{_checked(name)}")

    def __getitem__(self, name: str) -> RowPath:
        """`data["in_"]`: a field whose name is a word of Python or of this class."""
        return RowPath(f"{self._root}.{_checked(name)}")


class MemberRow:
    """The root whose attributes are the fields of the rows that an `exists` looks through."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "row"

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

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Never:
            known = [each for each in dir(self) if not each.startswith("_")]
            hint = did_you_mean(name.replace("_", ""), known)
            raise AttributeError(f"auth has no member {name!r}. {hint}")

    def __repr__(self) -> str:
        return "auth"

    def has_role(self, role: str) -> Expression:
        """Whether the caller has this role; administrators have every role."""
        _refuse_other_roles(role)
        return Formula(f"auth.hasRole({_literal(role)})", _CALL)

    def has_any_role(self, role: str, *more: str) -> Expression:
        """Whether the caller has at least one of these roles."""
        _refuse_other_roles(role, *more)
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


@declaration("exists", entity=(type, str))
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
            word = "&" if sign == "&&" else "|"
            raise TypeError(
                f"`{side!r}` is no rule; Python binds {word} more tightly than comparisons: put "
                f"each comparison in parentheses, as in `(data.a == 1) {word} (data.b == 2)`"
            )
        sides.append(_operand(side)._within(binding))
    return Formula(f" {sign} ".join(sides), binding)


def _refuse_other_roles(*roles: object) -> None:
    for role in roles:
        if not isinstance(role, str):
            raise TypeError(f"a role is a string, not {role!r}; several are has_any_role(a, b)")


def _refuse_lost_parentheses(left: Expression, operator: str, right: object) -> None:
    """Raise for `a == b & c`, which Python reads as `a == (b & c)`: a combination of rules is true
    or false, so that nothing but True and False is meant to be compared with it."""
    for side, other in ((left, right), (right, left)):
        if not isinstance(side, Expression) or side._binding not in (_AND, _OR, _NOT):
            continue
        if isinstance(other, bool) or (side._binding == _NOT and other is None):
            continue
        if side._binding == _NOT:
            raise TypeError(
                f"`{side}` is compared by {operator}, since Python binds ~ more tightly: "
                f"put the comparison in parentheses, as in `~(data.a {operator} data.b)`"
            )
        sign = "&" if side._binding == _AND else "|"
        raise TypeError(
            f"`{side}` is compared by {operator}, since Python binds {sign} more tightly: put "
            f"each comparison in parentheses, as in `(data.a == data.b) {sign} (data.c == data.d)`"
        )


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
    # Names such as __copy__ and _repr_html_ are asked for by copy, pickle and editors.
    if name.startswith("__") or (name.startswith("_") and name.endswith("_")):
        raise AttributeError(name)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise AttributeError(f"{name!r} cannot be the name of a field")
    return name
