"""The JSON Schema of a manifest, made from the tables of `shape`, for editors and other tools.

`docs/reference/manifest.schema.json` is its output; a test holds that they are equal. Write it
anew with `python -m pylon.schema.json_schema`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from pylon import codec
from pylon.schema.shape import DESCRIPTIVE, MANIFEST, Key, ListOf, OneOf, Scalar, Shape

PATH: Final = Path(__file__).parents[2] / "docs" / "reference" / "manifest.schema.json"

_DESCRIPTIVE: Final = f"^(x-.*|{'|'.join(map(re.escape, sorted(DESCRIPTIVE)))})$"
"""Keys that the reader passes over."""

_SCALARS: Final[dict[Scalar, dict[str, Any]]] = {
    "text": {"type": "string"},
    "flag": {"type": "boolean"},
    "version": {"type": "integer", "const": 1},
    "default": {
        "oneOf": [
            {"type": ["string", "number", "boolean", "array"]},
            {
                "type": "object",
                "required": ["$auth"],
                "properties": {"$auth": {"enum": ["userId", "tenantId"]}},
                "additionalProperties": False,
            },
            {
                "type": "object",
                "required": ["$now"],
                "properties": {"$now": {"const": True}},
                "additionalProperties": False,
            },
            {"type": "object", "propertyNames": {"not": {"pattern": "^\\$"}}},
        ]
    },
    "count": {"type": "integer", "minimum": 0},
    "bound": {"type": ["string", "number"]},
}


def manifest_json_schema() -> dict[str, Any]:
    """A JSON Schema (draft 2020-12). Unknown keys are refused, as the reader does."""
    definitions: dict[str, Any] = {}
    root = _object(MANIFEST, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pylon.manifest.json (version 1)",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _object(shape: Shape, definitions: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [name for name, key in shape.keys.items() if key.required],
        "properties": {
            **dict.fromkeys(sorted(shape.passed_over), True),
            **{name: _key(key, definitions) for name, key in shape.keys.items()},
        },
        "patternProperties": {_DESCRIPTIVE: True},
        "additionalProperties": False,
    }


def _key(key: Key, definitions: dict[str, Any]) -> dict[str, Any]:
    schema = _kind(key.kind, definitions)
    if key.nullable:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "description": key.about} if key.about else schema


def _kind(kind: Scalar | ListOf | OneOf | Shape, definitions: dict[str, Any]) -> dict[str, Any]:
    if isinstance(kind, ListOf):
        return {"type": "array", "items": _kind(kind.item, definitions)}
    if isinstance(kind, OneOf):
        return {"enum": list(kind.choices)}
    if isinstance(kind, Shape):
        if kind.title not in definitions:
            definitions[kind.title] = {}  # a shape may come to refer to itself
            definitions[kind.title] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{kind.title}"}
    return dict(_SCALARS[kind])


if __name__ == "__main__":
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_text(codec.encode_pretty(manifest_json_schema()), encoding="utf-8")
