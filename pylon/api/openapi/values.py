"""The schema of a field's value: its type, and what else it allows.

What is answered has the type only: rows from before a constraint may break it.
"""

from __future__ import annotations

from typing import Any

from pylon.api.openapi.shapes import VALUES
from pylon.http.describe import Schema
from pylon.schema.model import FieldSpec


def value_schema(field: FieldSpec) -> Schema:
    """A value as it is answered."""
    if field.kind == "list":
        return {"type": "array", "items": VALUES[field.item.kind]}
    return VALUES[field.kind]


def written_schema(field: FieldSpec) -> Schema:
    """A value as it is taken."""
    value: dict[str, Any] = dict(value_schema(field))
    if field.kind == "decimal":
        value = {"type": ["string", "number"]}
    if field.choices:
        value["enum"] = list(field.choices)
    if field.format is not None:
        value["format"] = {"url": "uri"}.get(field.format, field.format)
    if field.kind in ("int", "float"):
        bounds = {"minimum": field.min, "maximum": field.max}
    elif field.kind == "list":
        bounds = {"minItems": field.minLength, "maxItems": field.maxLength}
    else:
        bounds = {"minLength": field.minLength, "maxLength": field.maxLength}
    value |= {name: bound for name, bound in bounds.items() if bound is not None}
    if field.pattern is not None:
        value["pattern"] = f"^(?:{field.pattern})$"
    return value
