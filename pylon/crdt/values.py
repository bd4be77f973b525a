"""Lists and trees as the row keeps them: JSON text in one canonical form.

A checker takes what a caller wrote (a JSON array, or its text), returns the canonical text or
raises `ValueError` with what was expected. Called by `data/table.py` for fields of these kinds and
by the document for what it holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pylon import limits
from pylon.canonical import canonical_text
from pylon.codec import decode_trusted, decode_within, encode
from pylon.crdt.fields import JSON_KINDS, MergeKind, merge_kind
from pylon.errors import PylonError
from pylon.schema.model import EntitySpec, FieldSpec

Checker = Callable[[Any], Any]


def json_checker(spec: EntitySpec, field: FieldSpec) -> Checker | None:
    """The checker of a list or tree field; None for any other field."""
    kind = merge_kind(field) if spec.crdt else None
    if kind not in JSON_KINDS:
        return None
    return check_tree if kind == "tree" else check_list


def check_list(value: Any) -> str:
    """A JSON array, given as such or as its text."""
    items = _array(value)
    return canonical_text(items)


def check_tree(value: Any) -> str:
    """A JSON array of nodes `{"id"?, "meta"?, "children"?}`, given as such or as its text."""
    nodes = _array(value)
    count = 0
    waiting = [nodes]
    while waiting:
        for node in waiting.pop():
            count += 1
            if not isinstance(node, dict) or not node.keys() <= {"id", "meta", "children"}:
                raise ValueError('an array of nodes {"id", "meta", "children"}')
            if not isinstance(node.get("id", ""), str | None):
                raise ValueError("an array of nodes whose ids are strings")
            if not isinstance(node.get("meta", {}), dict):
                raise ValueError("an array of nodes whose meta are objects")
            children = node.get("children", [])
            if not isinstance(children, list):
                raise ValueError("an array of nodes whose children are arrays")
            waiting.append(children)
    if count > limits.DOCUMENT_ITEMS_MAX:
        raise ValueError(f"at most {limits.DOCUMENT_ITEMS_MAX} nodes")
    return canonical_text(nodes)


def show(kind: MergeKind, value: Any) -> Any:
    """A value read from a document as its row has it; raises `ValueError` as checkers do."""
    if value is None:
        return None
    if kind in ("list", "movable-list"):
        return check_list(value)
    if kind == "tree":
        return canonical_text(_nodes(value))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a finite number")
    return value


def without_ids(text: str) -> Any:
    """The nodes of a tree's text as they are but for their ids."""

    def bare(nodes: list[dict[str, Any]]) -> list[Any]:
        return [[node.get("meta") or {}, bare(node.get("children") or [])] for node in nodes]

    return bare(decode_trusted(text))


def _array(value: Any) -> list[Any]:
    most, is_text = limits.DOCUMENT_JSON_CHARACTERS_MAX, isinstance(value, str)
    if isinstance(value, str):
        if len(value) > most:
            raise ValueError(f"a JSON array of at most {most} characters")
        try:
            value = decode_within(value.encode("utf-8", "surrogatepass"))
        except PylonError as error:
            if error.status == 413:
                raise ValueError(
                    f"a JSON array of at most {limits.JSON_VALUES_MAX} values"
                ) from None
            raise ValueError("a JSON array") from None
    if not isinstance(value, list):
        raise ValueError("a JSON array")
    if len(value) > limits.DOCUMENT_ITEMS_MAX:
        raise ValueError(f"an array of at most {limits.DOCUMENT_ITEMS_MAX} items")
    if not is_text and len(encode(value)) > most:
        raise ValueError(f"a JSON array of at most {most} characters")
    return value


def _nodes(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The library's view of a tree, reduced to what the row keeps."""
    ordered = sorted(found, key=lambda node: int(node["index"]))
    return [
        {"id": node["id"], "meta": node["meta"], "children": _nodes(node["children"])}
        for node in ordered
    ]
