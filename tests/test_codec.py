"""JSON in and out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.codec import Raw, decode, decode_trusted, encode, encode_pretty
from pylon.errors import PylonError

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_what_goes_out_comes_in(value: Any) -> None:
    assert decode(encode(value)) == value
    assert decode_trusted(encode(value).decode()) == value
    assert decode(encode_pretty(value)) == value


@given(st.binary())
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    try:
        decode(body)
    except PylonError as error:
        assert (error.status, error.code) == (400, "INVALID_JSON")  # noqa: PT017


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nan",
        b"NaN",
        b"Infinity",
        b"-",
        b"01",
        b"1.",
        b"{",
        b'"\\ud800"',
        b"[" * 10_000,
        b"1e999",
    ],
)
def test_what_is_no_json_is_400(body: bytes) -> None:
    with pytest.raises(PylonError) as refusal:
        decode(body)
    assert refusal.value.code == "INVALID_JSON"


def test_order_raw_and_pretty() -> None:
    assert encode({"b": 1, "a": Raw(b"[2]")}) == b'{"b":1,"a":[2]}'
    assert encode_pretty({"b": [1]}) == '{\n  "b": [\n    1\n  ]\n}\n'
