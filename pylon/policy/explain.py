"""Why a policy says yes or no: every part of an expression with its value, for people.

For `pylon policy` only; requests are judged by the compiled rules of `engine`, from the same
formulas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from pylon.codec import encode
from pylon.identity import Identity
from pylon.policy.formula import Formula, memberships
from pylon.policy.lookup import Lookup
from pylon.policy.lower import lower
from pylon.policy.membership import Membership
from pylon.policy.names import BadName, resolve
from pylon.policy.nodes import And, Compare, Exists, Expr, In, ListOf, Not, Or, Path
from pylon.policy.predicate import Predicate, compile_predicate, compile_tuple, source_of_term
from pylon.policy.slots import Slot
from pylon.policy.syntax import format_expr
from pylon.schema.model import EntitySpec

Row = Mapping[str, object]


class Part(Struct, frozen=True, kw_only=True):
    """A part of an expression. `values` are those of the names in it, where it has no parts."""

    text: str
    holds: bool
    values: dict[str, object]
    parts: tuple[Part, ...] = ()

    def lines(self, depth: int = 0) -> Iterator[str]:
        """The tree as text, a line a part."""
        given = ", ".join(
            f"{name} is {encode(value).decode()}" for name, value in self.values.items()
        )
        yield f"{'yes' if self.holds else 'no ':<4}{'  ' * depth}{self.text}" + (
            f"    ({given})" if given else ""
        )
        for part in self.parts:
            yield from part.lines(depth + 1)

    def to_wire(self) -> dict[str, object]:
        """The tree as JSON."""
        wire: dict[str, object] = {"text": self.text, "holds": self.holds}
        if self.values:
            wire["values"] = self.values
        if self.parts:
            wire["parts"] = [part.to_wire() for part in self.parts]
        return wire


class Case(Struct, frozen=True, kw_only=True):
    """A question: this caller, this row (or an action's input), the stored row of an update."""

    entity: EntitySpec | None
    slot: Slot
    identity: Identity
    data: Row
    existing: Row
    lookup: Lookup
    entities: Mapping[str, EntitySpec]


async def explain(expr: Expr, case: Case) -> Part:
    """The parts of an expression without a mistake in it, each judged by itself."""
    inner: tuple[Expr, ...] = ()
    match expr:
        case And() | Or():
            inner = expr.operands
        case Not():
            inner = (expr.operand,)
        case _:
            pass
    return Part(
        text=format_expr(expr),
        holds=await _holds(expr, case),
        values={} if inner else _values(expr, case),
        parts=tuple([await explain(operand, case) for operand in inner]),
    )


async def _holds(expr: Expr, case: Case) -> bool:
    formula, problems = lower(expr, entity=case.entity, slot=case.slot, entities=case.entities)
    if problems:
        return False
    judge = _judge(formula)
    await case.lookup.gather(judge, case.identity, [(case.data, case.existing)])
    return judge.predicate(case.identity, case.data, case.existing, case.lookup)


class _Judge(Struct, frozen=True):
    """A part of a rule, for `gather`; it judges administrators too."""

    predicate: Predicate
    asked: tuple[Membership, ...]

    def denied_by(
        self, identity: Identity, data: Row | None, existing: Row | None, lookup: Lookup
    ) -> str | None:
        return None if self.predicate(identity, data or {}, existing or {}, lookup) else ""


def _judge(formula: Formula) -> _Judge:
    asked = {node: Membership(node) for node in memberships(formula)}
    return _Judge(compile_predicate(formula, asked.__getitem__), tuple(asked.values()))


def _values(expr: Expr, case: Case) -> dict[str, object]:
    values: dict[str, object] = {}
    for path in _paths(expr):
        term = resolve(path, case.entity, case.slot)
        if not isinstance(term, BadName):
            read = compile_tuple([source_of_term(term)], "i, d, e")
            (value,) = read(case.identity, case.data, case.existing)
            values[path.name] = list(value) if isinstance(value, tuple) else value
    return values


def _paths(expr: Expr | ListOf) -> Iterator[Path]:
    match expr:
        case Path():
            yield expr
        case Compare() | In():
            yield from _paths(expr.left)
            yield from _paths(expr.right)
        case And() | Or():
            for operand in expr.operands:
                yield from _paths(operand)
        case ListOf():
            for item in expr.items:
                yield from _paths(item)
        case Not():
            yield from _paths(expr.operand)
        case Exists():
            yield from (path for path in _paths(expr.condition) if path.steps)
        case _:
            pass
