"""What values a field takes: checked on every write, whoever writes (spec 02 sections 2.3, 2.4).

A checker returns the value as it is stored and shown, or raises `ValueError` with what was
expected. Whether a field is required is decided in `table.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, TypeAlias

from pylon.schema.model import FieldKind

Checker: TypeAlias = Callable[[Any], Any]

INT_MIN, INT_MAX = -(2**63), 2**63 - 1

_EPOCH = re.compile(r"\d{1,15}Z?", re.ASCII)
"""`"1767225600Z"`, which the reference's auth routes wrote, and plain epoch seconds."""


def check_string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a string")
    return value


def check_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("an integer")
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("an integer")
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
    return number


def check_bool(value: Any) -> bool:
    if value is True or value is False:
        return value
    # Rows of the reference carry 1 and 0, so clients may send them back.
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise ValueError("true or false")


def check_datetime(value: Any) -> str:
    """ISO 8601 text, kept exactly as it was written."""
    if not isinstance(value, str):
        raise ValueError("a date and time as ISO 8601 text")
    try:
        datetime.fromisoformat(value)
    except ValueError:
        if not (_is_date(value) or _EPOCH.fullmatch(value)):
            raise ValueError("a date and time as ISO 8601 text") from None
    return value


def _is_date(value: str) -> bool:
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


CHECKERS: Mapping[FieldKind, Checker] = {
    "string": check_string,
    "richtext": check_string,
    "id": check_string,
    "datetime": check_datetime,
    "int": check_int,
    "float": check_float,
    "bool": check_bool,
}
