"""What values a field takes."""

from __future__ import annotations

import math
import operator
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.codec import decode, encode
from pylon.data.exact import bound_key, key_of, text_of_key
from pylon.data.fields import CHECKERS, INT_MAX, INT_MIN, check_decimal, check_json
from pylon.schema.model import SCALAR_KINDS, FieldKind

anything: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.lists(st.integers())
    | st.dictionaries(st.text(), st.integers())
)

STORED: dict[FieldKind, type] = {
    "string": str,
    "richtext": str,
    "id": str,
    "datetime": str,
    "int": int,
    "float": float,
    "bool": bool,
    "date": str,
    "decimal": str,
    "list": list,
}


def test_a_zero_has_no_sign() -> None:
    assert math.copysign(1, CHECKERS["float"](-0.0)) == 1.0
    assert CHECKERS["int"](2.0**53 - 1) == 2**53 - 1


def test_every_kind_has_a_checker() -> None:
    assert set(CHECKERS) == {*SCALAR_KINDS.values(), "id", "list"} == {*STORED, "json"}


@given(st.sampled_from(sorted(CHECKERS)), anything)
def test_what_is_taken_has_its_type_is_taken_again_and_is_json(kind: FieldKind, value: Any) -> None:
    try:
        stored = CHECKERS[kind](value)
    except ValueError:
        return
    assert type(stored) is STORED.get(kind, type(stored))
    assert CHECKERS[kind](stored) == stored
    assert kind == "decimal" or stored == value
    assert decode(encode(stored)) == stored


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", INT_MAX),
        ("int", INT_MIN),
        ("int", 3.0),
        ("float", 2**70),
        ("bool", 1),
        ("bool", 0),
        ("datetime", "2026-01-01T00:00:00Z"),
        ("datetime", "2026-01-01"),
        ("datetime", "1767225600Z"),
        ("datetime", "1767225600"),
        ("string", ""),
    ],
)
def test_taken(kind: FieldKind, value: Any) -> None:
    assert CHECKERS[kind](value) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", INT_MAX + 1),
        ("int", INT_MIN - 1),
        ("int", 2.0**63),
        ("int", 2.0**53),
        ("int", -(2.0**60)),
        ("int", math.inf),
        ("int", math.nan),
        ("int", True),
        ("int", "1"),
        ("float", math.inf),
        ("float", math.nan),
        ("float", 10**400),
        ("float", False),
        ("bool", 2),
        ("bool", 1.5),
        ("bool", "true"),
        ("datetime", "now"),
        ("datetime", ""),
        ("datetime", "١٢٣"),
        ("datetime", 1_767_225_600),
        ("string", b"bytes"),
        ("string", 1),
    ],
)
def test_refused(kind: FieldKind, value: Any) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        CHECKERS[kind](value)


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        ("12.5", 2, "12.50"),
        (12.5, 2, "12.50"),
        (Decimal("1E+2"), 0, "100"),
        ("-0", 2, "0.00"),
        ("007.10", 1, "7.1"),
        ("9" * 16, 2, "9" * 16 + ".00"),
        (0.1, 1, "0.1"),
        (10**17, 0, "1" + "0" * 17),
        ("+3", 0, "3"),
    ],
)
def test_decimals_are_kept_in_one_form(value: Any, scale: int, text: str) -> None:
    assert check_decimal(value, scale) == text


@pytest.mark.parametrize(
    ("value", "scale"),
    [
        ("1.005", 2),
        (0.1 + 0.2, 2),
        ("9" * 17, 2),
        ("1e3", 2),
        (1e300, 2),
        (math.nan, 2),
        (math.inf, 0),
        ("", 2),
        (".5", 2),
        ("5.", 2),
        (True, 2),
        (None, 2),
        ("1,5", 2),
        ("\u0661", 2),
    ],
)
def test_no_decimal_is_rounded_or_guessed(value: Any, scale: int) -> None:
    with pytest.raises(ValueError, match="decimal place"):
        check_decimal(value, scale)


@given(st.integers(-(10**18) + 1, 10**18 - 1), st.integers(0, 18))
def test_keys_of_decimals_are_in_the_order_of_their_values(key: int, scale: int) -> None:
    text = text_of_key(key, scale)
    assert check_decimal(text, scale) == text
    assert key_of(text) == key
    assert Decimal(text) == Decimal(key).scaleb(-scale)


numbers = st.decimals(-(10**20), 10**20, allow_nan=False, allow_infinity=False)


@given(
    numbers,
    st.integers(-(10**9), 10**9),
    st.integers(0, 6),
    st.sampled_from([">", ">=", "<", "<="]),
)
def test_bounds_between_two_decimals_find_the_same_rows(
    number: Decimal, key: int, scale: int, sign: str
) -> None:
    compare = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}[sign]
    stored = Decimal(key).scaleb(-scale)
    assert compare(key, bound_key(sign, number, scale)) == compare(stored, number)


def test_json_is_kept_in_one_form_and_bounded() -> None:
    assert list(check_json({"b": 1.0, "a": [2]})) == ["a", "b"]
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    for wrong in (deep, 2**70, [math.nan], b"x", "x" * 300_000):
        with pytest.raises(ValueError):  # noqa: PT011
            check_json(wrong)


@pytest.mark.parametrize("value", ["a", {}, [1], [None], [["a"]], ["a"] * 10_001])
def test_lists_are_of_their_type(value: Any) -> None:
    with pytest.raises(ValueError, match="a list"):
        CHECKERS["list"](value)


class Size(str, Enum):  # noqa: UP042 - whose str() is another text
    LARGE = "l"


def test_members_of_enumerations_are_what_they_stand_for() -> None:
    stored = CHECKERS["string"](Size.LARGE)
    assert (type(stored), stored) == (str, "l")
