"""The named schemas of the app's entities: rows, bodies of writes, filters, answers in pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pylon.api.openapi.shapes import MATCHES, ROW_ID, SHAPES, VALUES
from pylon.api.openapi.values import value_schema, written_schema
from pylon.codec import decode_trusted
from pylon.crdt.fields import JSON_KINDS, merge_kind
from pylon.data.aggregate import BUCKETS, FUNCTIONS
from pylon.data.filters import COUNTS
from pylon.http.describe import (
    COUNT,
    FLAG,
    TEXT,
    Schema,
    listed,
    nullable,
    object_of,
    shape,
)
from pylon.schema.model import AuthDefault, EntitySpec, FieldSpec, JsonDefault, Manifest, NowDefault

TOTAL = {
    "total": {**COUNT, "description": "All rows that are found, where `count` asks for it."},
    "total_relation": {"type": "string", "enum": ["eq", "gte"]},
}
SEARCHED = {**TEXT, "description": "Words that the row's text has."}
SELECTED = "A whole row; where `fields` are asked for, its id and these."
SHOWN_LATER = "Set by administrators and the server only, and shown to administrators only."


def all_shapes(manifest: Manifest) -> dict[str, Schema]:
    """Every named schema: of the server, and `@Todo`, `@Todo.Insert` and so on of each entity."""
    shapes: dict[str, Schema] = {**SHAPES, **MATCHES}
    for spec in manifest.entities:
        shapes.update({f"@{spec.name}{name}": schema for name, schema in _shapes(spec)})
    shapes["GraphQuery"] = {
        "type": "object",
        "properties": {e.name: _graph_options(e.name) for e in manifest.entities},
        "additionalProperties": False,
    }
    shapes["GraphResult"] = {
        "type": "object",
        "properties": {e.name: listed(_own(e.name, ".Selected")) for e in manifest.entities},
    }
    return shapes


def _own(entity: str, part: str = "") -> Schema:
    """A named schema of an entity; the sign keeps its names apart from the server's."""
    return shape(f"@{entity}{part}")


def _graph_options(name: str) -> Schema:
    return {"anyOf": [_own(name, ".Graph"), {"type": ["boolean", "null"], "enum": [True, None]}]}


def _shapes(spec: EntitySpec) -> Iterator[tuple[str, Schema]]:
    name = spec.name
    shown = [field for field in spec.fields if not field.is_private]
    whole = _row(spec, shown)
    yield "", whole
    yield ".Selected", {**whole, "required": ["id"], "description": SELECTED}
    yield ".Insert", _insert(spec)
    yield ".Patch", _patch(spec)
    yield ".Field", {"type": "string", "enum": ["id", *(field.name for field in shown)]}
    yield ".Order", _order(shown)
    yield ".Where", _where(spec, shown, meta={})
    yield ".Found", _where(spec, shown, meta={"$search": SEARCHED})
    yield ".Filter", _where(spec, shown, meta=_meta(spec, shown))
    yield ".Graph", _graph(spec, shown)
    yield ".Aggregate", _aggregate(spec)
    rows = listed(_own(name, ".Selected"))
    list_facts = {"count": COUNT, "offset": COUNT, "limit": nullable(COUNT)}
    yield ".List", object_of(TOTAL, data=rows, **list_facts)
    yield ".Page", object_of(TOTAL, data=rows, next_cursor=nullable(TEXT), has_more=FLAG)
    yield ".Counted", object_of(data=rows, count=COUNT, **TOTAL)


# --- values ----------------------------------------------------------------------------------


def _row(spec: EntitySpec, shown: list[FieldSpec]) -> Schema:
    """A row as it is answered: every field, null where it has no value."""
    fields = {field.name: _shown_value(spec, field) for field in shown}
    return object_of(**{"id": {**TEXT, "readOnly": True}, **fields})


def _shown_value(spec: EntitySpec, field: FieldSpec) -> Schema:
    value: dict[str, Any] = {**value_schema(field), **_about(field)}
    if _is_json(spec, field):
        value["contentMediaType"] = "application/json"
    return nullable(value) if field.optional else value


def _written_value(spec: EntitySpec, field: FieldSpec) -> Schema:
    about = _about(field)
    if _is_json(spec, field):
        items = {"items": shape("TreeNode")} if merge_kind(field) == "tree" else {}
        return {"type": ["array", "null"] if field.optional else "array", **items, **about}
    value: dict[str, Any] = {**written_schema(field), **about}
    if field.is_private:
        value |= {"writeOnly": True, "description": SHOWN_LATER}
    elif field.readonly:
        value["description"] = "Set by administrators and the server only."
    elif field.writeOnce:
        value["description"] = "Given at insert; only administrators and the server change it."
    return nullable(value) if field.optional else value


def _is_json(spec: EntitySpec, field: FieldSpec) -> bool:
    return spec.crdt and merge_kind(field) in JSON_KINDS


def _about(field: FieldSpec) -> dict[str, Any]:
    """What else is to be said of a field's value."""
    if field.target is not None:
        return {"description": f"The id of a {field.target}."}
    return {}


def _insert(spec: EntitySpec) -> Schema:
    fields = {"id": {**ROW_ID, "description": "Chosen by the client, else made by the server."}}
    required = []
    for field in spec.fields:
        value = dict(_written_value(spec, field))
        match field.default:
            case None:
                if not field.optional:
                    required.append(field.name)
            case AuthDefault(attribute=attribute):
                value["description"] = f"Left out, it is the caller's {attribute}."
            case NowDefault():
                value["description"] = "Left out, it is the time of the insert."
            case JsonDefault(text=text):
                value["default"] = decode_trusted(text)
            case default:
                value["default"] = default
        fields[field.name] = value
    return {
        "type": "object",
        "properties": fields,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _patch(spec: EntitySpec) -> Schema:
    return {
        "type": "object",
        "properties": {field.name: _written_value(spec, field) for field in spec.fields},
        "additionalProperties": False,
        "minProperties": 1,
    }


# --- questions -------------------------------------------------------------------------------


def _order(shown: list[FieldSpec]) -> Schema:
    direction = {"type": "string", "enum": ["asc", "desc"]}
    return {
        "type": "object",
        "properties": {"id": direction, **{field.name: direction for field in shown}},
        "additionalProperties": False,
    }


def _where(spec: EntitySpec, shown: list[FieldSpec], *, meta: dict[str, Schema]) -> Schema:
    inner = _own(spec.name, ".Where")
    return {
        "type": "object",
        "properties": {
            "id": shape("Match.id"),
            **{field.name: shape(f"Match.{field.kind}") for field in shown},
            "$and": listed(inner),
            "$or": listed(inner),
            "$not": inner,
            **meta,
        },
        "additionalProperties": False,
    }


def _meta(spec: EntitySpec, shown: list[FieldSpec]) -> dict[str, Schema]:
    return {
        "$order": _own(spec.name, ".Order"),
        "$limit": COUNT,
        "$offset": COUNT,
        "$after": _after(shown),
        "$search": SEARCHED,
        "$fields": listed(_own(spec.name, ".Field")),
        "$count": {"type": "string", "enum": list(COUNTS)},
    }


def _after(shown: list[FieldSpec]) -> Schema:
    return {
        "type": "object",
        "properties": {
            "id": TEXT,
            **{
                field.name: nullable(VALUES[field.kind])
                for field in shown
                if field.kind not in ("json", "list")
            },
        },
        "additionalProperties": False,
        "description": "The last row that the caller has, in the fields of the order and `id`.",
    }


def _graph(spec: EntitySpec, shown: list[FieldSpec]) -> Schema:
    include = {relation.name: _graph_options(relation.target) for relation in spec.relations}
    return {
        "type": "object",
        "properties": {
            "where": _own(spec.name, ".Filter"),
            "include": {
                "type": "object",
                "properties": include,
                "additionalProperties": False,
            },
            "order": _own(spec.name, ".Order"),
            "limit": COUNT,
            "offset": COUNT,
            "after": _after(shown),
            "fields": listed(_own(spec.name, ".Field")),
        },
        "additionalProperties": False,
    }


def _aggregate(spec: EntitySpec) -> Schema:
    field = _own(spec.name, ".Field")
    bucket = {"type": "string", "enum": list(BUCKETS), "default": "day"}
    zone = {"type": "string", "description": "By whose clocks, such as `Europe/Berlin`."}
    span = object_of({"bucket": bucket, "timezone": zone}, field=field)
    columns = {
        "type": "object",
        "description": "Names columns of the answer, such as `count` or `sum_amount`.",
    }
    return {
        "type": "object",
        "properties": {
            "count": {"anyOf": [{"type": "string", "const": "*"}, field]},
            **{name: listed(field) for name in FUNCTIONS},
            "groupBy": listed({"anyOf": [field, span]}),
            "where": _own(spec.name, ".Found"),
            "having": columns,
            "order": columns,
            "limit": COUNT,
            "offset": COUNT,
        },
        "additionalProperties": False,
        "minProperties": 1,
    }
