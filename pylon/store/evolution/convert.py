"""Values that change their type: what a stored value becomes, and whether anything is lost.

Pure. A conversion is lossless when the old value can be told from the new one; that is decided for
each value, since `"5"` is an integer and `"five"` is not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

from pylon.moments import is_time
from pylon.schema.model import SCALAR_KINDS, FieldKind

Converted: TypeAlias = tuple[Any, bool]
"""The value as it will be stored (None: it cannot be) and whether nothing was lost."""

TEXT_KINDS: Final = frozenset({"string", "richtext", "datetime", "id"})

LOST: Final[Converted] = (None, False)

_INTEGER = re.compile(r"-?(0|[1-9]\d*)")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


def kind_of(field_type: str) -> FieldKind:
    """The kind of a type as the manifest writes it."""
    return "id" if field_type.startswith("id(") else SCALAR_KINDS.get(field_type, "string")


def needs_rewrite(old: FieldKind, new: FieldKind) -> bool:
    """Whether stored values change at all: text stays text, and 1 and 0 are integers already."""
    return not (old == new or {old, new} <= TEXT_KINDS or (old, new) in _SAME_VALUES)


def is_always_lossless(old: FieldKind, new: FieldKind) -> bool:
    """Whether no value needs to be looked at."""
    return not needs_rewrite(old, new) and new != "datetime" and (old, new) != ("int", "bool")


def convert(value: Any, old: FieldKind, new: FieldKind) -> Converted:
    """`value` of a field of kind `old` as one of kind `new`."""
    if value is None:
        return None, True
    if old == "bool" and isinstance(value, int):
        value = value != 0
    return _CONVERTERS[new](value)


_SAME_VALUES: Final = frozenset({("bool", "int"), ("int", "bool")})


def _to_text(value: Any) -> Converted:
    if isinstance(value, str):
        return value, True
    if isinstance(value, bool):
        return "true" if value else "false", True
    if isinstance(value, int | float):
        return repr(value), True
    return LOST


def _to_datetime(value: Any) -> Converted:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return (text, True) if isinstance(text, str) and is_time(text) else LOST


def _to_int(value: Any) -> Converted:
    if isinstance(value, int):  # a bool too
        return int(value), True
    if isinstance(value, float):
        if not math.isfinite(value) or not _INT_MIN <= value <= _INT_MAX - 1024:
            return LOST
        return int(value), value.is_integer()
    if isinstance(value, str):
        if _INTEGER.fullmatch(value):
            number = int(value) if len(value) <= 20 else _INT_MAX + 1
            # "-0" would come back as "0".
            return (number, str(number) == value) if _INT_MIN <= number <= _INT_MAX else LOST
        number_of_text = _to_float(value)[0]
        return (_to_int(number_of_text)[0], False) if number_of_text is not None else LOST
    return LOST


def _to_float(value: Any) -> Converted:
    if isinstance(value, int):
        number = float(value)
        return number, int(number) == value
    if isinstance(value, float):
        return value, True
    if isinstance(value, str) and len(value) <= 400 and _NUMBER.fullmatch(value):
        number = float(value)
        if not math.isfinite(number):
            return LOST
        try:
            return number, Decimal(repr(number)) == Decimal(value)
        except InvalidOperation:
            return number, False
    return LOST


def _to_bool(value: Any) -> Converted:
    if isinstance(value, int | float):
        return int(value != 0), value in (0, 1)
    if isinstance(value, str):
        return (int(value == "true"), True) if value in ("true", "false") else LOST
    return LOST


_CONVERTERS: Final[Mapping[FieldKind, Callable[[Any], Converted]]] = {
    "string": _to_text,
    "richtext": _to_text,
    "id": _to_text,
    "datetime": _to_datetime,
    "int": _to_int,
    "float": _to_float,
    "bool": _to_bool,
}
