"""Exports as text and back, cut into pieces at any place."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.codec import encode
from pylon.errors import PylonError
from pylon.wire import export_format
from pylon.wire.export_format import Incoming, LineSplitter, ObjectSplitter, Splitter, export_line

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('a"\\{}[],:\n é', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
ROWS = st.dictionaries(st.text(max_size=4), VALUES, max_size=4)
EXPORTS = st.dictionaries(st.text(min_size=1, max_size=5), st.lists(ROWS, max_size=4), max_size=4)


def split(splitter: Splitter, pieces: Iterable[bytes]) -> list[Incoming]:
    found = [row for piece in pieces for row in splitter.feed(piece)]
    return [row for row in (*found, *splitter.finish()) if row is not None]


def pieces_of(text: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[a:b] for a, b in pairwise(places)]


def pairs(found: list[Incoming]) -> list[tuple[str, Any]]:
    assert all(row.error is None for row in found)
    assert [row.number for row in found] == sorted(row.number for row in found)
    return [(row.entity, row.row) for row in found]


@given(export=EXPORTS, others=st.dictionaries(st.sampled_from("xyz"), VALUES), indent=st.booleans())
def test_an_object_gives_its_rows(
    export: dict[str, list[Any]], others: dict[str, Any], indent: bool
) -> None:
    whole = {"exported_at": "now", **others, "entities": export, "counts": {"entities": [[{}]]}}
    text = json.dumps(whole, indent=1 if indent else None, ensure_ascii=False).encode()
    expected = [(entity, row) for entity, rows in export.items() for row in rows]
    assert pairs(split(ObjectSplitter(), [text])) == expected
    assert pairs(split(ObjectSplitter(), [text[i : i + 1] for i in range(len(text))])) == expected


@given(export=EXPORTS, cuts=st.lists(st.integers(0, 10_000), max_size=5))
def test_pieces_make_no_difference(export: dict[str, list[Any]], cuts: list[int]) -> None:
    expected = [(entity, row) for entity, rows in export.items() for row in rows]
    text = encode({"entities": export})
    assert pairs(split(ObjectSplitter(), pieces_of(text, cuts))) == expected
    lines = b"".join(export_line(entity, row) for entity, row in expected)
    assert pairs(split(LineSplitter(), pieces_of(lines, cuts))) == expected
    assert pairs(split(LineSplitter(), pieces_of(lines.rstrip(b"\n"), cuts))) == expected


def refusal(splitter: Splitter, pieces: Iterable[bytes]) -> str | None:
    """The code with which the text as a whole is refused; None when it is not."""
    try:
        split(splitter, pieces)
    except PylonError as error:
        return error.code
    return None


@given(text=st.binary(max_size=60), cuts=st.lists(st.integers(0, 60), max_size=3))
def test_any_bytes_end_in_rows_or_a_refusal(text: bytes, cuts: list[int]) -> None:
    known = {None, "INVALID_JSON", "MISSING_FIELD"}
    assert refusal(ObjectSplitter(), pieces_of(text, cuts)) in known
    assert refusal(LineSplitter(), pieces_of(text, cuts)) is None


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """An export with some bytes lost or put in."""
    text = bytearray(encode({"exported_at": "now", "entities": draw(EXPORTS), "n": draw(VALUES)}))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        signs = draw(st.text('"\\{}[],: \n1x\u00e9', max_size=2)).encode()
        text[at : at + draw(st.integers(0, 3))] = signs
    return bytes(text)


def outcome(splitter: Splitter, pieces: Iterable[bytes]) -> list[object]:
    """The rows that were read, and the code of what ended it."""
    found: list[object] = []
    try:
        for part in (*(splitter.feed(piece) for piece in pieces), splitter.finish()):
            for row in part:
                if row is None:
                    continue
                code = None if row.error is None else row.error.code
                found.append((row.number, row.entity, row.row, code))
    except PylonError as error:
        found.append(error.code)
    return found


@given(text=spoilt(), size=st.integers(1, 40))
def test_pieces_and_steps_make_no_difference_to_spoilt_text(text: bytes, size: int) -> None:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    for kind in (ObjectSplitter, LineSplitter):
        assert outcome(kind(), pieces) == outcome(kind(), [text])
        with patch("pylon.wire.export_format._STEP_SIGNS", 1):
            assert outcome(kind(), pieces) == outcome(kind(), [text])


def pauses(splitter: Splitter, text: bytes) -> int:
    """How often others have their turn while a text is read that comes as from a socket."""
    size = 65_536
    count = 0
    try:
        for at in range(0, len(text), size):
            count += sum(row is None for row in splitter.feed(text[at : at + size]))
        count += sum(row is None for row in splitter.finish())
    except PylonError:
        pass
    return count


MILLION = 1_000_000
ROW_OF = b'{"entities":{"Todo":[%b]}}'


@pytest.mark.parametrize(
    "text",
    [
        b'{"x":[' + b"[]," * 100_000,
        b'{"entities":{' + b'"k":1,' * 100_000,
        b"{" + b"," * 100_000,
        ROW_OF % (b"[" + b"[]," * 100_000 + b"1]"),
        ROW_OF % (b'["' + b"a," * MILLION + b'"]'),
        ROW_OF % (b"[" + b'{"a":""},' * 100_000 + b"1]"),
        ROW_OF % (b"1," * 100_000 + b"1"),
    ],
)
def test_others_have_their_turns_while_an_object_is_read(text: bytes) -> None:
    assert pauses(ObjectSplitter(), text) >= 15


def test_others_have_their_turns_while_lines_are_read() -> None:
    assert pauses(LineSplitter(), b"\n" * 100_000) >= 15
    assert pauses(LineSplitter(), b'{"entity":"T","row":["' + b"a," * MILLION + b'"]}') >= 15


def test_a_row_of_too_many_values_is_reported() -> None:
    row = b"[" + b"[]," * limits.JSON_VALUES_MAX + b"1]"
    (found,) = split(ObjectSplitter(), [ROW_OF % row])
    assert found.error is not None
    assert found.error.code == "PAYLOAD_TOO_LARGE"
    (line,) = split(LineSplitter(), [b'{"entity":"Todo","row":%b}' % row])
    assert line.error is not None
    assert line.error.code == "PAYLOAD_TOO_LARGE"


@pytest.mark.parametrize("inside", [b"x" * 100, b'\\"' * 50, b"\\\\" * 50])
def test_what_has_been_read_of_a_string_is_not_read_again(inside: bytes) -> None:
    in_string, read = export_format._IN_STRING, 0

    class Counting:
        def match(self, text: bytes, start: int) -> object:
            nonlocal read
            found = in_string.match(text, start)
            assert found is not None
            read += found.end() - start
            return found

    for text in (ROW_OF % b'{"a":"%b"}', ROW_OF % b'"%b"', b'{"%b":1,"entities":{}}'):
        whole, read = text % inside, 0
        with patch("pylon.wire.export_format._IN_STRING", Counting()):
            outcome(ObjectSplitter(), [whole[at : at + 1] for at in range(len(whole))])
        assert read <= len(whole)


def test_a_word_without_end_is_refused() -> None:
    assert refusal(ObjectSplitter(), [b'{"x":' + b"1" * 70_000, b"1" * 70_000]) == "INVALID_JSON"


@given(entities=st.dictionaries(st.text(max_size=3), VALUES, max_size=3), cut=st.integers(0, 999))
def test_half_an_object_is_refused(entities: dict[str, Any], cut: int) -> None:
    text = encode({"entities": entities})
    assert refusal(ObjectSplitter(), [text]) is None
    assert refusal(ObjectSplitter(), [text[: cut % len(text)]]) == "INVALID_JSON"
    assert refusal(ObjectSplitter(), [text, b"]"]) == "INVALID_JSON"


def test_elements_that_are_no_objects_are_rows_too() -> None:
    text = b'{"entities":{"A":[1,"x",null,[2],{}, true ]}}'
    assert [row.row for row in split(ObjectSplitter(), [text])] == [1, "x", None, [2], {}, True]


def test_a_row_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IMPORT_ROW_BYTES_MAX", 100)
    long = b'{"entity":"A","row":{"x":"' + b"y" * 200 + b'"}}'
    pieces = [b'{"entity":"A","row":1}\n', long[:50], long[50:180], long[180:], b"\n"]
    first, second, third = split(LineSplitter(), [*pieces, b'{"entity":"A","row":3}'])
    assert (first.row, third.row) == (1, 3)
    assert second.number == 2
    assert second.error is not None
    assert second.error.code == "PAYLOAD_TOO_LARGE"
    with pytest.raises(PylonError, match="more than 100 bytes"):
        split(ObjectSplitter(), [b'{"entities":{"A":[{"x":"', b"y" * 200])


def test_open_brackets_are_bounded() -> None:
    for head in (b"", b'{"entities":{"A":['):
        with pytest.raises(PylonError):
            split(ObjectSplitter(), [head + b'{"x":' * (limits.IMPORT_DEPTH_MAX + 1)])


def test_what_was_read_is_not_kept() -> None:
    splitter = ObjectSplitter()
    list(splitter.feed(b'{"entities":{"A":['))
    for _ in range(1_000):
        rows = list(splitter.feed(b'{"x":"' + b"y" * 1_000 + b'"},'))
        assert len(rows) == 1
        assert len(splitter._text) < 10
