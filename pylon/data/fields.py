"""What values a field takes: checked on every write, whoever writes (spec 02 sections 2.3, 2.4).

A checker returns the value as it is stored and shown, or raises `ValueError` with what was
expected. Whether a field is required is decided in `table.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from pylon.moments import EXPECTED, is_time
from pylon.schema.model import FieldKind

Checker: TypeAlias = Callable[[Any], Any]

INT_MIN, INT_MAX = -(2**63), 2**63 - 1


def check_string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a string")
    return value


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


CHECKERS: Mapping[FieldKind, Checker] = {
    "string": check_string,
    "richtext": check_string,
    "id": check_string,
    "datetime": check_datetime,
    "int": check_int,
    "float": check_float,
    "bool": check_bool,
}
