"""JSON in and out."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.codec import (
    Decoding,
    Outline,
    Raw,
    decode,
    decode_item,
    decode_trusted,
    decoding,
    encode,
    encode_pretty,
)
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


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (b"", "is empty"),
        (b"{title: 1}", "(byte 1)"),
        (b'{"a": 1,}', "(byte 8)"),
        (b'{"a": 1', "truncated"),
    ],
)
def test_a_text_that_is_no_json_is_told_where(text: bytes, hint: str) -> None:
    with pytest.raises(PylonError) as refused:
        decode(text)
    assert hint in (refused.value.hint or "")


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


# --- large texts, and numbers that take long -------------------------------------------------

numbers = st.sampled_from(
    [
        *("1e300", "-5e-324", "1.7976931348623157e308", "9007199254740993.5", "-0.0", "-0", "1E5"),
        *("0.1", "1e-400", "123456789012345678901234567890", "2.2250738585072011e-308"),
        *("0." + "3" * 50, "9" * 300 + ".5", "1e23"),
    ]
)
texts = st.text(st.sampled_from('a",[]{}:\\ \né\U0001f600'), max_size=8)


@st.composite
def json_texts(draw: st.DrawFn) -> str:
    """JSON as somebody may write it: odd numbers, spaces, escapes, repeated keys."""
    is_ascii, spaces = draw(st.booleans()), draw(st.sampled_from(["", " ", "\n\t "]))

    def write(value: Any) -> str:
        match value:
            case list():
                inner = f",{spaces}".join(map(write, value))
                return f"[{spaces}{inner}]"
            case dict():
                pairs = [f"{write(k[0])}{spaces}:{write(v)}" for k, v in value.items()]
                return "{" + f"{spaces},".join(pairs) + spaces + "}"
            case ("number", text):
                return str(text)
        return json.dumps(value, ensure_ascii=is_ascii)

    leaves = st.none() | st.booleans() | texts | st.tuples(st.just("number"), numbers)
    keys = st.tuples(texts, st.integers(0, 2))  # the same text may stand as two keys
    return write(
        draw(
            st.recursive(
                leaves,
                lambda inner: (
                    st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=4)
                ),
                max_leaves=25,
            )
        )
    )


def all_of(steps: Decoding) -> Any:
    """What decoding in steps comes to."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


def values_in(value: Any) -> int:
    """How many values there are; an empty list or object counts as two."""
    inner = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(inner, list):
        return 1
    return 1 + (sum(map(values_in, inner)) if inner else 1)


@given(json_texts(), st.integers(1, 40))
def test_every_way_to_decode_gives_what_the_standard_library_gives(text: str, step: int) -> None:
    wanted = repr(json.loads(text))
    body = text.encode()
    with patch.multiple(limits, JSON_STEP_BYTES=step), patch("pylon.codec._QUICK_BYTES", step):
        assert repr(decode(body)) == wanted
        assert repr(decode_item(body)) == wanted
        assert repr(decode_trusted(text)) == wanted
        assert repr(all_of(decoding(body))) == wanted
        listed = b'{"list" : [%b, %b], "is": true}' % (body, body)
        for each in (body, listed, b"[%b]" % body):
            assert repr(all_of(LIST.decoding(each))) == repr(json.loads(each))


LIST = Outline("list", is_bare=True, **{"is": bool})


@given(
    json_texts(), st.integers(0, 10_000), st.sampled_from(b'",[]{}:\\1e\xff'), st.integers(2, 40)
)
def test_a_broken_text_is_refused_or_means_the_same_everywhere(
    text: str, place: int, sign: int, step: int
) -> None:
    body = bytearray(b'{"list":[%b]}' % text.encode())
    body[place % len(body)] = sign
    found: list[object] = []
    with patch.multiple(limits, JSON_STEP_BYTES=step):
        for way in (decode, decode_item, lambda b: all_of(decoding(b)), all_listed):
            try:
                found.append(repr(way(bytes(body))))
            except PylonError as error:
                found.append(error.code)
    assert found == [found[0]] * 4
    assert found[0] in ("INVALID_JSON", repr_of(bytes(body)))


def all_listed(body: bytes) -> Any:
    return all_of(LIST.decoding(body))


def repr_of(body: bytes) -> str:
    try:
        return repr(json.loads(body))
    except ValueError:
        return "nothing"


@given(json_texts(), st.integers(2, 40), st.integers(-2, 2))
def test_values_are_counted_before_they_are_made(text: str, step: int, more: int) -> None:
    count = values_in(json.loads(text, object_pairs_hook=lambda pairs: [v for _, v in pairs]))
    most = count + more
    with patch.multiple(limits, JSON_STEP_BYTES=step), patch("pylon.codec.decode") as made:
        made.side_effect = json.loads
        # Short texts are not counted; a list of blanks makes this one long.
        steps = decoding(text.encode() + b" " * 200, most)
        if most >= count or most < 0:
            return
        with pytest.raises(PylonError) as refused:
            all_of(steps)
        assert refused.value.code == "PAYLOAD_TOO_LARGE"
        made.assert_not_called()


@pytest.mark.parametrize("number", ["1e400", "-1e999", "NaN", "Infinity", "1" * 5_000, "01", ".5"])
@pytest.mark.parametrize("padding", [0, 3_000, 100_000])
def test_numbers_that_do_not_fit_are_refused_at_any_size(number: str, padding: int) -> None:
    body = b'{"list":[%b,%b]}' % (b'"%b"' % (b"x" * padding), number.encode())
    for way in (decode, decode_item, lambda b: all_of(decoding(b)), all_listed):
        with pytest.raises(PylonError) as refused:
            way(body)
        assert refused.value.code == "INVALID_JSON"


def test_bounds_of_values() -> None:
    most, more = limits.JSON_VALUES_MAX, limits.JSON_LIST_VALUES_MAX
    commas = b'["' + b"a," * 5_000_000 + b'"]'  # a text is one value, whatever is in it
    assert len(all_of(decoding(commas))[0]) == 10_000_000
    assert len(all_of(decoding(b"[" + b"1," * (most - 2) + b"1]"))) == most - 1
    long = b'{"list":[' + b'{"a":1,"b":[2]},' * 50_000 + b"{}]}"
    assert len(all_listed(long)["list"]) == 50_001
    item = b"[" + b"1," * most + b"1]"
    for steps in (
        decoding(item),
        decoding(long),
        decoding(b'{"list":[%b]}' % (b"[]," * most + b"1")),
        LIST.decoding(b'{"list":[%b]}' % item),
        LIST.decoding(b"[" + b"1," * more + b"1]"),
        LIST.decoding(b'{"other":' + long + b"}"),
        decoding(b'["' + b'\\",' * 1_000_000 + b'",%b]' % item),
    ):
        with pytest.raises(PylonError) as refused:
            all_of(steps)
        assert (refused.value.status, refused.value.code) == (413, "PAYLOAD_TOO_LARGE")


def test_the_steps_are_many() -> None:
    rows = b"[" + b'{"a":1e300},' * 20_000 + b"1]"
    assert sum(1 for _ in LIST.decoding(rows)) >= len(rows) // limits.JSON_STEP_BYTES
    counted = b"[" + b'"[],",' * 200_000 + b"1]"
    assert sum(1 for _ in LIST.decoding(counted)) >= len(counted) * 3 // 2 // limits.JSON_STEP_BYTES


def test_the_slow_way_to_read_numbers_is_for_short_texts_only() -> None:
    """`[1e300, ..]` of 64 KB takes 0.2 s by the library's own way, and 3 ms by the other."""
    long = b'{"list":[%b1]}' % (b"1e300," * 1_000)
    with patch("pylon.codec._decode_quick", side_effect=AssertionError):
        decode(long)
        decode_trusted(long.decode())
        decode_item(b"[1e300]")
        all_of(decoding(long))
        all_listed(long)
