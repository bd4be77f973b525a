"""Decimals and JSON values in filters, orders and sums.

A decimal is stored as text of a fixed number of digits behind the point, so that equal numbers are
equal texts. Without its point it is a whole number of 64 bits, by which it is compared, ordered and
summed exactly, in every database. Called by `filters`, `query` and `aggregate`.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from pylon.canonical import canonical_text
from pylon.schema.constraints import decimal_text
from pylon.store.base import Value


def key_sql(column: str) -> str:
    """The whole number of a decimal's last digit, as SQL."""
    return f"CAST(replace({column}, '.', '') AS BIGINT)"


def key_of(text: str) -> int:
    """The same of a stored decimal."""
    return int(text.replace(".", ""))


def text_of_key(key: int, scale: int) -> str:
    """The decimal whose key this is; also of a sum, which may have more digits than a value."""
    digits = f"{abs(key):0{scale + 1}}"
    sign = "-" if key < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else f"{sign}{digits}"


def read_number(value: object) -> Decimal | None:
    """A number of a filter, whatever its digits; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = repr(value) if isinstance(value, float) else str(value)
    if len(text) > 100:
        return None
    try:
        number = Decimal(text)
    except ArithmeticError:
        return None
    return number if number.is_finite() and abs(number.adjusted()) <= 100 else None


def stored_text(number: Decimal, scale: int) -> str | None:
    """The number as it is stored; None for one that no row can have."""
    return decimal_text(number, scale)


def bound_key(sign: str, number: Decimal, scale: int) -> int:
    """What keys are compared with by `sign`: a number between two of them is rounded to where it
    makes no difference, one beyond all of them to what no row reaches."""
    scaled = number.scaleb(scale)
    key = math.floor(scaled) if sign in (">", "<=") else math.ceil(scaled)
    return max(min(key, 2**62), -(2**62))


def json_text(value: Any) -> Value:
    """A JSON value as columns hold it; `ValueError` for what is none."""
    try:
        return canonical_text(value)
    except (OverflowError, TypeError):
        raise ValueError("made of JSON values") from None
