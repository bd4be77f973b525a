"""Which fields of an entity are in its documents, and how each of them merges (spec 03 5.2).

Private fields are in none: a document goes whole to everybody who may read its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from pylon.canonical import is_same
from pylon.errors import PylonError
from pylon.schema.model import EntitySpec, FieldKind, FieldSpec

RowData: TypeAlias = dict[str, Any]
"""A row as the schema types it."""

MergeKind: TypeAlias = Literal["lww", "text", "counter", "list", "movable-list", "tree"]

JSON_KINDS: Final[frozenset[str]] = frozenset({"list", "movable-list", "tree"})
"""Kinds whose row value is JSON text, in a field of type string or richtext."""

EMPTY: Final[Mapping[MergeKind, object]] = {
    "lww": None,
    "text": "",
    "counter": 0,
    "list": "[]",
    "movable-list": "[]",
    "tree": "[]",
}
"""What a document shows for a field that the row has as null."""

_TEXT_TYPES: Final[frozenset[FieldKind]] = frozenset({"string", "richtext"})
_NUMBER_TYPES: Final[frozenset[FieldKind]] = frozenset({"int", "float"})


def merge_kind(field: FieldSpec) -> MergeKind | None:
    """How a field merges; None where its annotation does not fit its type."""
    annotation = field.crdt
    if annotation is None:
        return "text" if field.kind == "richtext" else "lww"
    if annotation == "lww":
        return "lww"
    if annotation == "counter":
        return "counter" if field.kind in _NUMBER_TYPES else None
    if field.kind not in _TEXT_TYPES:
        return None
    if annotation == "text":
        return "text"
    if annotation == "list":
        return "list"
    if annotation == "movable-list":
        return "movable-list"
    return "tree" if annotation == "tree" else None


def document_fields(spec: EntitySpec) -> Mapping[str, MergeKind]:
    """The fields that documents of this entity hold.

    400 `NOT_SUPPORTED` for an entity without documents, 500 `INVALID_CRDT_FIELD` for an annotation
    that does not fit (spec 03 section 3.3, checks 8 and 9).
    """
    if not spec.crdt:
        raise PylonError(400, "NOT_SUPPORTED", f"Rows of {spec.name} have no documents.")
    kinds: dict[str, MergeKind] = {}
    for field in spec.fields:
        if field.is_private:
            continue
        kind = merge_kind(field)
        if kind is None:
            raise PylonError(
                500,
                "INVALID_CRDT_FIELD",
                f'{spec.name}.{field.name} is of type {field.type}, which "{field.crdt}"'
                " does not fit.",
                "Change the annotation in the app's schema.",
            )
        kinds[field.name] = kind
    return kinds


def changed(before: RowData, after: RowData) -> RowData:
    """The values of `after` that are not those of `before`."""
    return {name: value for name, value in after.items() if not is_same(before[name], value)}


def full(kind: MergeKind, value: object) -> object:
    """A value of the row as its document shows it, which knows no null in containers."""
    return EMPTY[kind] if value is None else value
