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

from pylon.canonical import canonical_text
from pylon.codec import decode_trusted, encode
from pylon.moments import is_time
from pylon.schema.constraints import decimal_text, is_day
from pylon.schema.model import FieldKind, FieldSpec, kind_of_type

Converted: TypeAlias = tuple[Any, bool]
"""The value as it will be stored (None: it cannot be) and whether nothing was lost."""

TEXT_KINDS: Final = frozenset({"string", "richtext", "datetime", "id"})

TEXTS: Final = TEXT_KINDS | {"date", "decimal", "json", "list"}
"""Kinds whose values are stored as text, which every text field can keep as it is."""

_JSON_KINDS: Final = frozenset({"json", "list"})

LOST: Final[Converted] = (None, False)

_INTEGER = re.compile(r"-?(0|[1-9]\d*)")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


def kind_of(field_type: str) -> FieldKind:
    """The kind of a type as the manifest writes it; kinds are taken as well."""
    return "id" if field_type == "id" else kind_of_type(field_type) or "string"


def needs_rewrite(old: str, new: str) -> bool:
    """Whether stored values of these types change at all: text stays text, and 1 and 0 are integers
    already."""
    before, after = kind_of(old), kind_of(new)
    is_text = before in TEXTS and after in TEXT_KINDS
    return not (old == new or is_text or (before, after) in _SAME_VALUES)


def is_always_lossless(old: str, new: str) -> bool:
    """Whether no value needs to be looked at."""
    kinds = kind_of(old), kind_of(new)
    return not needs_rewrite(old, new) and kinds[1] != "datetime" and kinds != ("int", "bool")


def changes_shape(old: str, new: str) -> bool:
    """Whether readers see other values than before, also where the stored text is the same."""
    return (kind_of(old) in _JSON_KINDS) != (kind_of(new) in _JSON_KINDS)


def convert(value: Any, old: str, new: str) -> Converted:
    """`value` of a field of type `old` as one of type `new`."""
    if value is None:
        return None, True
    kind = kind_of(old)
    if kind == "bool" and isinstance(value, int):
        value = value != 0
    elif kind == "decimal" and kind_of(new) in ("int", "float"):
        return _of_decimal(value, kind_of(new))
    match kind_of(new):
        case "decimal":
            return _to_decimal(value, FieldSpec(name="", type=new).scale)
        case "json":
            return (value, True) if kind in _JSON_KINDS else _to_json(value)
        case "list":
            return _to_list(value, FieldSpec(name="", type=new).item.kind)
        case after:
            return _CONVERTERS[after](value)


def _of_decimal(value: str, kind: FieldKind) -> Converted:
    number = Decimal(value)
    if kind == "float":
        return float(number), Decimal(repr(float(number))) == number
    return int(number), number == int(number)


def _to_date(value: Any) -> Converted:
    if not isinstance(value, str):
        return LOST
    if is_day(value):
        return value, True
    return (value[:10], False) if is_day(value[:10]) and value[10:11] in ("T", " ") else LOST


def _to_decimal(value: Any, scale: int) -> Converted:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return LOST
    text = decimal_text(value, scale)
    if text is not None:
        return text, True
    try:
        number = round(Decimal(str(value)), scale)
    except ArithmeticError:
        return LOST
    return decimal_text(number, scale), False


def _to_json(value: Any) -> Converted:
    """Text that is a JSON object or array is what it says, any other a text."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return canonical_text(decode_trusted(value)), True
        except (ValueError, OverflowError, RecursionError):
            pass
    return encode(value).decode(), True


def _to_list(value: Any, item: FieldKind) -> Converted:
    """A JSON array whose items are all of the kind."""
    try:
        items = decode_trusted(value) if isinstance(value, str) else None
    except ValueError:
        return LOST
    types = {"string": (str,), "bool": (bool,), "int": (int,), "float": (int, float)}[item]
    if not isinstance(items, list) or not all(
        isinstance(each, types) and isinstance(each, bool) == (item == "bool") for each in items
    ):
        return LOST
    return encode(items).decode(), True


_SAME_VALUES: Final = frozenset({("bool", "int"), ("int", "bool"), ("list", "json")})


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
    "date": _to_date,
    "int": _to_int,
    "float": _to_float,
    "bool": _to_bool,
}
