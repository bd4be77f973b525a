"""Marks before words: no text has them, and each value has its own."""

from __future__ import annotations

import sys

from pylon.store.search_keys import NO_VALUE, SIGN, SearchKey, mark_of, marked
from pylon.store.search_words import words


def test_no_word_has_the_sign() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert not any(SIGN in word for word in words(everything))
    assert words(f"a{SIGN}b {mark_of('ann')}word") == ["a", "b", mark_of("ann")[1:] + "word"]


def test_every_word_is_marked() -> None:
    mark = mark_of("ann")
    assert marked("red shoe", mark) == f"{mark}red {mark}shoe"
    assert marked("", mark) == ""


def test_marks_are_told_apart() -> None:
    values = ["", "ann", "Ann", "ann ", "an", "\0", "\ud800", "天気", *map(str, range(1_000))]
    assert len({NO_VALUE, *map(mark_of, values)}) == len(values) + 1
    assert mark_of(None) == NO_VALUE
    assert SearchKey.of("ownerId", "ann") == SearchKey("ownerId", mark_of("ann"))
    # What no mark begins with another: a word under one is none under the other.
    assert len({len(mark_of(value)) for value in (None, *values)}) == 1
