"""JSON values are looked at only as far as they may fit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.codec import encode
from pylon.data.json_size import least_size
from pylon.data.table import Table
from pylon.errors import PylonError
from pylon.limits import JSON_FIELD_BYTES_MAX, JSON_ROW_BYTES_MAX
from pylon.schema.model import EntitySpec, FieldSpec

TABLE = Table(
    EntitySpec(
        name="Box",
        fields=(
            FieldSpec(name="title", type="string", optional=True),
            *(FieldSpec(name=f"j{n}", type="json", optional=True) for n in range(12)),
        ),
    )
)
LARGE = [7] * (JSON_FIELD_BYTES_MAX // 2 - 1)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=9), inner),
)


@given(VALUES)
def test_no_value_is_said_to_be_larger_than_it_is(value: Any) -> None:
    size = len(encode(value)) + 1  # and the comma behind it
    assert least_size(value, size) <= size


def test_what_cannot_fit_is_not_looked_through() -> None:
    endless: list[Any] = [1]
    endless.append(endless)
    for value in (endless, [[0.5] * 100_000] * 1_000, {"k" * 70_000: 1}, "x" * 70_000):
        assert least_size(value, JSON_FIELD_BYTES_MAX) > JSON_FIELD_BYTES_MAX


def test_the_values_of_a_row_have_a_bound_together() -> None:
    TABLE.check_keys({f"j{n}": LARGE for n in range(8)}, trusted=False, is_insert=True)
    row = {f"j{n}": LARGE for n in range(12)}
    with pytest.raises(PylonError) as refused:
        TABLE.check_keys(row, trusted=False, is_insert=True)
    assert (refused.value.status, refused.value.code) == (400, "INVALID_VALUE")
    [fault] = refused.value.extra["fields"]
    assert (fault["field"], fault["code"]) == ("j8", "TOO_LARGE")
    assert str(JSON_ROW_BYTES_MAX) in refused.value.message
