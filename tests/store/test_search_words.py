"""The words of texts in many scripts, and that typed ones are found among stored ones."""

# ruff: noqa: RUF001 - letters of many scripts, some of which look alike

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.store import search_words
from pylon.store.search_query import Phrase, Piece
from pylon.store.search_words import Term, fold, has_word, phrase_terms, piece_terms, runs, words
from tests.policy.worlds import effort


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Ünï", "uni"),
        ("ÅSA", "asa"),
        ("naïve", "naive"),
        ("ΣΊΣΥΦΟΣ", "σισυφοσ"),
        ("ταξίδις", "ταξιδισ"),
        ("Straße", "strasse"),
        ("STRASSE", "strasse"),
        ("Đường", "duong"),
        ("Łódź", "lodz"),
        ("İstanbul", "istanbul"),
        ("ılık", "ilik"),
        ("Ærø", "aero"),
        ("Cafe\u0301", "cafe"),
        ("Ёлка", "елка"),
        ("שָׁלוֹם", "שלום"),
        ("مُحَمَّد", "محمد"),
        ("مـحـمـد", "محمد"),
        ("أحمد", "احمد"),
        ("ﬁn", "fin"),
        ("ＡＢＣ", "abc"),
        ("ｶﾞ", "ガ"),
        ("か", "か"),
        ("が", "が"),
        ("हिन्दी", "हिन्दी"),
        ("ที่", "ที่"),
        ("co\u00adop", "coop"),
        ("\ufeffbom", "bom"),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert fold(text) == folded
    assert fold(fold(text)) == folded
    assert fold(text.upper()) == fold(text.lower()) == folded or text == "ılık"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Red-shoe, 7!", ["red", "shoe", "7"]),
        ("under_score", ["under", "score"]),
        ("a\0b", ["a", "b"]),
        ("l'œuf", ["l", "oeuf"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("天気", ["天気", "気"]),
        ("今日は、天", ["今日", "日は", "は", "天"]),
        ("2024年5月", ["2024", "年", "5", "月"]),
        ("한국어 7", ["한국", "국어", "어", "7"]),
        ("ไทย", ["ไท", "ทย", "ย"]),
        ("می\u200cخواهم", ["میخواهم"]),
        ("🚀 ←", []),
        ("", []),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    assert words(text) == found
    assert has_word(text) == bool(found)


def test_what_is_asked_of_a_run_may_go_on() -> None:
    assert piece_terms(Piece("天気")) == [Term("天気")]
    assert piece_terms(Piece("天気予")) == [Term("天気"), Term("気予")]
    assert piece_terms(Piece("天")) == [Term("天", True)]
    assert piece_terms(Piece("今日 天気")) == [Term("今日"), Term("日"), Term("天気")]
    assert piece_terms(Piece("年5月")) == [Term("年"), Term("5"), Term("月", True)]
    assert piece_terms(Piece("red", is_prefix=True)) == [Term("red", True)]
    phrase = Phrase((Piece("天気"), Piece("は")))
    assert phrase_terms(phrase) == [Term("天気"), Term("気"), Term("は", True)]


letters = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cn"]), max_size=20)


@effort(300)
@given(text=letters)
def test_the_words_of_what_is_kept_are_the_same(text: str) -> None:
    """An index takes them apart at spaces only, and at what is no letter of ASCII."""
    found = words(text)
    assert words(text.upper()) == found or text.upper().lower() != text.lower()
    for word in found:
        assert not any(sign.isascii() and not sign.isalnum() for sign in word), word
        assert fold(word) == word


@effort(300)
@given(
    before=st.text("日本語カが한국ไทย", max_size=5), text=st.text("日本語カが한국ไทย", min_size=1)
)
def test_every_part_of_a_run_is_found(before: str, text: str) -> None:
    kept, asked = words(before + text + before), piece_terms(Piece(text))
    assert any(
        all(
            kept[start + n].startswith(term.text)
            if term.is_prefix
            else kept[start + n] == term.text
            for n, term in enumerate(asked)
        )
        for start in range(len(kept) - len(asked) + 1)
    )


@effort(300)
@given(text=letters | st.text("かがﾞカｶ가각e\u0301 ä天気a", max_size=20), size=st.integers(1, 5))
def test_a_long_text_has_the_words_of_a_short_one(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(limits, "SEARCH_FOLDED_AT_ONCE", size)
        found = words(text)
    assert found == words(text)


@effort(300)
@given(text=letters)
def test_runs_stand_in_their_text(text: str) -> None:
    for run in runs(text):
        assert text[run.start : run.end] == run.text


def test_folding_knows_every_letter_once() -> None:
    """What is folded is folded, in both cases of every letter."""
    for code in range(0x80, sys.maxunicode + 1):
        sign = chr(code)
        if unicodedata.category(sign)[0] in "LMN":
            once = fold(sign)
            assert fold(once) == once, hex(code)
            assert fold(sign.upper()) == fold(sign.lower()), hex(code)


# --- the short way of Latin-1 ----------------------------------------------------------------

LATIN = [chr(code) for code in range(256)]


def test_each_two_signs_of_latin_1_give_the_words_that_any_text_gives() -> None:
    for first in LATIN:
        for second in LATIN:
            text = f"é{first}{second}x"
            assert words(text) == search_words._words_of_any(text), repr(text)


@effort(300)
@given(st.text(st.sampled_from(LATIN) | st.characters(max_codepoint=0x2FF), max_size=30))
def test_texts_with_and_without_other_signs_have_the_same_words(text: str) -> None:
    assert words(text) == search_words._words_of_any(text)
