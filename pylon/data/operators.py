"""The operators of the filter grammar and the values that they take (spec 02 section 3).

Each makes one condition of a field, its kind, its own name and a value, or refuses the value. Which
fields there are and how conditions nest is `filters`; what becomes of a condition, `conditions`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, TypeAlias

from pylon import limits
from pylon.data.conditions import (
    EVERYTHING,
    NOTHING,
    Compare,
    Condition,
    Contains,
    Either,
    HasItem,
    IsNull,
    Like,
    OneOf,
    Prefix,
)
from pylon.data.errors import invalid
from pylon.data.exact import bound_key, json_text, read_number, stored_text
from pylon.data.fields import INT_MAX, INT_MIN
from pylon.ids import other_spellings
from pylon.moments import EXPECTED, moment, moment_column
from pylon.schema.constraints import is_day
from pylon.schema.model import FieldKind
from pylon.store.base import Value

ORDER_SIGNS: Final = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
TEXT_KINDS: Final[frozenset[FieldKind]] = frozenset(
    {"string", "richtext", "datetime", "id", "date"}
)


def compared_column(name: str, kind: FieldKind) -> str:
    """Times are compared by the keys of their moments, all else by itself."""
    return moment_column(name) if kind == "datetime" else name


def _equal(name: str, kind: FieldKind, value: object) -> Condition:
    if value is None:
        return IsNull(compared_column(name, kind), negated=False)
    return _compared(name, kind, "=", check_value(kind, value, f'"{name}"'))


def _eq(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    return _equal(name, kind, value)


def _ne(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    if value is None:
        return IsNull(compared_column(name, kind), negated=True)
    return _compared(name, kind, "<>", check_value(kind, value, f'{operator} of "{name}"'))


def _ordered(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    if kind == "bool":
        raise invalid(f'"{name}" is true or false and has no order, so {operator} means nothing.')
    if kind in ("json", "list"):
        raise invalid(f'"{name}" is of type {kind} and has no order, so {operator} means nothing.')
    checked = check_value(kind, value, f'{operator} of "{name}"')
    return _compared(name, kind, ORDER_SIGNS[operator], checked)


def _compared(name: str, kind: FieldKind, sign: str, value: Value) -> Condition:
    """`column sign value`. Whole numbers are compared with whole numbers only: a fraction lies
    between two of them, an infinity beyond all."""
    if kind != "int" or not isinstance(value, float):
        ids = spellings(name, kind, value) if sign in ("=", "<>") else ()
        if len(ids) > 1:
            return OneOf(name, ids, negated=sign == "<>")
        return Compare(compared_column(name, kind), sign, value)
    if sign == "=":
        return NOTHING
    if sign == "<>" or value == (math.inf if sign in ("<", "<=") else -math.inf):
        return IsNull(name, negated=True)
    if math.isinf(value):
        return NOTHING
    return Compare(name, sign, math.floor(value) if sign in (">", "<=") else math.ceil(value))


def _one_of(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    place = f'{operator} of "{name}"'
    if not isinstance(value, list):
        raise invalid(f"{place} takes a list of values.")
    if len(value) > limits.QUERY_VALUES_MAX:
        raise invalid(f"{place} takes at most {limits.QUERY_VALUES_MAX} values.")
    checked = [check_value(kind, item, place) for item in value if item is not None]
    # No stored number is infinite, and no whole one has a fraction.
    values = tuple(
        item
        for item in dict.fromkeys(each for item in checked for each in spellings(name, kind, item))
        if not isinstance(item, float) or (kind == "float" and math.isfinite(item))
    )
    name = compared_column(name, kind)
    if operator == "$nin":
        if values:
            return OneOf(name, values, negated=True)
        # Like several `$ne`: none of them finds a null, and without any every row passes.
        return IsNull(name, negated=True) if value else EVERYTHING
    found: Condition = OneOf(name, values, negated=False) if values else NOTHING
    return Either((found, IsNull(name, negated=False))) if None in value else found


def spellings(name: str, kind: FieldKind, value: Value) -> tuple[Value, ...]:
    """The value, and the other ways to write it where it is the id of a row."""
    if (kind == "id" or name == "id") and isinstance(value, str):
        return (value, *other_spellings(value))
    return (value,)


def _like(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    text = _text(name, kind, operator, value)
    _refuse_too_long(name, operator, text)
    signs = like_signs(text)
    if len(text) <= limits.QUERY_LIKE_CHARACTERS_MAX:
        return Like(name, f"%{''.join(s if is_wild else _literal(s) for s, is_wild in signs)}%")
    if any(is_wild for _, is_wild in signs):
        most = limits.QUERY_LIKE_CHARACTERS_MAX
        raise invalid(
            f'{operator} of "{name}" takes at most {most} characters with % or _ among them.',
            r"Write \% and \_ for the signs themselves.",
        )
    return holding(name, "".join(sign for sign, _ in signs), is_long=True)


def _starts_with(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    return Prefix(name, _text(name, kind, operator, value))


def decimal_condition(name: str, scale: int, operator: str, value: object) -> Condition:
    """A condition on a decimal. Numbers with more digits than it has are compared all the same."""
    place = f'{operator} of "{name}"'
    match operator:
        case "$gt" | "$gte" | "$lt" | "$lte":
            sign = ORDER_SIGNS[operator]
            number = number_of(value, place)
            return Compare(name, sign, bound_key(sign, number, scale), is_decimal=True)
        case "$in" | "$nin":
            if not isinstance(value, list):
                raise invalid(f"{place} takes a list of values.")
            texts = [None if v is None else stored_text(number_of(v, place), scale) for v in value]
            # What no row can have is left out, unless a null was meant.
            kept = [t for v, t in zip(value, texts, strict=True) if v is None or t is not None]
            if value and not kept:
                return NOTHING if operator == "$in" else IsNull(name, negated=True)
            return _one_of(name, "string", operator, kept)
        case "$eq" | "$ne" | "$not":
            if value is None:
                return IsNull(name, negated=operator != "$eq")
            text = stored_text(number_of(value, place), scale)
            if text is None:
                return NOTHING if operator == "$eq" else IsNull(name, negated=True)
            return Compare(name, "=" if operator == "$eq" else "<>", text)
    raise invalid(f'"{name}" is no text, so {operator} means nothing.')


def number_of(value: object, place: str) -> Decimal:
    number = read_number(value)
    if number is None:
        raise invalid(f'{place} takes a number, or its text: "12.50".')
    return number


def _contains(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    if kind == "list":
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise invalid(f'{operator} of "{name}" takes one item of the list.')
        return HasItem(name, value)
    text = _text(name, kind, operator, value)
    _refuse_too_long(name, operator, text)
    return Contains(name, text)


def _refuse_too_long(name: str, operator: str, text: str) -> None:
    most = limits.QUERY_PATTERN_CHARACTERS_MAX
    if len(text) > most:
        raise invalid(f'{operator} of "{name}" takes at most {most} characters.')


def holding(name: str, text: str, *, is_long: bool) -> Condition:
    """Whether a column has this text, A to Z in either case. LIKE is twice as fast where texts are
    short, and much slower the longer what it looks for is."""
    if is_long:
        return Contains(name, text, is_folded=True)
    return Like(name, f"%{_literal(text)}%")


def _null(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    if not isinstance(value, bool):
        raise invalid(f'{operator} of "{name}" takes true or false.')
    return IsNull(compared_column(name, kind), negated=value == (operator == "$exists"))


def _text(name: str, kind: FieldKind, operator: str, value: object) -> str:
    if kind not in TEXT_KINDS:
        raise invalid(f'"{name}" is no text, so {operator} means nothing.')
    if not isinstance(value, str):
        raise invalid(f'{operator} of "{name}" takes a text.')
    return value


def _literal(text: str) -> str:
    """A pattern for LIKE in which every sign means itself."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def like_signs(text: str) -> list[tuple[str, bool]]:
    """Each sign and whether it stands for others. A backslash means itself except before `%`, `_`
    and a backslash."""
    found = re.findall(r"\\[%_\\]|.", text, re.DOTALL)
    return [(part[-1], part in ("%", "_")) for part in found]


Builder: TypeAlias = Callable[[str, FieldKind, str, object], Condition]

OPERATORS: Final[Mapping[str, Builder]] = {
    "$eq": _eq,
    "$ne": _ne,
    "$not": _ne,
    "$gt": _ordered,
    "$gte": _ordered,
    "$lt": _ordered,
    "$lte": _ordered,
    "$in": _one_of,
    "$nin": _one_of,
    "$like": _like,
    "$ilike": _like,
    "$startsWith": _starts_with,
    "$contains": _contains,
    "$exists": _null,
    "$null": _null,
}


# --- Values ----------------------------------------------------------------------------------


def check_value(kind: FieldKind, value: object, place: str) -> Value:
    """The value as the database compares it, a time as the key of its moment; a wrong type is 400
    `INVALID_QUERY`.

    Whole numbers beside a float column become floats, as an index lookup would make them, and
    numbers beyond 64 bits become infinities. Beside an int column a float is one that no row has.
    """
    if kind == "bool":
        if value is True or value is False:
            return value
        if value in (0, 1) and isinstance(value, int):  # what rows of the reference carry
            return value == 1
        raise invalid(f"{place} takes true or false.")
    if kind in ("int", "float"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid(f"{place} takes a number.")
        return _number(kind, value)
    if kind in ("json", "list"):
        try:
            return json_text(value)
        except ValueError as expected:
            raise invalid(f"{place} takes a value that is {expected}.") from None
    if not isinstance(value, str):
        raise invalid(f"{place} takes a text.")
    if kind == "date" and not is_day(value):
        raise invalid(f"{place} takes a day, YYYY-MM-DD.")
    return _moment(value, place) if kind == "datetime" else value


def _moment(text: str, place: str) -> str:
    try:
        return moment(text)
    except ValueError:
        hint = 'Write ISO 8601, for example "2026-01-31T09:00:00Z" or "2026-01-31".'
        raise invalid(f"{place} takes {EXPECTED}.", hint) from None


def _number(kind: FieldKind, value: int | float) -> int | float:
    if value != value:
        raise invalid("A number is needed, not NaN.")
    if kind == "float":
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if INT_MIN <= value <= INT_MAX:
        return int(value) if value == int(value) else value
    return math.inf if value > 0 else -math.inf
