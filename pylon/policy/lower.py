"""From the tree as written to the formula that is meant, noting what is wrong on the way.

Here live the rules about null and kinds (`docs/policies.md`, "Null" and "Kinds"), once for all
targets. `check` hands the problems to people; `engine` takes the formula, and denies everybody
where there is a problem.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from pylon.moments import moment_key
from pylon.policy.formula import (
    FALSE,
    TRUE,
    Atom,
    Attribute,
    Column,
    Const,
    Constant,
    Exists,
    Formula,
    Input,
    Kind,
    Member,
    Term,
    Test,
    all_of,
    any_of,
    negate,
    same,
)
from pylon.policy.names import CALLS, BadName, resolve
from pylon.policy.nodes import (
    And,
    Call,
    Compare,
    CompareOp,
    Expr,
    In,
    ListOf,
    Literal,
    Not,
    Or,
    Path,
)
from pylon.policy.nodes import Exists as ExistsExpr
from pylon.policy.slots import Slot
from pylon.schema.model import EntitySpec

_NUMBER_TEXT: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")
_ORDERS: Final[dict[str, Test]] = {"<": "<", "<=": "<=", ">": ">", ">=": ">="}
_FLIPPED: Final[dict[Test, Test]] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_FOLD: Final[dict[Test, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ORDERED: Final[frozenset[Kind]] = frozenset(("number", "string", "any"))
_UNKNOWN: Final = Constant(None, "unknown")
_OPAQUE: Final = (
    "Decimals, lists and JSON values can be asked for null only; bounds are said by "
    "`field(min=..., max=...)`, the rest by a hook."
)
_MISMATCH: Final = "POLICY_TYPE_MISMATCH"
NO_ENTITIES: Final[Mapping[str, EntitySpec]] = {}

_Operand = Term | Formula


class PolicyProblem(Struct, frozen=True, kw_only=True):
    """Something wrong with an expression. `offset` counts characters of its text from 0.

    `policy`, `slot` and `key` (the manifest key, for example `allowRead`) are set by
    `check_manifest`.
    """

    code: str
    message: str
    hint: str | None
    offset: int
    policy: str | None = None
    slot: str | None = None
    key: str | None = None


def lower(
    expr: Expr,
    *,
    entity: EntitySpec | None,
    slot: Slot,
    entities: Mapping[str, EntitySpec] = NO_ENTITIES,
) -> tuple[Formula, list[PolicyProblem]]:
    """The formula of `expr` and its problems; with problems the formula is not to be used.

    `entities` are those that an `exists` may name.
    """
    lowering = _Lowering(entity, slot, entities)
    return lowering.formula(expr), lowering.problems


def number_of_text(text: str) -> int | float | None:
    """The number that a string literal spells, or None."""
    match = _NUMBER_TEXT.fullmatch(text)
    if match is None:
        return None
    return float(text) if match.group(2) or match.group(3) else int(text)


class _Lowering:
    def __init__(
        self, entity: EntitySpec | None, slot: Slot, entities: Mapping[str, EntitySpec]
    ) -> None:
        self._entity = entity
        self._slot = slot
        self._entities = entities
        self._member: EntitySpec | None = None
        self.problems: list[PolicyProblem] = []

    def formula(self, expr: Expr) -> Formula:
        """The truth of `expr`."""
        match expr:
            case Literal() | Path():
                return self._truth(self._term(expr), expr.offset)
            case Not():
                return negate(self.formula(expr.operand))
            case And():
                return all_of([self.formula(operand) for operand in expr.operands])
            case Or():
                return any_of([self.formula(operand) for operand in expr.operands])
            case Compare():
                return self._compare(expr)
            case In():
                return self._in(expr)
            case Call():
                return self._call(expr)
            case ExistsExpr():
                return self._exists(expr)

    # --- Operands ----------------------------------------------------------------------------

    def _operand(self, expr: Expr) -> _Operand:
        return self._term(expr) if isinstance(expr, Literal | Path) else self.formula(expr)

    def _term(self, expr: Literal | Path) -> Term:
        if isinstance(expr, Literal):
            return Constant(expr.value, _kind_of(expr.value))
        found = resolve(expr, self._entity, self._slot, self._member)
        if isinstance(found, BadName):
            self._report(found.code, found.message, found.hint, expr.offset)
            return _UNKNOWN
        return found

    def _truth(self, term: Term, offset: int) -> Formula:
        if isinstance(term, Constant):
            return Const(bool(term.value))
        if term.kind == "roles":
            self._mismatch("a list has no truth value", offset, 'Ask `"name" in auth.roles`.')
            return FALSE
        if term.kind == "opaque":
            self._mismatch(f"{_described(term)} has no truth value", offset, _OPAQUE)
            return FALSE
        return Atom("truthy", (term,))

    # --- Comparisons -------------------------------------------------------------------------

    def _compare(self, expr: Compare) -> Formula:
        left, right = self._operand(expr.left), self._operand(expr.right)
        if expr.op == "==":
            return self._equal(left, right, expr.offset)
        if expr.op == "!=":
            if _is_between_paths_of_caller(expr):
                return self._differ(left, right, expr.offset)
            return negate(self._equal(left, right, expr.offset))
        return self._ordered(expr.op, left, right, expr.offset)

    def _equal(self, left: _Operand, right: _Operand, offset: int) -> Formula:
        if not isinstance(left, Term) or not isinstance(right, Term):
            return self._equal_truths(left, right, offset)
        left, right = _by_rank(left, right)
        if _has_unknown(left, right):
            return FALSE
        if right.kind == "null":
            return _is_null(left)
        if left.kind == "null":
            return FALSE
        right = _as_kind_of(left, right)
        if not self._agree(left, right, offset):
            return FALSE
        if isinstance(left, Constant) and isinstance(right, Constant):
            return Const(left.value == right.value)
        return Atom("equal", _as_times(left, _as_input_of(left, right)))

    def _equal_truths(self, left: _Operand, right: _Operand, offset: int) -> Formula:
        """`==` where at least one side is a condition, whose value is a boolean, never null."""
        if isinstance(left, Term):
            left, right = right, left
        assert not isinstance(left, Term)
        if not isinstance(right, Term):
            return same(left, right)
        if right.kind == "unknown":
            return FALSE
        if right.kind == "any":
            return all_of([Atom("bool", (right,)), same(left, Atom("truthy", (right,)))])
        if right.kind != "bool":
            self._mismatch(f"a condition is never equal to {_described(right)}", offset)
            return FALSE
        if isinstance(right, Constant):
            return same(left, Const(bool(right.value)))
        return all_of([negate(_is_null(right)), same(left, Atom("truthy", (right,)))])

    def _differ(self, left: _Operand, right: _Operand, offset: int) -> Formula:
        """`!=` between two paths, one of them the caller's: null differs from nothing."""
        assert isinstance(left, Term)
        assert isinstance(right, Term)
        left, right = _by_rank(left, right)
        if _has_unknown(left, right) or not self._agree(left, right, offset):
            return FALSE
        if isinstance(left, Constant) and isinstance(right, Constant):
            return Const(left.value != right.value)
        return Atom("differ", (left, _as_input_of(left, right)))

    def _ordered(self, op: CompareOp, left: _Operand, right: _Operand, offset: int) -> Formula:
        test = _ORDERS[op]
        for side in (left, right):
            if not isinstance(side, Term):
                self._mismatch("a condition has no order", offset)
                return FALSE
        assert isinstance(left, Term)
        assert isinstance(right, Term)
        if _has_unknown(left, right):
            return FALSE
        first, second = _by_rank(left, right)
        if first is not left:
            test = _FLIPPED[test]
        for term in (first, second):
            if term.kind not in _ORDERED:
                hint = "Only numbers and strings have an order."
                self._mismatch(f"{_described(term)} has no order", offset, hint)
                return FALSE
        if not self._agree(first, second, offset):
            return FALSE
        if isinstance(first, Constant) and isinstance(second, Constant):
            return Const(_FOLD[test](first.value, second.value))
        second = _as_input_of(first, _as_float_of(first, second))
        return Atom(test, _as_times(first, second))

    def _agree(self, left: Term, right: Term, offset: int) -> bool:
        """Whether two values of these kinds can ever be equal; if not, a problem."""
        if "roles" in (left.kind, right.kind):
            hint = 'Ask `"name" in auth.roles`.'
            self._mismatch("a list is not compared with a value", offset, hint)
            return False
        if "opaque" in (left.kind, right.kind):
            opaque = left if left.kind == "opaque" else right
            self._mismatch(f"{_described(opaque)} is not compared by rules", offset, _OPAQUE)
            return False
        if left.kind == right.kind or "any" in (left.kind, right.kind):
            return True
        self._mismatch(
            f"{_described(left)} is never comparable with {_described(right)}",
            offset,
            "Compare values of one kind.",
        )
        return False

    # --- Membership and calls ----------------------------------------------------------------

    def _in(self, expr: In) -> Formula:
        left = self._operand(expr.left)
        if isinstance(expr.right, ListOf):
            items = [(self._term(item), item.offset) for item in expr.right.items]
            return any_of([self._equal(left, term, offset) for term, offset in items])
        right = self._term(expr.right)
        if right.kind == "unknown":
            return FALSE
        if right.kind != "roles":
            hint = "The right side of `in` is a list in brackets or `auth.roles`."
            self._mismatch(f"`{expr.right.name}` is not a list", expr.right.offset, hint)
            return FALSE
        if not isinstance(left, Term) or left.kind not in ("string", "any", "unknown"):
            self._mismatch("a role is a string", expr.offset)
            return FALSE
        if left.kind == "unknown":
            return FALSE
        return Atom("has_role" if isinstance(left, Constant) else "in_roles", (left,))

    def _exists(self, expr: ExistsExpr) -> Formula:
        if self._member is not None:
            hint = "Keep what both have to say in one row, or in two rules."
            self._report("POLICY_EXISTS_NESTED", "`exists` inside `exists`", hint, expr.offset)
            return FALSE
        entity = self._entities.get(expr.entity)
        if entity is None:
            close = get_close_matches(expr.entity, self._entities, n=1)
            hint = f"Did you mean `{close[0]}`?" if close else "Name an entity of the app."
            message = f"there is no entity `{expr.entity}`"
            self._report("POLICY_UNKNOWN_NAME", message, hint, expr.offset)
            return FALSE
        self._member = entity
        condition = self.formula(expr.condition)
        self._member = None
        return FALSE if condition == FALSE else Exists(entity.name, condition)

    def _call(self, expr: Call) -> Formula:
        name = CALLS.get(expr.name)
        if name is None:
            hint = (
                "There are `auth.hasRole(name)`, `auth.hasAnyRole(name, ...)` and "
                "`exists(Entity, condition)`."
            )
            self._report("POLICY_UNKNOWN_CALL", f"unknown call `{expr.name}`", hint, expr.offset)
            return FALSE
        if not expr.arguments or (name == "auth.hasRole" and len(expr.arguments) != 1):
            count = "exactly one role" if name == "auth.hasRole" else "at least one role"
            self._report("POLICY_CALL_ARITY", f"`{expr.name}` takes {count}", None, expr.offset)
            return FALSE
        roles = tuple(dict.fromkeys(expr.arguments))
        return any_of([Atom("has_role", (Constant(role, "string"),)) for role in roles])

    # --- Problems ----------------------------------------------------------------------------

    def _mismatch(self, message: str, offset: int, hint: str | None = None) -> None:
        self._report(_MISMATCH, message, hint, offset)

    def _report(self, code: str, message: str, hint: str | None, offset: int) -> None:
        self.problems.append(PolicyProblem(code=code, message=message, hint=hint, offset=offset))


def _kind_of(value: str | int | float | bool | None) -> Kind:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    return "string" if isinstance(value, str) else "number"


def _has_unknown(left: Term, right: Term) -> bool:
    return "unknown" in (left.kind, right.kind)


def _is_null(term: Term) -> Formula:
    if isinstance(term, Constant):
        return TRUE if term.kind == "null" else FALSE
    if isinstance(term, Attribute) and term.kind in ("bool", "roles"):
        return FALSE
    if isinstance(term, Column | Member) and term.is_time:
        term = replace(term, kind="time")  # so that the index is of use
    return Atom("null", (term,))


def _is_between_paths_of_caller(expr: Compare) -> bool:
    sides = (expr.left, expr.right)
    return all(isinstance(side, Path) for side in sides) and any(
        isinstance(side, Path) and side.root == "auth" for side in sides
    )


def _by_rank(left: Term, right: Term) -> tuple[Term, Term]:
    """The row's side first and the literal last, so that SQL reads `column = value`."""
    ranks = (Member, Column, Input, Attribute, Constant)
    if ranks.index(type(left)) <= ranks.index(type(right)):
        return left, right
    return right, left


def _as_kind_of(left: Term, right: Term) -> Term:
    """The literal as a number where a numeric field is compared with a number in quotes.

    The reference turned numbers into text, so its policies are written that way.
    """
    if left.kind == "number" and right.kind == "string" and isinstance(left, Column | Member):
        number = number_of_text(str(right.value)) if isinstance(right, Constant) else None
        if number is not None:
            right = Constant(number, "number")
    return _as_float_of(left, right)


def _as_float_of(left: Term, right: Term) -> Term:
    """A whole number beside a float field becomes a float, as an index lookup would make it."""
    if isinstance(left, Column | Member) and left.is_float and isinstance(right, Constant):
        return Constant(float(right.value or 0), "number") if right.kind == "number" else right
    return right


def _as_input_of(left: Term, right: Term) -> Term:
    """An input beside a field of another row takes its kind, for the database to compare."""
    if isinstance(left, Member) and isinstance(right, Input):
        return replace(right, kind=left.kind)
    return right


def _as_times(left: Term, right: Term) -> tuple[Term, Term]:
    """A time beside a time, or beside what is written for one, is asked for its moment. Beside any
    other text it is a text."""
    if not (isinstance(left, Column | Member) and left.is_time):
        return left, right
    other: Term
    match right:
        case Column(is_time=True) | Member(is_time=True):
            other = replace(right, kind="time")
        case Input():
            other = replace(right, kind="time")
        case Constant(value=str() as text):
            other = Constant(moment_key(text), "time")
        case _:
            return left, right
    return replace(left, kind="time"), other


def _described(term: Term) -> str:
    match term:
        case Constant():
            return "null" if term.value is None else f"the {term.kind} {term.value!r}"
        case Attribute():
            return f"`auth.{term.name}` ({term.kind})"
        case Column():
            return f"`{'existing' if term.stored else 'data'}.{term.name}` ({term.kind})"
        case Member():
            return f"`{term.name}` ({term.kind})"
        case Input():
            return f"`input.{'.'.join(term.steps)}`"
