"""The read doors a second time, over plain lists: what `docs/queries.md` says, and no SQL.

Takes all rows, asks the naive meaning of the policies (`tests/policy/oracle.py`) for each, and
filters, sorts, joins and counts in Python.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pylon.identity import Identity
from pylon.policy.nodes import Expr
from pylon.policy.syntax import parse
from pylon.schema.model import EntitySpec, FieldKind, Manifest
from tests.policy.oracle import Oracle, when
from tests.policy.worlds import folded_of

Row = dict[str, Any]
Json = dict[str, Any]

META = ("$order", "$limit", "$offset", "$after")


def kinds_of(entity: EntitySpec) -> dict[str, FieldKind]:
    return {"id": "string", **{field.name: field.kind for field in entity.fields}}


class Naive:
    """All rows of an app, and what each caller may see of them.

    An entity without a policy is open. What `exists` looks for are rows of an other entity, of
    which the app has one.
    """

    def __init__(self, manifest: Manifest, rows: Mapping[str, list[Row]]) -> None:
        self._manifest = manifest
        self._rows = rows
        self._rules: dict[str, list[Expr]] = {each.name: [] for each in manifest.entities}
        for policy in manifest.policies:
            self._rules[str(policy.entity)].append(parse(str(policy.allow)))
        self._seen: dict[tuple[Identity, str], list[Row]] = {}

    def ids(self, entity: str) -> list[str]:
        """Of all rows, seen or not."""
        return [row["id"] for row in self._rows[entity]]

    def visible(self, identity: Identity, entity: str) -> list[Row]:
        """The rows by id, private fields still in them."""
        key = (identity, entity)
        if key not in self._seen:
            seen = [row for row in self._rows[entity] if self._allows(identity, entity, row)]
            self._seen[key] = sorted(seen, key=lambda row: str(row["id"]))
        return self._seen[key]

    def _allows(self, identity: Identity, entity: str, row: Row) -> bool:
        if identity.is_admin:
            return True
        other = next((each for each in self._manifest.entities if each.name != entity), None)
        spec = self._manifest.entities_by_name[entity]
        floats = {field.name for field in spec.fields if field.kind == "float"}
        others: list[Row] = []
        if other is not None:
            floats |= {f".{field.name}" for field in other.fields if field.kind == "float"}
            others = self._rows[other.name]
        times = {field.name for field in spec.fields if field.kind == "datetime"}
        if other is not None:
            times |= {f".{field.name}" for field in other.fields if field.kind == "datetime"}
        folded = [*folded_of(spec), *(folded_of(other, ".") if other is not None else ())]
        oracle = Oracle(
            identity, row, {}, frozenset(floats), others, frozenset(folded), frozenset(times)
        )
        return all(oracle.holds(rule) for rule in self._rules[entity])

    def shown(self, identity: Identity, entity: str, row: Row) -> Row:
        spec = self._manifest.entities_by_name[entity]
        hidden = {f.name for f in spec.fields if f.is_private and not identity.is_admin}
        return {name: value for name, value in row.items() if name not in hidden}

    def query(self, identity: Identity, entity: str, body: Json) -> list[Row]:
        found = self._query(self.visible(identity, entity), entity, body)
        return [self.shown(identity, entity, row) for row in found]

    def _query(self, rows: Sequence[Row], entity: str, body: Json) -> list[Row]:
        kinds = kinds_of(self._manifest.entities_by_name[entity])
        condition = {key: value for key, value in body.items() if key not in META}
        order = dict(body.get("$order", {}))
        if "id" not in order:
            order["id"] = list(order.values())[-1] if order else "asc"
        folded = folded_fields(self._manifest.entities_by_name[entity])
        compare = functools.partial(compare_rows, order, kinds, folded=folded)
        found = sorted(
            (row for row in rows if matches(row, condition, kinds, folded)),
            key=functools.cmp_to_key(compare),
        )
        if "$after" in body:
            found = [row for row in found if compare(body["$after"], row) < 0]
        start = body.get("$offset", 0)
        return found[start : start + body.get("$limit", len(found))]

    def graph(self, identity: Identity, body: Json) -> Json:
        return {
            entity: self._level(identity, entity, self.visible(identity, entity), options)
            for entity, options in body.items()
        }

    def _level(
        self, identity: Identity, entity: str, rows: Sequence[Row], options: Json
    ) -> list[Row]:
        body = {
            **options.get("where", {}),
            **{f"${key}": options[key] for key in ("order", "limit", "offset") if key in options},
        }
        return [
            {
                **self.shown(identity, entity, row),
                **self._included(identity, entity, row, options.get("include", {})),
            }
            for row in self._query(rows, entity, body)
        ]

    def _included(self, identity: Identity, entity: str, row: Row, include: Json) -> Json:
        spec = self._manifest.entities_by_name[entity]
        found: Json = {}
        for name, options in include.items():
            relation = spec.relations_by_name[name]
            target = self._manifest.entities_by_name[relation.target]
            here, there = relation.field, "id"
            if relation.many:
                field = target.fields_by_name[relation.field]
                refers = field.target == entity or relation.field not in spec.fields_by_name
                here, there = ("id" if refers else relation.field), relation.field
            is_folded = here in folded_fields(spec) or there in folded_fields(target)
            same = _folded if is_folded else _unchanged
            related = [
                other
                for other in self.visible(identity, relation.target)
                if row[here] is not None and same(other[there]) == same(row[here])
            ]
            rows = self._level(identity, relation.target, related, options)
            if relation.many:
                found[name] = rows
            elif rows:
                found[name] = rows[0]
        return found

    def aggregate(self, identity: Identity, entity: str, body: Json) -> list[Row]:
        spec = self._manifest.entities_by_name[entity]
        kinds = kinds_of(spec)
        rows = [
            row
            for row in self.visible(identity, entity)
            if matches(row, body.get("where", {}), kinds, folded_fields(spec))
        ]
        if "orgId" in spec.fields_by_name and identity.tenant_id and not identity.is_admin:
            rows = [row for row in rows if row["orgId"] == identity.tenant_id]
        keys: dict[str, tuple[Callable[[Row], Any], FieldKind]] = {}
        for item in body.get("groupBy", []):
            if isinstance(item, str):
                keys[item] = (functools.partial(_get, item), kinds[item])
            else:
                bucket = item.get("bucket", "day")
                name = f"{item['field']}_{bucket}"
                keys[name] = (functools.partial(_bucket_of, item, bucket), "string")
        groups: dict[tuple[Any, ...], list[Row]] = {} if keys else {(): []}
        folded = folded_fields(spec)
        for row in rows:
            shared = (
                _folded(get(row)) if name in folded else compared(get(row), kind)
                for name, (get, kind) in keys.items()
            )
            groups.setdefault(tuple(shared), []).append(row)
        known: dict[str, FieldKind] = {name: kind for name, (_, kind) in keys.items()}
        answer = []
        for members in groups.values():
            # Shown as one of its rows has it: the first by code point.
            line = {
                name: min(map(get, members)) if _is_there(get, members) else None
                for name, (get, _) in keys.items()
            }
            line.update(_computed(members, body, kinds, known, folded))
            answer.append(line)
        answer = [line for line in answer if matches(line, body.get("having", {}), known)]
        order = {**body.get("order", {})}
        order.update({name: "asc" for name in keys if name not in order})
        answer.sort(key=functools.cmp_to_key(functools.partial(compare_rows, order, known)))
        start = body.get("offset", 0)
        return answer[start : start + body.get("limit", len(answer))]


def _computed(
    rows: list[Row],
    body: Json,
    kinds: Mapping[str, FieldKind],
    known: dict[str, FieldKind],
    folded: frozenset[str],
) -> Json:
    line: Json = {}
    if "count" in body:
        name = body["count"]
        if name == "*":
            line["count"] = len(rows)
            known["count"] = "int"
        else:
            line[f"count_{name}"] = sum(row[name] is not None for row in rows)
            known[f"count_{name}"] = "int"
    for key in ("countDistinct", "sum", "avg", "min", "max"):
        for name in body.get(key, []):
            values = [row[name] for row in rows if row[name] is not None]
            column, kind = f"{key}_{name}", kinds[name]
            match key:
                case "countDistinct":
                    column, kind = f"count_distinct_{name}", "int"
                    place = functools.partial(compared, kind=kinds[name])
                    line[column] = len(set(map(_folded if name in folded else place, values)))
                case "sum":
                    line[column] = Around(values) if values else None
                case "avg":
                    line[column] = Around(values, len(values)) if values else None
                case "min":
                    line[column] = min(values, default=None, key=_place(kind))
                case "max":
                    line[column] = max(values, default=None, key=_place(kind))
            known[column] = kind
    return line


class Around:
    """A sum or mean, equal to numbers that differ from it by rounding only. Where no float can hold
    the sum (`is_held`), neither is a number, and the door refuses."""

    __hash__ = None  # type: ignore[assignment]  # it equals many

    def __init__(self, values: list[float], count: int = 1) -> None:
        total = sum(map(_exact, values))
        self.is_held = math.isfinite(as_float(total))
        self._value = as_float(total / count)
        self._slack = 1e-9 * sum(abs(float(value)) for value in values)

    def __eq__(self, other: object) -> bool:
        assert self.is_held
        return isinstance(other, int | float) and math.isclose(
            other, self._value, rel_tol=1e-9, abs_tol=self._slack
        )

    def __repr__(self) -> str:
        return f"Around({self._value})"


def _exact(value: float) -> Any:
    from fractions import Fraction

    return Fraction(value)


def compared(value: Any, kind: FieldKind) -> Any:
    """What a value is compared by."""
    return when(value) if kind == "datetime" and value is not None else value


def _place(kind: FieldKind) -> Callable[[Any], Any]:
    """By what the least and the greatest are found: of several texts of a moment by the text."""
    return lambda value: (compared(value, kind), value)


def _is_there(get: Callable[[Row], Any], rows: list[Row]) -> bool:
    return bool(rows) and get(rows[0]) is not None


def _get(name: str, row: Row) -> Any:
    return row[name]


def _bucket_of(item: Json, bucket: str, row: Row) -> str | None:
    text = row[item["field"]]
    is_text, moment = (True, None) if text is None else when(text)
    if is_text or moment is None:
        return None
    try:
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=math.floor(moment))
        zone = ZoneInfo(item.get("timezone", "UTC"))
        at = at.astimezone(zone)
    except OverflowError:
        return None
    year, week, _ = at.isocalendar()
    return {
        "hour": f"{at.year:04}-{at:%m-%d %H}:00:00",
        "day": f"{at.year:04}-{at:%m-%d}",
        "week": f"{year:04}-W{week:02}",
        "month": f"{at.year:04}-{at:%m}",
        "year": f"{at.year:04}",
    }[bucket]


# --- conditions ------------------------------------------------------------------------------


def compare_rows(
    order: Mapping[str, str],
    kinds: Mapping[str, FieldKind],
    one: Row,
    other: Row,
    *,
    folded: frozenset[str] = frozenset(),
) -> int:
    """Below zero where `one` comes first; null is less than everything."""
    for name, word in order.items():
        left, right = compared(one[name], kinds[name]), compared(other[name], kinds[name])
        if name in folded:
            left, right = _folded(left), _folded(right)
        if left == right:
            continue
        is_less = left is None or (right is not None and left < right)
        return (-1 if is_less else 1) * (-1 if word.lower() == "desc" else 1)
    return 0


def folded_fields(entity: EntitySpec) -> frozenset[str]:
    """The fields in which A to Z in either case are one value."""
    return frozenset(field.name for field in entity.fields if field.folds)


def _folded(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_folded, value))
    if isinstance(value, dict):
        return {key: _folded(each) for key, each in value.items()}
    return _lower(value) if isinstance(value, str) else value


def _unchanged(value: Any) -> Any:
    return value


def matches(
    row: Row,
    condition: Json,
    kinds: Mapping[str, FieldKind],
    folded: frozenset[str] = frozenset(),
) -> bool:
    """Whether a filter without meta keys holds."""
    for key, value in condition.items():
        match key:
            case "$and":
                holds = all(matches(row, part, kinds, folded) for part in value)
            case "$or":
                holds = any(matches(row, part, kinds, folded) for part in value)
            case "$not":
                holds = not matches(row, value, kinds, folded)
            case _:
                operators = value if isinstance(value, dict) else {"$eq": value}
                stored = row[key]
                if key in folded:
                    operators, stored = _folded(operators), _folded(stored)
                holds = all(
                    _holds(stored, operator, operand, kinds[key])
                    for operator, operand in operators.items()
                )
        if not holds:
            return False
    return True


def _holds(stored: Any, operator: str, value: Any, kind: FieldKind) -> bool:
    if operator == "$not" and isinstance(value, dict):
        return not all(_holds(stored, inner, item, kind) for inner, item in value.items())
    if operator in ("$exists", "$null"):
        return bool((stored is None) == (value == (operator == "$null")))
    if operator == "$in":
        return any(_holds(stored, "$eq", item, kind) for item in value)
    if operator == "$nin":
        return all(_holds(stored, "$ne", item, kind) for item in value)
    if value is None:
        return bool((stored is None) == (operator == "$eq"))
    if stored is None:
        return False
    if kind == "float":
        value = as_float(value)
    if kind == "datetime" and operator in ("$eq", "$ne", "$not", "$gt", "$gte", "$lt", "$lte"):
        stored, value = when(stored), when(value)
    match operator:
        case "$eq":
            return bool(stored == value)
        case "$ne" | "$not":
            return bool(stored != value)
        case "$gt":
            return bool(stored > value)
        case "$gte":
            return bool(stored >= value)
        case "$lt":
            return bool(stored < value)
        case "$lte":
            return bool(stored <= value)
        case "$like" | "$ilike":
            return _is_like(stored, value)
        case "$startsWith":
            return bool(stored.startswith(value))
        case "$contains":
            return value in stored
    raise AssertionError(operator)


def as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _is_like(stored: str, value: str) -> bool:
    parts = re.findall(r"\\[%_\\]|.", value, re.DOTALL)
    meanings = {"%": ".*", "_": ".", r"\%": "%", r"\_": "_", r"\\": r"\\"}
    pattern = "".join(meanings.get(part, re.escape(_lower(part))) for part in parts)
    return re.search(pattern, _lower(stored), re.DOTALL) is not None


def _lower(text: str) -> str:
    """The letters A to Z in small; LIKE knows no others."""
    return "".join(chr(ord(sign) + 32) if "A" <= sign <= "Z" else sign for sign in text)
