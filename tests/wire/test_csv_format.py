"""CSV out and in: what is written is read again, in whatever pieces it comes; what is wrong is
named with its line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.errors import PylonError
from pylon.wire import csv_format
from pylon.wire.csv_format import BOM, CsvSplitter, CsvWriter
from pylon.wire.export_format import Incoming

NAMES = ("id", "title", "rank", "note")
READERS: dict[str, Any] = {"id": str, "title": str, "rank": json.loads, "note": str}
TEXTS = st.text(st.sampled_from("ab\"',;\t\r\n =é\u2028\0 "), max_size=8)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text("abc", min_size=1, max_size=3),
            "title": st.none() | TEXTS,
            "rank": st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
            "note": st.none() | TEXTS,
        }
    ),
    max_size=6,
)


def splitter(**given: Any) -> CsvSplitter:
    return CsvSplitter("Todo", READERS, **given)


def read(pieces: Iterable[bytes], made: CsvSplitter | None = None) -> list[Incoming]:
    made = made or splitter()
    found = [each for piece in pieces for each in made.feed(piece)]
    return [each for each in (*found, *made.finish()) if each is not None]


def rows_of(text: bytes) -> list[Any]:
    return [each.row for each in read([text])]


def whole(writer: CsvWriter, rows: Iterable[dict[str, Any]]) -> bytes:
    return writer.head() + b"".join(writer.lines(rows))


def refusal(text: bytes) -> PylonError:
    with pytest.raises(PylonError) as caught:
        read([text])
    return caught.value


@given(rows=ROWS, cuts=st.lists(st.integers(0, 400), max_size=4))
def test_what_is_written_is_read(rows: list[dict[str, Any]], cuts: list[int]) -> None:
    writer = CsvWriter(NAMES)
    text = whole(writer, rows)
    assert rows_of(text) == rows
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(places)]
    assert [each.row for each in read(pieces)] == rows
    assert [each.row for each in read(text[i : i + 1] for i in range(len(text)))] == rows


@given(rows=ROWS, guards=st.booleans(), size=st.integers(1, 20))
def test_lines_in_small_parts_are_the_same_lines(
    rows: list[dict[str, Any]], guards: bool, size: int
) -> None:
    writer = CsvWriter(NAMES, is_for_spreadsheet=guards, as_json={"note"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_format, "_BARE_CHARACTERS_MAX", 0)
        (*_, expected) = ["", *map(bytes.decode, writer.lines(rows))]
        patch.setattr(csv_format, "_PART_CHARACTERS", size)
        parts = list(writer.lines(rows))
    assert b"".join(parts).decode() == expected
    assert len(parts) >= len(rows), "each line is larger than a part"


def test_the_parts_of_large_rows_are_small() -> None:
    large = {"id": "a", "title": '"' * 5_000_000}
    rows = [{"id": "b"}, large, {"id": "c"}, {"id": "d"}, large]
    parts = list(CsvWriter(NAMES).lines(rows))
    assert max(map(len, parts)) <= 2 * csv_format._PART_CHARACTERS
    assert b"".join(parts).split(b"\r\n") == [
        b"b,,,",
        large_line := b'a,"' + b'""' * 5_000_000 + b'",,',
        b"c,,,",
        b"d,,,",
        large_line,
        b"",
    ]
    many = list(CsvWriter(NAMES).lines([{}] * 100_000))
    assert b"".join(many) == b",,,\r\n" * 100_000
    assert len(many) > 10, "empty cells take time, too"


@given(rows=ROWS)
def test_others_read_what_is_written(rows: list[dict[str, Any]]) -> None:
    writer = CsvWriter(NAMES)
    text = (whole(writer, rows)).decode()
    found = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert found[0] == list(NAMES)
    assert [line[1] for line in found[1:]] == [row["title"] or "" for row in rows]


def test_any_json_is_written_as_such() -> None:
    writer = CsvWriter(("title", "note"), as_json={"note"})
    values = [None, "", "5", 5, [1, "a"], {"a": None}, True]
    text = whole(writer, [{"title": "t", "note": value} for value in values])
    made = CsvSplitter("Todo", {"title": str, "note": json.loads})
    assert [each.row["note"] for each in read([text], made)] == values


def test_null_and_the_empty_text_are_two_things() -> None:
    writer = CsvWriter(("title", "note"))
    assert b"".join(writer.lines([{"title": "", "note": None}])) == b'"",\r\n'
    assert rows_of(b'title,note\n"",\n,""\n') == [
        {"title": "", "note": None},
        {"title": None, "note": ""},
    ]


def test_a_required_field_is_left_out_where_its_cell_is_empty() -> None:
    made = splitter(required=frozenset({"title"}))
    assert [each.row for each in read([b'title,note\n,\n"",x\n'], made)] == [
        {"note": None},
        {"title": "", "note": "x"},
    ]


@pytest.mark.parametrize(
    "text",
    [
        BOM + b"title,note\r\na,b\r\n",
        b"note;title\nb;a",
        b"title\tnote\na\tb\n\n",
        b'"title","note"\n\n"a","b"\n',
        b" title , note \na,b",
    ],
)
def test_files_as_programs_write_them(text: bytes) -> None:
    assert rows_of(text) == [{"title": "a", "note": "b"}]


def test_lines_are_told_by_their_number() -> None:
    text = b'title,note\n"a\nb",1\nc,5" pipe\nd\ne,f,g\n\xff,x\n"h""\n",i\n"j"k,l\nm,n\n'
    found = read([text])
    assert [(each.number, each.row["title"]) for each in found if each.error is None] == [
        (2, "a\nb"),
        (8, 'h"\n'),
        (11, "m"),
    ]
    wrong = [(each.number, each.error.code) for each in found if each.error is not None]
    assert wrong == [(line, "INVALID_CSV") for line in (4, 5, 6, 7, 10)]


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        (b"", "MISSING_FIELD", "first line"),
        (b"\n\n", "MISSING_FIELD", "first line"),
        (b"title,nope\na,b\n", "INVALID_COLUMN", '"nope"'),
        (b"title,\na,b\n", "INVALID_COLUMN", '""'),
        (b"title,title\na,b\n", "INVALID_CSV", '"title" twice'),
        (b'title,no"te\na,b\n', "INVALID_COLUMN", '""'),
        (b"\xff\xfet\0i\0", "INVALID_CSV", "Line 1"),
        (b'title\na\n"b\nc\n', "INVALID_CSV", "line 3"),
        (b'title\na\n"b\n\xff\n', "INVALID_CSV", "Line 4"),
    ],
)
def test_what_is_no_csv_is_refused_as_a_whole(text: bytes, code: str, word: str) -> None:
    error = refusal(text)
    assert (error.status, error.code) == (400, code)
    assert word in error.message


@pytest.mark.parametrize("lines", [b"b" * 2_000_000, b"b\n" * 1_000_000])
def test_a_row_has_a_bound(lines: bytes) -> None:
    text = b'title\na\n"' + lines
    error = refusal(text)
    assert error.code == "PAYLOAD_TOO_LARGE"
    assert "line 3" in error.message
    taken = 0

    def pieces() -> Iterable[bytes]:
        nonlocal taken
        while True:
            yield text[taken : taken + 1_000]
            taken += 1_000

    with pytest.raises(PylonError):
        read(pieces())
    assert taken < limits.CSV_ROW_BYTES_MAX + 2_000, "what is kept is bounded"


def test_others_have_their_turns() -> None:
    wide = b"title\n" + b",\n" * 50_000
    assert sum(each is None for each in splitter().feed(wide)) >= 50


def test_a_spreadsheet_runs_nothing() -> None:
    writer = CsvWriter(("title", "rank"), is_for_spreadsheet=True)
    assert writer.head() == BOM + b"title,rank\r\n"
    rows = [{"title": text, "rank": -1} for text in ("=1+1", "+1", "-1", "@x", "\tx", "a=1")]
    cells = [line.split(b",")[0] for line in b"".join(writer.lines(rows)).split(b"\r\n")[:-1]]
    assert cells == [b"'=1+1", b"'+1", b"'-1", b"'@x", b'"\'\tx"', b"a=1"]
    assert b",-1\r\n" in b"".join(writer.lines(rows)), "a number is none"
