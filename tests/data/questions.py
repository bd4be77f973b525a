"""Random questions to the read doors, all of them well-formed, from one seeded `Random`."""

from __future__ import annotations

from random import Random
from typing import Any

from pylon.identity import Identity
from pylon.schema.model import EntitySpec, FieldKind, Manifest
from tests.policy.worlds import EDGES, FLOATS, INTS, STRINGS

Json = dict[str, Any]

TIMES = (
    "2026-01-01T00:00:00Z",
    "2025-12-31T23:30:00-01:00",
    "2026-01-05T10:59:59.123Z",
    "2024-02-29",
    "2021-01-03T00:00:00+00:00",
    "2020-12-31 12:00:00",
    "1767225600",
    "1767225600Z",
    "2026-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59Z",
    "0001-01-01",
    "20260101",
    "2026-01-01T00:00:00.0000001Z",
    "2026-W01-4",
    "1e3",
    "now",
)
READABLE = tuple(each for each in TIMES if each not in ("1e3", "now"))
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe")
TEXTS = (*STRINGS, "%", "_", "\\%", "\\", "a_b", "\U0010ffff", "\ud7ff")
NUMBERS = (*INTS, *FLOATS, *EDGES, 2**63, 2**64, 2**70, -(2**70), 10**400, 0.5)
TEXT_KINDS = ("string", "richtext", "datetime", "id")
EQUAL = ("$eq", "$ne", "$not", "$in", "$nin", "$exists", "$null")
ORDERED = ("$gt", "$gte", "$lt", "$lte")
WORDS = ("$like", "$ilike", "$startsWith", "$contains")


class Asker:
    """Makes up questions."""

    def __init__(self, random: Random, manifest: Manifest) -> None:
        self.random = random
        self._manifest = manifest
        self._levels = 0

    def columns(self, identity: Identity, entity: EntitySpec) -> dict[str, FieldKind]:
        """What the caller may name."""
        columns: dict[str, FieldKind] = {"id": "string"}
        for field in entity.fields:
            if identity.is_admin or not field.is_private:
                columns[field.name] = field.kind
        return columns

    def value(self, kind: FieldKind) -> Any:
        if kind == "bool":
            return self.random.choice((True, False, 1, 0))
        if kind in ("int", "float"):
            return self.random.choice(NUMBERS)
        return self.random.choice(READABLE if kind == "datetime" else TEXTS)

    def value_or_null(self, kind: FieldKind) -> Any:
        return None if self.random.random() < 0.15 else self.value(kind)

    def condition(self, columns: dict[str, FieldKind], depth: int = 0) -> Json:
        found: Json = {}
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 3))):
            if depth < 3 and self.random.random() < 0.25:
                key = self.random.choice(("$and", "$or", "$not"))
                count = self.random.randrange(4)
                parts = [self.condition(columns, depth + 1) for _ in range(count)]
                found[key] = self.condition(columns, depth + 1) if key == "$not" else parts
            else:
                name = self.random.choice(list(columns))
                found[name] = self.operators(columns[name])
        return found

    def operators(self, kind: FieldKind, depth: int = 0) -> Any:
        if self.random.random() < 0.3 and not depth:
            return self.value_or_null(kind)
        names = EQUAL + (() if kind == "bool" else ORDERED)
        names += WORDS if kind in TEXT_KINDS else ()
        found: Json = {}
        for operator in self.random.sample(names, self.random.choice((1, 1, 1, 2, 3))):
            found[operator] = self.operand(operator, kind, depth)
        return found

    def operand(self, operator: str, kind: FieldKind, depth: int) -> Any:
        if operator in ("$exists", "$null"):
            return self.random.random() < 0.5
        if operator in ("$in", "$nin"):
            return [self.value_or_null(kind) for _ in range(self.random.choice((0, 1, 2, 3, 20)))]
        if operator == "$not" and depth < 2 and self.random.random() < 0.5:
            return self.operators(kind, depth + 1)
        if operator in WORDS:
            return self.random.choice(TIMES + TEXTS if kind == "datetime" else TEXTS)
        return self.value(kind) if operator not in EQUAL else self.value_or_null(kind)

    def order(self, columns: dict[str, FieldKind]) -> Json:
        names = self.random.sample(list(columns), min(len(columns), self.random.randrange(1, 4)))
        return {name: self.random.choice(("asc", "desc", "ASC", "DESC")) for name in names}

    def shape(self, columns: dict[str, FieldKind], sign: str) -> Json:
        """Order, limit and offset, each perhaps."""
        found: Json = {}
        if self.random.random() < 0.6:
            found[f"{sign}order"] = self.order(columns)
        if self.random.random() < 0.5:
            found[f"{sign}limit"] = self.random.choice((0, 1, 2, 3, 5, 100, 2**63 - 1))
        if self.random.random() < 0.3:
            found[f"{sign}offset"] = self.random.choice((0, 1, 2, 7))
        return found

    def query(self, identity: Identity, entity: EntitySpec, rows: list[Json]) -> Json:
        columns = self.columns(identity, entity)
        body = {**self.condition(columns), **self.shape(columns, "$")}
        if rows and self.random.random() < 0.4:
            row = self.random.choice(rows)
            body["$after"] = {name: row[name] for name in (*body.get("$order", {}), "id")}
        items = list(body.items())
        self.random.shuffle(items)
        return dict(items)

    def graph(self, identity: Identity) -> Json:
        self._levels = 0
        names = self.random.sample([e.name for e in self._manifest.entities], k=2)
        return {name: self.level(identity, name, 0) for name in names[: self.random.choice((1, 2))]}

    def level(self, identity: Identity, name: str, depth: int, *, many: bool = True) -> Json:
        self._levels += 1
        entity = self._manifest.entities_by_name[name]
        columns = self.columns(identity, entity)
        options: Json = {}
        if self.random.random() < 0.4:
            options["where"] = self.condition(columns)
        if many:
            options.update(self.shape(columns, ""))
        if depth < 3 and self.random.random() < 0.8:
            options["include"] = {
                relation.name: self.level(identity, relation.target, depth + 1, many=relation.many)
                for relation in entity.relations
                if self.random.random() < 0.5 and self._levels < 20
            }
        return options

    def aggregate(self, identity: Identity, entity: EntitySpec) -> Json:
        columns = self.columns(identity, entity)
        numbers = [n for n, kind in columns.items() if kind in ("int", "float", "bool")]
        times = [n for n, kind in columns.items() if kind == "datetime"]
        body: Json = {"count": self.random.choice(("*", *columns))}
        steady: dict[str, FieldKind] = {
            "count" if body["count"] == "*" else f"count_{body['count']}": "int"
        }
        for key, names in (
            ("sum", numbers),
            ("avg", numbers),
            ("min", list(columns)),
            ("max", list(columns)),
            ("countDistinct", list(columns)),
        ):
            if names and self.random.random() < 0.4:
                body[key] = self.random.sample(names, self.random.randrange(1, len(names) + 1))
                if key in ("min", "max"):
                    steady |= {f"{key}_{name}": columns[name] for name in body[key]}
        if self.random.random() < 0.6:
            chosen = self.random.sample(list(columns), min(2, len(columns)))
            body["groupBy"] = list(chosen)
            steady |= {name: columns[name] for name in chosen}
        if times and self.random.random() < 0.6:
            bucket = self.random.choice(("hour", "day", "week", "month", "year"))
            item = {"field": self.random.choice(times), "bucket": bucket}
            if self.random.random() < 0.5:
                item["timezone"] = self.random.choice(ZONES)
            body.setdefault("groupBy", []).append(item)
        if self.random.random() < 0.5:
            body["where"] = self.condition(columns)
        if self.random.random() < 0.4:
            body["having"] = self.condition(steady)
        return {**body, **self.shape(steady, "")}
