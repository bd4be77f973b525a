"""Excerpts: the right words marked, everything else escaped, long texts cut at words."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.data import search_highlight
from pylon.data.search_highlight import excerpt
from pylon.store.search_words import Term, fold
from tests.policy.worlds import effort

RED = (Term("red"),)


def test_words_are_marked_as_the_index_finds_them() -> None:
    assert excerpt("Red, réd redo.", RED) == "<mark>Red</mark>, <mark>réd</mark> redo."
    assert excerpt("redo", (Term("red", is_prefix=True),)) == "<mark>redo</mark>"
    assert excerpt("blue", RED) is None
    assert excerpt("go 🚀🚀!", (), ("🚀",)) == "go <mark>🚀</mark><mark>🚀</mark>!"


def test_text_is_escaped() -> None:
    assert excerpt("<red>&\"'", RED) == "&lt;<mark>red</mark>&gt;&amp;&quot;&#x27;"
    assert excerpt("<mark>red", RED) == "&lt;mark&gt;<mark>red</mark>"


def test_long_texts_are_cut_between_words() -> None:
    filler = "lorem ipsum dolor " * 60
    found = excerpt(f"{filler}red {filler}", RED)
    assert found is not None
    assert re.fullmatch(r"…(\w+ )+<mark>red</mark>( \w+)+…", found)
    assert len(found) < limits.SEARCH_HIGHLIGHT_CHARACTERS + 20
    found = excerpt(f"red {filler}", RED)
    assert found is not None
    assert found.startswith("<mark>red</mark> lorem")
    found = excerpt(f"{filler}red", RED)
    assert found is not None
    assert found.endswith(" <mark>red</mark>")


@pytest.mark.parametrize(
    ("text", "words_max"),
    [
        ("red " + "a b " * 50_000, limits.SEARCH_HIGHLIGHT_CHARACTERS),
        ("a b " * 50_000, 0),
        ("é b " * 50_000, limits.SEARCH_HIGHLIGHT_CHARACTERS_MAX // 2),
        ("bored " * 50_000, limits.SEARCH_HIGHLIGHT_CHARACTERS_MAX // 6 + 1),
        ("red " * 50_000, limits.SEARCH_HIGHLIGHT_CHARACTERS // 4 + 1),
    ],
)
def test_no_more_of_a_text_is_looked_at_than_an_excerpt_needs(
    text: str, words_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[str] = []

    def counted(word: str) -> str:
        looked_at.append(word)
        return fold(word)

    monkeypatch.setattr(search_highlight, "fold", counted)
    excerpt(text, (*RED, *(Term(f"z{number}") for number in range(32))))
    assert len(looked_at) <= words_max


def test_a_text_that_goes_on_is_not_shown_as_whole() -> None:
    most = limits.SEARCH_HIGHLIGHT_CHARACTERS_MAX
    found = excerpt("blue " * (most // 5 - 1) + "red " + "blue " * 9, RED)
    assert found is not None
    assert found.endswith("…")
    assert excerpt("é " * most + "red", RED) is None


PIECES = st.sampled_from(
    ("red", "Red", "reds", "<", ">", "&", " ", "x" * 90, "🚀", "é", "\n", "red ")
)


@effort(200)
@given(text=st.lists(PIECES, max_size=60).map("".join))
def test_an_excerpt_is_part_of_the_text(text: str) -> None:
    found = excerpt(text, RED, ("🚀",))
    if found is None:
        return
    assert "<mark>" in found or len(text) > limits.SEARCH_HIGHLIGHT_CHARACTERS
    bare = found.replace("<mark>", "").replace("</mark>", "")
    assert not re.search("[<>]", bare)
    assert html.unescape(bare).strip("…") in text
