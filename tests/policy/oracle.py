"""The meaning of a policy, written a second time and as plainly as `docs/policies.md` says it.

It walks the tree with values in hand. Slow, and shares nothing with the compilers that it judges.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from pylon.identity import Identity
from pylon.policy.nodes import (
    And,
    Call,
    Compare,
    Exists,
    Expr,
    In,
    ListOf,
    Literal,
    Not,
    Or,
    Path,
)

Row = Mapping[str, Any]

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def when(text: str) -> tuple[int, Any]:
    """What a time's text means, to be compared: times by their moments, then other texts."""
    seconds = re.fullmatch(r"([0-9]{1,15})(Z?)", text)
    try:
        at = datetime.fromisoformat(text)
        if seconds is None or (len(text) == 8 and not seconds[2]):
            moment = at.replace(tzinfo=at.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
            finer = re.search(r"[.,][0-9]{6}([0-9]+)", text)
            rest = Fraction(int(finer[1]), 10 ** (6 + len(finer[1]))) if finer else 0
            return 0, Fraction(moment // timedelta(microseconds=1), 1_000_000) + rest
    except ValueError:
        pass
    return (1, text) if seconds is None else (0, Fraction(int(seconds[1])))


class Oracle:
    """One question: this caller, this row, this stored row, these rows of the other entity.

    `floats` are the float fields of the entity, `.name` those of the other one; `folded` those in
    which A to Z in either case are one value; `times` those that are compared by their moments.
    """

    def __init__(
        self,
        identity: Identity,
        data: Row,
        existing: Row,
        floats: frozenset[str],
        others: Sequence[Row] = (),
        folded: frozenset[str] = frozenset(),
        times: frozenset[str] = frozenset(),
    ) -> None:
        self._folded = folded
        self._times = times
        self._others = others
        self._other: Row | None = None
        self._identity = identity
        self._roots: dict[str, Row] = {"data": data, "existing": existing, "input": data}
        self._floats = floats

    def holds(self, expr: Expr) -> bool:
        match expr:
            case Not():
                return not self.holds(expr.operand)
            case And():
                return all(self.holds(operand) for operand in expr.operands)
            case Or():
                return any(self.holds(operand) for operand in expr.operands)
            case Compare():
                return self._compare(expr)
            case In(right=ListOf(items=items)):
                return any(self._equal(expr.left, item) for item in items)
            case In():
                value = self._value(expr.left)
                return value is not None and value in self._identity.roles
            case Exists():
                return any(self._holds_for(other, expr.condition) for other in self._others)
            case Call():
                return any(role in self._identity.roles for role in expr.arguments)
            case _:
                return bool(self._value(expr))

    def _holds_for(self, other: Row, expr: Expr) -> bool:
        self._other = other
        try:
            return self.holds(expr)
        finally:
            self._other = None

    def _value(self, expr: Expr) -> Any:
        if isinstance(expr, Literal):
            return expr.value
        if not isinstance(expr, Path):
            return self.holds(expr)
        if self._other is not None and not expr.steps:
            return self._other[expr.name]
        if expr.root == "auth":
            who = self._identity
            return {
                "userId": who.user_id,
                "user_id": who.user_id,
                "tenantId": who.tenant_id,
                "tenant_id": who.tenant_id,
                "email": who.email,
                "isGuest": who.is_guest,
                "is_guest": who.is_guest,
                "isAdmin": False,
                "is_admin": False,
            }[expr.steps[0]]
        value: Any = self._roots[expr.root]
        for step in expr.steps:
            value = value.get(step) if isinstance(value, Mapping) else None
        return value if isinstance(value, str | int | float) else None

    def _equal(self, left: Expr, right: Expr) -> bool:
        one, other = self._value(left), self._value(right)
        if _is_null(left) or _is_null(right):
            return one is None and other is None
        if one is None or other is None:
            return False
        one, other = self._matched(left, one, right, other)
        if self._are_times(left, right):
            return when(one) == when(other)
        if self._is_folded(left) or self._is_folded(right):
            one, other = _small(one), _small(other)
        return _kind(one) == _kind(other) and bool(one == other)

    def _matched(self, left: Expr, one: Any, right: Expr, other: Any) -> tuple[Any, Any]:
        """A literal beside a number becomes a number, beside a float field a float."""
        if isinstance(right, Literal) and not isinstance(left, Literal):
            return one, self._literal(left, one, other)
        if isinstance(left, Literal) and not isinstance(right, Literal):
            return self._literal(right, other, one), other
        if isinstance(left, Path) and isinstance(right, Path) and self._other is not None:
            is_across = bool(left.steps) != bool(right.steps)
            if is_across and (self._is_float(left) or self._is_float(right)):
                return float(one), float(other)
        return one, other

    def _is_folded(self, expr: Expr) -> bool:
        if not isinstance(expr, Path):
            return False
        if not expr.steps:
            return f".{expr.name}" in self._folded
        return expr.root != "auth" and expr.steps[0] in self._folded

    def _is_float(self, path: Path) -> bool:
        return self._is_among(path, self._floats)

    @staticmethod
    def _is_among(path: Path, fields: frozenset[str]) -> bool:
        if not path.steps:
            return f".{path.name}" in fields
        return path.root != "auth" and path.steps[0] in fields

    def _are_times(self, left: Expr, right: Expr) -> bool:
        """Whether two texts are compared by their moments: of two fields of times, or of one and a
        literal."""
        sides = (left, right)
        fields = [side for side in sides if isinstance(side, Path)]
        return bool(fields) and all(
            isinstance(side, Literal)
            or (isinstance(side, Path) and self._is_among(side, self._times))
            for side in sides
        )

    def _literal(self, path: Expr, value: Any, literal: Any) -> Any:
        if _kind(value) == "number" and _kind(literal) == "string":
            try:
                literal = int(literal) if literal.lstrip("-").isdigit() else float(literal)
            except ValueError:
                return literal
        if isinstance(path, Path) and self._is_float(path):
            return float(literal) if _kind(literal) == "number" else literal
        return literal

    def _compare(self, expr: Compare) -> bool:
        if expr.op == "==":
            return self._equal(expr.left, expr.right)
        if expr.op == "!=":
            sides = (expr.left, expr.right)
            if all(isinstance(side, Path) for side in sides) and any(
                isinstance(side, Path) and side.root == "auth" for side in sides
            ):
                values = [self._value(side) for side in sides]
                return None not in values and not self._equal(*sides)
            return not self._equal(expr.left, expr.right)
        one, other = self._value(expr.left), self._value(expr.right)
        if one is None or other is None or _kind(one) != _kind(other) or _kind(one) == "bool":
            return False
        if _kind(one) == "number":
            one, other = self._matched(expr.left, one, expr.right, other)
        if self._are_times(expr.left, expr.right):
            one, other = when(one), when(other)
        elif self._is_folded(expr.left) or self._is_folded(expr.right):
            one, other = _small(one), _small(other)
        return bool(_ORDERS[expr.op](one, other))


def _is_null(expr: Expr) -> bool:
    return isinstance(expr, Literal) and expr.value is None


def _small(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return "".join(chr(ord(sign) + 32) if "A" <= sign <= "Z" else sign for sign in value)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    return "string" if isinstance(value, str) else "number"
