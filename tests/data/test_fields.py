"""What values a field takes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.codec import decode, encode
from pylon.data.fields import CHECKERS, INT_MAX, INT_MIN
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
}


def test_every_kind_has_a_checker() -> None:
    assert set(CHECKERS) == {*SCALAR_KINDS.values(), "id"} == set(STORED)


@given(st.sampled_from(sorted(CHECKERS)), anything)
def test_what_is_taken_has_its_type_is_taken_again_and_is_json(kind: FieldKind, value: Any) -> None:
    try:
        stored = CHECKERS[kind](value)
    except ValueError:
        return
    assert type(stored) is STORED[kind]
    assert CHECKERS[kind](stored) == stored
    assert stored == value
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
