"""What people type: always read to something that FTS5 takes, and what it means."""

from __future__ import annotations

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pylon import limits
from pylon.data.search_text import EVERYTHING, SearchText, read
from pylon.errors import PylonError
from pylon.store.search_words import Term, words
from pylon.store.sqlite.dialect import SQLITE
from pylon.store.sqlite.search_indexes import TOKENIZER
from tests.policy.worlds import effort

FIELDS = ("name", "body", "rank")


def match(text: str) -> object:
    """What the index of SQLite is asked."""
    query = read(text, FIELDS).query
    return None if query is None else SQLITE.search_value(query)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red sho", '"red" "sho" *'),
        ("red sho ", '"red" "sho"'),
        ("a-b", '"a-b" *'),
        ("don't", '"don\'t" *'),
        ('"red shoe', '"""red" "shoe" *'),
        ("c++", '"c++" *'),
        ("rock & roll", '"rock" "roll" *'),
        ("AND", '"AND" *'),
        ("red AND", '"red" "AND" *'),
        ("nome:red", '"nome:red" *'),
        ("NEAR(a b", '"NEAR(a" "b" *'),
        ("a\0b", '"a" "b" *'),
    ],
)
def test_plain_words_are_quoted_and_the_last_may_go_on(text: str, expected: str) -> None:
    assert match(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"red shoe"', '"red shoe"'),
        ("foo*", '"foo" *'),
        ("a OR b c", '("a") OR (("b") AND ("c"))'),
        ("(a OR b) c", '(("a") OR ("b")) AND ("c")'),
        ("a NOT b", '("a") NOT ("b")'),
        ("NAME:red", '{"name"} : "red"'),
        ("rank:red", '{".rank"} : "red"'),
        ("-{name body}:(a OR b)", '- {"name" "body"} : (("a") OR ("b"))'),
        ("^red + blue*", '^ "red" + "blue" *'),
        ("NEAR(a b, 3)", 'NEAR("a" "b", 3)'),
    ],
)
def test_the_syntax_of_fts5_is_taken_where_it_parses(text: str, expected: str) -> None:
    assert match(text) == expected
    assert read(text, FIELDS).words == ()


def test_what_is_not_a_word() -> None:
    assert read(" \t", FIELDS) == EVERYTHING
    assert read("x", ()) == EVERYTHING
    assert read("!? --", FIELDS) == SearchText(is_nothing=True)
    assert read("🚀 red", FIELDS).symbols == ("🚀",)
    assert read("🚀", FIELDS) == SearchText(symbols=("🚀",))


def test_the_words_to_show() -> None:
    assert read("Red Càf", FIELDS).terms == (Term("red"), Term("caf", True))
    assert read("a NOT (b OR c)", FIELDS).terms == (Term("a"),)
    assert read("x.y", FIELDS).words[0].term is None


def test_bounds() -> None:
    for text in ("x" * (limits.SEARCH_CHARACTERS_MAX + 1), "x " * (limits.SEARCH_WORDS_MAX + 1)):
        with pytest.raises(PylonError) as caught:
            read(text, FIELDS)
        assert caught.value.code == "INVALID_QUERY"


@pytest.mark.parametrize("text", ["a^b", "x^2 + y", "2^10", "red ^ blue^"])
def test_a_caret_behind_a_word_is_no_operator(text: str) -> None:
    assert read(text, FIELDS).words


typed = st.text(max_size=30) | st.lists(
    st.sampled_from(
        [
            *('"', "(", ")", "*", ":", "{", "}", "^", "+", "-", ",", " ", "'", "\\", ";", "\0"),
            *("AND", "OR", "NOT", "NEAR", "NEAR(", " AND ", " OR ", " NOT ", "name:", "rank :"),
            *("red", "blue", "é", "ß", "🚀", "7", "_", "日本", '"red shoe"', "a" * 50),
        ]
    ),
    max_size=14,
).map("".join)


def ours(_connection: apsw.Connection, _options: list[str]) -> apsw.Tokenizer:
    """A tokenizer that knows our words: what is left to compare is the syntax."""

    def tokenize(utf8: bytes, _flags: int, _locale: str | None) -> list[str]:
        return words(utf8.decode())

    return tokenize


@pytest.fixture(scope="module")
def index() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.register_fts5_tokenizer("ours", ours)
    for name, tokenizer in (("f", TOKENIZER), ("taken", "ours")):
        connection.execute(
            f"CREATE VIRTUAL TABLE {name} USING fts5(name, body, \".rank\", content = '',"
            f" contentless_delete = 1, tokenize = '{tokenizer}')"
        )
        row = ("red shoe", " ".join(words("blue é 7")))  # as an index is filled
        connection.execute(f"INSERT INTO {name} (rowid, name, body) VALUES (1, ?, ?)", row)
    return connection


@effort(400)
@given(text=typed)
def test_whatever_is_typed_the_index_takes_it(index: apsw.Connection, text: str) -> None:
    asked = match(text)
    if asked is not None:
        index.execute("SELECT rowid FROM f(?)", (asked,)).fetchall()


@effort(200)
@given(text=typed)
@example(text='é"RED:SHOE"')
def test_what_fts5_takes_means_the_same(index: apsw.Connection, text: str) -> None:
    """Where FTS5 takes a text as it is, and we as its syntax, both find the same."""
    try:
        asked = read(text, FIELDS)
        raw = index.execute(
            "SELECT rowid FROM taken(?)", (text.replace("rank", '".rank"'),)
        ).fetchall()
    except (PylonError, apsw.Error):
        return
    if asked.query is None or asked.words or "\0" in text:
        return
    value = SQLITE.search_value(asked.query)
    assert index.execute("SELECT rowid FROM f(?)", (value,)).fetchall() == raw
