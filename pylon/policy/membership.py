"""What an `exists` asks: is there a row of another entity that fulfils a condition?

`Membership` is one `exists` made ready to be asked for a caller and a row; who asks, and when, is
`lookup.py`. `Watch` says whom a changed row of the other entity concerns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from pylon.identity import Identity
from pylon.limits import POLICY_MEMBERS_REMEMBERED_MAX, POLICY_SHAPES_CACHED_MAX
from pylon.policy.audience import CallerShape, Selector, bound_source, selectors_of
from pylon.policy.formula import (
    FALSE,
    Exists,
    Member,
    atoms,
    split_join,
)
from pylon.policy.predicate import Row, compile_tuple, source_of_term
from pylon.policy.sql import render_members

Look = tuple[str, tuple[Any, ...]]
"""A query and what is bound in it. Equal looks have equal answers, whoever asks."""

_Asked = tuple[str, Callable[..., tuple[Any, ...]]]


class Membership:
    """One `exists` of a rule."""

    def __init__(self, node: Exists) -> None:
        self._single = _Query(node, (), 1)
        pairs = split_join(node.condition)
        self._set: _Query | None = None
        if pairs is not None:
            own, joined = pairs
            columns = tuple(member for member, _ in joined)
            limit = POLICY_MEMBERS_REMEMBERED_MAX + 1
            self._set = _Query(Exists(node.entity, own), columns, limit)
            self._floats = tuple(m.is_float or c.is_float for m, c in joined)
            self._key = compile_tuple((source_of_term(c) for _, c in joined), "i, d, e")

    def look(self, identity: Identity, data: Row, existing: Row) -> Look | None:
        """A query with one row where there is such a row, else none; None: there can be none."""
        return self._single.look(identity, data, existing)

    def members_query(self, identity: Identity) -> Look | None:
        """A query for all keys for which this caller has a row; None: there can be none, or they
        cannot be told beforehand."""
        return None if self._set is None else self._set.look(identity, {}, {})

    def members(self, rows: Sequence[Sequence[Any]]) -> frozenset[Any] | None:
        """The keys in the answer to `members_query`; None where they cannot be told beforehand, or
        are too many to keep."""
        if self._set is None or len(rows) > POLICY_MEMBERS_REMEMBERED_MAX:
            return None
        if not self._floats:
            return frozenset(((),) if rows else ())
        # What is null equals nothing.
        return frozenset(self._as_key(tuple(row)) for row in rows if None not in row)

    def key(self, identity: Identity, data: Row, existing: Row) -> Any:
        """What `members` must hold for this row."""
        return self._as_key(self._key(identity, data, existing))

    def _as_key(self, values: tuple[Any, ...]) -> Any:
        if not any(self._floats):
            return values
        return tuple(
            float(value) if is_float and value is not None else value
            for value, is_float in zip(values, self._floats, strict=True)
        )


class _Query:
    """A query of an `exists`; its text depends on the caller's shape only."""

    def __init__(self, node: Exists, columns: tuple[Member, ...], limit: int) -> None:
        self._node = node
        self._columns = columns
        self._limit = limit
        self._shape = CallerShape(node.condition)
        self._asked: dict[tuple[Any, ...], _Asked | None] = {}

    def look(self, identity: Identity, data: Row, existing: Row) -> Look | None:
        shape = self._shape.of(identity)
        if shape not in self._asked:
            if len(self._asked) >= POLICY_SHAPES_CACHED_MAX:
                self._asked.clear()
            self._asked[shape] = self._compile(shape)
        asked = self._asked[shape]
        return None if asked is None else (asked[0], asked[1](identity, data, existing))

    def _compile(self, shape: tuple[Any, ...]) -> _Asked | None:
        condition = self._shape.settle(self._node.condition, shape)
        if condition == FALSE:
            return None
        fragment = render_members(
            Exists(self._node.entity, condition),
            columns=self._columns,
            limit=self._limit,
            role_count=self._shape.role_count(shape),
        )
        return fragment.sql, compile_tuple(map(bound_source, fragment.terms), "i, d, e")


class Watch(Struct, frozen=True, kw_only=True):
    """Whom a row concerns that some read rule looks for: a change of `fields` may make other rows
    visible to, or hidden from, those whom the `selectors` find; None is everybody."""

    fields: frozenset[str]
    selectors: tuple[Selector, ...] | None

    def concerns(
        self, before: Mapping[str, object] | None, after: Mapping[str, object] | None
    ) -> list[tuple[str, str]] | None:
        """(attribute, value) of the callers that a change concerns; None is everybody."""
        if None not in (before, after) and _values(before, self.fields) == _values(
            after, self.fields
        ):
            return []
        if self.selectors is None:
            return None
        found = [
            (selector.attribute, row[selector.field])
            for selector in self.selectors
            for row in (before, after)
            if row is not None
        ]
        return list(dict.fromkeys((name, value) for name, value in found if isinstance(value, str)))


def _values(row: Mapping[str, object] | None, names: frozenset[str]) -> list[object]:
    return [] if row is None else [row.get(name) for name in names]


def watch(node: Exists) -> Watch:
    """What is to be watched of the entity that `node` looks through."""
    terms = (term for atom in atoms(node.condition) for term in atom.terms)
    return Watch(
        fields=frozenset(term.name for term in terms if isinstance(term, Member)),
        selectors=selectors_of(node.condition, Member),
    )
