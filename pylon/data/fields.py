"""What values a field takes: checked on every write, whoever writes (spec 02 sections 2.3, 2.4).

A checker returns the value as it is stored and shown, or raises `ValueError` with what was
expected. Whether a field is required is decided in `table.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, TypeAlias

from pylon import limits
from pylon.canonical import canonical_text
from pylon.codec import decode_trusted, encode
from pylon.limits import DECIMAL_DIGITS_MAX
from pylon.moments import EXPECTED, is_time
from pylon.schema.constraints import Check, constraint, decimal_text, is_day
from pylon.schema.model import DECIMAL_SCALE, FieldKind, FieldSpec

Checker: TypeAlias = Callable[[Any], Any]

INT_MIN, INT_MAX = -(2**63), 2**63 - 1


def check_string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a string")
    # Code of the app may give members of an enumeration, which databases do not know.
    return value if type(value) is str else str.__str__(value)


def check_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("an integer")
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("an integer")
    if isinstance(value, float) and abs(value) >= 2**53:
        # It may have been another number, of which a double keeps 53 bits only.
        raise ValueError("an integer; one of more than 53 bits is written without a fraction")
    number = int(value)
    if not INT_MIN <= number <= INT_MAX:
        raise ValueError("an integer of 64 bits")
    return number


def check_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("a number that fits a double") from None
    if not math.isfinite(number):  # JSON has no other, but code that writes rows may.
        raise ValueError("a finite number")
    return number + 0.0  # -0.0 is the same number as 0.0, and databases keep only this one.


def check_bool(value: Any) -> bool:
    if value is True or value is False:
        return value
    # Rows of the reference carry 1 and 0, so clients may send them back.
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise ValueError("true or false")


def check_datetime(value: Any) -> str:
    """What `pylon/moments.py` reads, kept exactly as it was written."""
    if not (isinstance(value, str) and is_time(value)):
        raise ValueError(EXPECTED)
    return value


def check_date(value: Any) -> str:
    """A day of the calendar as ISO 8601 text, without a time."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if not (isinstance(value, str) and is_day(value)):
        raise ValueError("a day, YYYY-MM-DD")
    return value


def check_decimal(value: Any, scale: int = DECIMAL_SCALE) -> str:
    """A number as text with exactly `scale` digits behind the point; nothing is rounded."""
    is_number = isinstance(value, str | int | float | Decimal) and not isinstance(value, bool)
    text = decimal_text(value, scale) if is_number else None
    if text is None:
        places = "decimal place" if scale == 1 else "decimal places"
        raise ValueError(
            f"a number of at most {scale} {places} and {DECIMAL_DIGITS_MAX - scale} digits before "
            "the point"
        )
    return text


def check_json(value: Any) -> Any:
    """Any JSON value, in one form: keys sorted, whole numbers as integers."""
    try:
        # Measured first: what is too large is not walked through.
        if len(encode(value)) > limits.JSON_FIELD_BYTES_MAX:
            raise ValueError(f"at most {limits.JSON_FIELD_BYTES_MAX} bytes of JSON")
        return decode_trusted(canonical_text(value))
    except RecursionError:
        raise ValueError(f"nested at most {limits.DOCUMENT_NESTING_MAX} deep") from None
    except (OverflowError, TypeError):
        raise ValueError("made of JSON values, whole numbers of 64 bits among them") from None


def list_checker(item: Checker) -> Checker:
    """A checker of lists whose items this one checks."""

    def check(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError("a list")
        if len(value) > limits.LIST_FIELD_ITEMS_MAX:
            raise ValueError(f"a list of at most {limits.LIST_FIELD_ITEMS_MAX} items")
        items = []
        for each in value:
            try:
                items.append(item(each))
            except ValueError as expected:
                raise ValueError(f"a list whose items are each {expected}") from None
        if len(encode(items)) > limits.JSON_FIELD_BYTES_MAX:
            raise ValueError(f"at most {limits.JSON_FIELD_BYTES_MAX} bytes of JSON")
        return items

    return check


@lru_cache(maxsize=1_000)  # asked at each call of an action
def value_checker(field: FieldSpec) -> Checker:
    """What takes a value of the field: its type, then what else it allows. Raises `ValueError`,
    which is a `Fault` with a code of its own where a constraint is broken."""
    checker = type_checker(field)
    allowed = constraint(field)
    return checker if allowed is None else constrained(checker, allowed)


def constrained(checker: Checker, allowed: Check) -> Checker:
    """A checker that asks for more."""

    def check(value: Any) -> Any:
        checked = checker(value)
        allowed(checked)
        return checked

    return check


def type_checker(field: FieldSpec) -> Checker:
    """The checker of the field's type alone."""
    match field.kind:
        case "decimal":
            return partial(check_decimal, scale=field.scale)
        case "list":
            return list_checker(CHECKERS[field.item.kind])
        case kind:
            return CHECKERS[kind]


CHECKERS: Mapping[FieldKind, Checker] = {
    "string": check_string,
    "richtext": check_string,
    "id": check_string,
    "datetime": check_datetime,
    "int": check_int,
    "float": check_float,
    "bool": check_bool,
    "date": check_date,
    "decimal": check_decimal,
    "json": check_json,
    "list": list_checker(check_string),
}
"""By kind; what a kind does not say (the digits of a decimal, the items of a list) is usual here,
and exact in `type_checker`."""
