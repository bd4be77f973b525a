"""Random schemas, well-typed policies, callers and rows, and a real table to ask.

Values come from small pools, so that equal ones meet often; the pools hold the awkward ones.
`PYLON_LONG=1` makes every randomised test of this folder a hundred times longer.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import apsw
from hypothesis import settings
from hypothesis import strategies as st

from pylon.identity import Identity
from pylon.moments import moment_column, with_keys
from pylon.policy.engine import PolicyEngine, Where
from pylon.policy.lookup import UNCONNECTED, Fetch, Judge, Lookup
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
from pylon.policy.syntax import format_expr
from pylon.schema.model import EntitySpec, FieldSpec, Manifest, PolicySpec

Row = dict[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

STRINGS = (
    *("", "a", "b", "B", "u1", "é", "e\u0301", "İ", "\u212a", "\uffff", "\U0001f600", "3"),
    *("a\0b", "'\"\\\n", " a ", "\u2028"),
)
INTS = (0, 1, -1, 3, 2**53, 2**53 + 1, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 1.0, 1.5, -2.5, 3.0, 0.1, 2.0**53, 2.0**63, 1e300)
EDGES = (5e-324, -1.7976931348623157e308, -(2.0**63), 2.0**63 - 1024, 0.1 + 0.2, 9007199254740994.0)
"""Floats that are too long for policies to be made of, but not for rows."""
NUMBER_TEXTS = ("0", "3", "-1", "1.5", "1.0", "0.1", "9007199254740993", "1e3")
TIMES = (
    *("2026-01-01T00:00:00Z", "2026-01-01T02:00:00+02:00", "2026-01-01", "1767225600Z", "3"),
    *("2026-01-01T00:00:00.000001Z", "2025-12-31T23:59:59.9Z", "20260101", "a", ""),
)
"""Times that are one moment, in several spellings, and some nearby; and texts that are none, which
there are in old databases."""
NAMES = ("a", "b", "flag", "order", "in", "select", "_x9", "ownerId")
TYPES = ("string", "string", "datetime", "id(User)", "richtext", "int", "float", "bool")
ROLES = ("a", "b", "editor")

_COLUMN_TYPES = {"int": "INTEGER", "bool": "INTEGER", "float": "REAL"}
_COMPARISONS = st.sampled_from(("==", "!="))
_ORDERS = st.sampled_from(("<", "<=", ">", ">="))


def effort(examples: int) -> settings:
    """Settings of a randomised test."""
    factor = 100 if os.environ.get("PYLON_LONG") else 1
    return settings(max_examples=examples * factor, deadline=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A policy over a schema, with rows to judge and callers to ask."""

    entity: EntitySpec
    expr: Expr
    rows: list[Row]
    identities: list[Identity]
    other: EntitySpec
    others: list[Row]

    @property
    def floats(self) -> frozenset[str]:
        """As the oracle wants them."""
        return self._of_kind("float")

    @property
    def times(self) -> frozenset[str]:
        """As the oracle wants them."""
        return self._of_kind("datetime")

    def _of_kind(self, kind: str) -> frozenset[str]:
        own = (field.name for field in self.entity.fields if field.kind == kind)
        others = (f".{field.name}" for field in self.other.fields if field.kind == kind)
        return frozenset((*own, *others))

    @property
    def folded(self) -> frozenset[str]:
        """As the oracle wants them."""
        return frozenset((*folded_of(self.entity), *folded_of(self.other, ".")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Rows and callers by lot: from one drawn seed, since drawing each value costs far more."""

    random: Random

    def identity(self) -> Identity:
        roles = self.random.sample(ROLES, self.random.randrange(len(ROLES) + 1))
        return Identity(
            user_id=self.random.choice((None, *STRINGS)),
            tenant_id=self.random.choice((None, "a", "b", "3")),
            email=self.random.choice((None, "a", "é", "A", "É")),
            roles=tuple(roles),
            is_guest=self.random.random() < 0.5,
        )

    def row(self, entity: EntitySpec) -> Row:
        """Each value of its field's kind, or null."""
        pools: dict[str, tuple[Any, ...]] = {"int": INTS, "bool": (True, False)}
        pools["float"], pools["datetime"] = (*FLOATS, *EDGES), TIMES
        row: Row = {"id": self.random.choice(STRINGS)}
        for field in entity.fields:
            absent = self.random.random() < 0.25
            choices = pools.get(field.kind, STRINGS)
            row[field.name] = None if absent else self.random.choice(choices)
        return row


def folded_of(entity: EntitySpec, before: str = "") -> Iterable[str]:
    """The fields in which A to Z in either case are one value, as the oracle wants them."""
    return (f"{before}{field.name}" for field in entity.fields if field.folds)


def _as_written(field: FieldSpec) -> FieldSpec:
    return FieldSpec(name=field.name, type=field.type)


pools = st.integers(min_value=0, max_value=2**32).map(lambda seed: Pool(random=Random(seed)))

field_lists = st.lists(
    st.builds(
        FieldSpec,
        name=st.sampled_from(NAMES),
        type=st.sampled_from(TYPES),
        caseInsensitive=st.sampled_from((None, None, True)),
    ).map(lambda field: field if field.kind == "string" else _as_written(field)),
    min_size=2,
    max_size=6,
    unique_by=lambda field: field.name,
).map(tuple)

entities = field_lists.map(lambda fields: EntitySpec(name="Thing", fields=fields))
other_entities = field_lists.map(lambda fields: EntitySpec(name="Other", fields=fields))


def exprs_of(
    entity: EntitySpec, *, update: bool = False, other: EntitySpec | None = None
) -> st.SearchStrategy[Expr]:
    """Policies over the entity without a problem (`existing.` only in an update rule).

    With `other` they look for its rows, too.
    """
    roots = ("data", "existing") if update else ("data",)
    names = _Names(entity, roots)
    if other is None:
        return _SHAPES.map(names.put_in)
    names.other, names.inside = other.name, _Names(entity, roots, other)
    return _ASKING_SHAPES.map(names.put_in)


class _Names:
    """What the places of a shape are filled with: paths of an entity, by kind.

    A shape is drawn without regard to an entity, because strategies that are made for each take
    Hypothesis twenty times as long. A place in it is a path such as `?text 17`: the seventeenth of
    the paths that are texts, counted round and round.
    """

    def __init__(
        self, entity: EntitySpec, roots: tuple[str, ...], bare: EntitySpec | None = None
    ) -> None:
        def paths(*kinds: str) -> list[str]:
            return [
                *(each.name for each in (bare.fields if bare else ()) if each.kind in kinds),
                *(f"{root}.{f.name}" for root in roots for f in entity.fields if f.kind in kinds),
            ]

        self.paths = {
            "text": [
                *(("id", "data.id") if bare else ("data.id",)),
                *paths("string", "datetime", "richtext", "id"),
                *(f"auth.{name}" for name in ("userId", "user_id", "tenantId", "email")),
            ],
            "bool": paths("bool") or ["auth.isGuest"],
            "number": paths("int", "float"),
        }
        self.other, self.inside = "", self

    def put_in(self, expr: Any) -> Any:
        """The expression with a path in each place."""
        match expr:
            case Path(name=name) if name.startswith("?"):
                kind, number = name[1:].split()
                found = self.paths[kind] or self.paths["text"]
                return Path(found[int(number) % len(found)])
            case Not(operand=operand):
                return Not(self.put_in(operand))
            case And(operands=operands) | Or(operands=operands):
                return type(expr)(tuple(map(self.put_in, operands)))
            case Exists(condition=condition):
                return Exists(self.other, self.inside.put_in(condition))
            case Compare(left=left, right=right) | In(left=left, right=right):
                if not self.paths["number"] and (_is_number(left) or _is_number(right)):
                    return self.put_in(_of_texts(expr))
                changed = {"left": self.put_in(left), "right": self.put_in(right)}
                return dataclasses.replace(expr, **changed)
            case ListOf(items=items):
                return ListOf(tuple(map(self.put_in, items)))
        return expr


def _is_number(expr: Expr | ListOf) -> bool:
    return isinstance(expr, Path) and expr.name.startswith("?number")


def _of_texts(expr: Compare | In) -> Compare:
    """Instead of a comparison of numbers, where an entity has none."""
    place = expr.left if _is_number(expr.left) else expr.right
    assert isinstance(place, Path)
    op = expr.op if isinstance(expr, Compare) else "=="
    return Compare(op, Path(place.name.replace("?number", "?text")), Literal("a"))


def _place(kind: str) -> st.SearchStrategy[Path]:
    return st.sampled_from([Path(f"?{kind} {number}") for number in range(60)])


def _shapes() -> tuple[st.SearchStrategy[Expr], st.SearchStrategy[Expr]]:
    """Of policies that look at the row and the caller, and of those that ask for rows as well."""
    conditions = _conditions()
    inside = _combined(conditions, max_leaves=6)
    # As they are written in earnest: one field of the row, one of the caller.
    likely = st.lists(conditions, min_size=1, max_size=3).map(
        lambda some: And(tuple(some)) if len(some) > 1 else some[0]
    )
    # By way of a function, since Hypothesis would print all of it.
    asked = st.none().flatmap(lambda _: st.builds(Exists, st.just("?"), inside | likely))
    return (
        _combined(conditions, max_leaves=12),
        _combined(conditions | asked | asked, max_leaves=8),
    )


def _combined(conditions: st.SearchStrategy[Any], *, max_leaves: int) -> st.SearchStrategy[Expr]:
    return st.recursive(
        conditions,
        lambda inner: st.one_of(
            st.builds(Not, inner),
            st.lists(inner, min_size=2, max_size=12).map(lambda some: Or(tuple(some))),
            st.lists(inner, min_size=2, max_size=4).map(lambda some: And(tuple(some))),
            st.builds(Compare, _COMPARISONS, inner.filter(_is_condition), inner.filter(_is_bool)),
            st.builds(In, inner.filter(_is_condition), st.just(ListOf((Literal(True),)))),
        ),
        max_leaves=max_leaves,
    )


def _conditions() -> st.SearchStrategy[Expr]:
    texts, numbers = _place("text"), _place("number")
    bools = st.sampled_from([Path("auth.isGuest"), Path("auth.is_admin")]) | _place("bool")
    text = st.sampled_from([Literal(value) for value in (*STRINGS, *TIMES)])
    truth = st.sampled_from([Literal(True), Literal(False)])
    number = st.sampled_from([Literal(value) for value in (*INTS, *FLOATS)])
    quoted = st.sampled_from([Literal(value) for value in NUMBER_TEXTS])
    null = st.just(Literal(None))
    roles = st.lists(st.sampled_from(ROLES), min_size=1, max_size=2).map(tuple)
    return st.one_of(
        _pairs(_COMPARISONS, texts, texts | text | null),
        _pairs(_ORDERS, texts, texts | text),
        _pairs(_COMPARISONS, bools, bools | truth | null),
        st.builds(In, texts, st.lists(texts | text | null, max_size=3).map(_list_of)),
        st.builds(In, texts | text, st.just(Path("auth.roles"))),
        st.builds(Call, st.just("auth.hasAnyRole"), roles),
        texts | bools | truth | text | null,
        _pairs(_COMPARISONS, numbers, numbers | number | quoted | null),
        _pairs(_ORDERS, numbers, numbers | number),
        st.builds(In, numbers, st.lists(numbers | number | quoted, max_size=3).map(_list_of)),
        numbers,
    )


def _pairs(
    op: st.SearchStrategy[Any], left: st.SearchStrategy[Any], right: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    return st.builds(Compare, op, left, right) | st.builds(Compare, op, right, left).filter(
        lambda built: not (isinstance(built.left, Literal) and isinstance(built.right, Literal))
    )


def _list_of(items: list[Any]) -> ListOf:
    return ListOf(tuple(items))


def _is_condition(expr: Expr) -> bool:
    return not isinstance(expr, Literal | Path)


def _is_bool(expr: Expr) -> bool:
    if isinstance(expr, Path):
        return expr.name in ("auth.isGuest", "auth.is_admin")
    return not isinstance(expr, Literal) or isinstance(expr.value, bool)


_SHAPES, _ASKING_SHAPES = _shapes()


@st.composite
def worlds(draw: Draw) -> World:
    """A read policy with rows and callers."""
    entity, other = draw(entities), draw(other_entities)
    pool = draw(pools)
    return World(
        entity=entity,
        expr=draw(exprs_of(entity) | exprs_of(entity, other=other)),
        rows=[pool.row(entity) for _ in range(12)],
        identities=[pool.identity() for _ in range(6)],
        other=other,
        others=[pool.row(other) for _ in range(pool.random.randrange(5))],
    )


def engine_of(
    entity: EntitySpec,
    *exprs: Expr | str,
    others: tuple[EntitySpec, ...] = (),
    read: Fetch = UNCONNECTED,
) -> PolicyEngine:
    """The production engine of a manifest with one policy per expression, through its text."""
    texts = [expr if isinstance(expr, str) else format_expr(expr) for expr in exprs]
    policies = tuple(
        PolicySpec(name=f"p{number}", entity=entity.name, allow=text)
        for number, text in enumerate(texts)
    )
    manifest = Manifest(name="app", version="1", entities=(entity, *others), policies=policies)
    return PolicyEngine(manifest, open_by_default=False, read=read)


class Table:
    """The rows in SQLite, every second column indexed, so that lookups are compared too."""

    def __init__(self, entity: EntitySpec, rows: list[Row]) -> None:
        self._database = apsw.Connection(":memory:")
        self._add("thing", entity, rows)

    def add_other(self, entity: EntitySpec, rows: list[Row]) -> None:
        """The table that an `exists` looks through."""
        self._add(entity.name, entity, rows)

    async def fetch(
        self, sql: str, params: Sequence[Any] = (), *, seconds: float | None = None
    ) -> list[tuple[Any, ...]]:
        """What the engine asks through; suspends like a database behind a network."""
        await asyncio.sleep(0)
        return self._database.execute(sql, params).fetchall()

    def _add(self, table: str, entity: EntitySpec, rows: list[Row]) -> None:
        times = [field.name for field in entity.fields if field.kind == "datetime"]
        names = ["id", *(field.name for field in entity.fields), *map(moment_column, times)]
        types = [_COLUMN_TYPES.get(field.kind, "TEXT") for field in entity.fields]
        types += ["TEXT"] * len(times)
        columns = ", ".join(
            f'"{name}" {kind}' for name, kind in zip(names, ["TEXT", *types], strict=True)
        )
        self._database.execute(f'CREATE TABLE "{table}" (n_ INTEGER PRIMARY KEY, {columns})')
        for name in names[::2]:
            self._database.execute(f'CREATE INDEX "{table}_by_{name}" ON "{table}" ("{name}")')
        marks = ", ".join("?" for _ in range(len(names) + 1))
        for number, given in enumerate(rows):
            row = with_keys(given, times)
            values = [int(row[name]) if row[name] is True or row[name] is False else row[name]
                      for name in names]  # fmt: skip
            self._database.execute(f'INSERT INTO "{table}" VALUES ({marks})', (number, *values))

    def numbers(self, where: Where) -> set[int]:
        """The positions of the rows that pass."""
        condition = "" if where.sql is None else f" WHERE {where.sql}"
        cursor = self._database.execute(f"SELECT t.n_ FROM thing t{condition}", where.params)
        return {number for (number,) in cursor}


def gathered(
    lookup: Lookup,
    rule: Judge,
    identity: Identity,
    rows: Iterable[Row],
    existing: Row | None = None,
) -> Lookup:
    """The lookup with what the rule needs for these rows."""
    asyncio.run(lookup.gather(rule, identity, [(row, existing) for row in rows]))
    return lookup
