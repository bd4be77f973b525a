"""JSON values in one form, so that equal values are equal text: what columns of JSON hold.

Checks of what a field takes are in `data/fields` and `crdt/values`.
"""

from __future__ import annotations

import math
from typing import Any

from pylon import limits
from pylon.codec import encode


def canonical_text(value: Any) -> str:
    """JSON with sorted keys and whole numbers as integers, so that equal values are equal text."""
    refuse_deep(value)
    return encode(_canonical(value)).decode()


def is_same(one: object, other: object) -> bool:
    """Equal as JSON: 1 is not true, inside of lists and objects either."""
    if one != other or isinstance(one, bool) != isinstance(other, bool):
        return False
    return not isinstance(one, dict | list) or canonical_text(one) == canonical_text(other)


def refuse_deep(value: Any) -> None:
    """`ValueError` for a value that nests deeper than `DOCUMENT_NESTING_MAX`. Does not recurse."""
    level = [value]
    for _ in range(limits.DOCUMENT_NESTING_MAX):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level = inner
        if not level:
            return
    raise ValueError(f"nested at most {limits.DOCUMENT_NESTING_MAX} deep")


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("made of finite numbers")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, bytes):
        raise ValueError("made of JSON values")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("made of whole numbers of 64 bits")
    return value
