"""A search of single rows finds what the full-text index finds: held against FTS5."""

# ruff: noqa: RUF001 - letters of many scripts, some of which look alike

from __future__ import annotations

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.data.search_text import read
from pylon.errors import PylonError
from pylon.store.search_finds import finds, write_down
from pylon.store.sqlite.dialect import SQLITE
from pylon.store.sqlite.functions import add_functions
from pylon.store.sqlite.search_indexes import TOKENIZER
from tests.policy.worlds import effort

FIELDS = ("name", "body")

SIGNS = (
    *('"', "(", ")", "*", ":", "{", "}", "^", "+", "-", ",", " ", " ", " ", "'", ".", "\0"),
    *(" AND ", " OR ", " NOT ", "NEAR(", ", 1)", ", 0)", "name:", "-body :", "{name body}:"),
    *("a", "b", "ab", "ÀB", "ß", "ss", "7", "_", "日", "本", "日本", "日本語", "ไทย", "ย", "🚀"),
    *("שָׁ", "ש", "हिन्दी", "ı", "I", "e\u0301", "é", "\u200d", "한국", "국", "ｶﾀ", "カ", "²"),
)
typed = st.lists(st.sampled_from(SIGNS), max_size=12).map("".join)
stored = st.lists(st.sampled_from([each for each in SIGNS if len(each) < 5]), max_size=14).map(
    "".join
)


@pytest.fixture(scope="module")
def index() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    add_functions(connection)
    connection.execute(
        "CREATE VIRTUAL TABLE f USING fts5(name, body, content = '',"
        f" contentless_delete = 1, tokenize = '{TOKENIZER}')"
    )
    return connection


def is_indexed(index: apsw.Connection, asked: object, name: str, body: str) -> bool:
    index.execute(
        "INSERT OR REPLACE INTO f (rowid, name, body)"
        " VALUES (1, _pylon_words(?, 99), _pylon_words(?, 99))",
        (name, body),
    )
    return bool(index.execute("SELECT rowid FROM f(?)", (asked,)).fetchall())


@effort(600)
@given(text=typed, name=stored, body=stored)
def test_both_find_the_same(index: apsw.Connection, text: str, name: str, body: str) -> None:
    try:
        query = read(text, FIELDS).query
    except PylonError:
        return
    if query is None:
        return
    asked = SQLITE.search_value(query)
    assert finds(write_down(query, FIELDS), (name, body)) == is_indexed(index, asked, name, body)


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("red NOT blue", False),
        ("red NOT green", True),
        ("NEAR(red shoe, 1)", True),
        ("NEAR(red shoe, 0)", False),
        ("^red", True),
        ("^shoe", False),
        ("body:red", False),
        ("-body:red", True),
        ('"big sho"', False),
        ("big + sho*", True),
        ("red OR green", True),
        ("blue body:BLÜE", True),
    ],
)
def test_operators_mean_what_they_say(index: apsw.Connection, text: str, is_found: bool) -> None:
    query = read(text, FIELDS).query
    assert query is not None
    row = ("Red big shoe", "Blué")
    assert finds(write_down(query, FIELDS), row) is is_found
    assert is_indexed(index, SQLITE.search_value(query), *row) is is_found


def test_a_row_without_texts_is_not_found() -> None:
    query = read("red", FIELDS).query
    assert query is not None
    assert not finds(write_down(query, FIELDS), (None, None))
    assert not finds(write_down(query, FIELDS), ("", None))
