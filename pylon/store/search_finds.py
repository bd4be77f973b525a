"""Whether a search finds a row, told by its texts alone: for entities without a full-text index.

Finds what an index would find, which `tests/store/test_search_finds.py` holds against one. A store
that cannot ask its database this way hands texts and the written-down question to `finds`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import msgspec

from pylon.store.search_query import (
    But,
    Every,
    Near,
    Phrase,
    SearchQuery,
    Some,
    Within,
    Words,
)
from pylon.store.search_words import Term, fold, phrase_terms, words

NEAR_WORDS: Final = 10
"""The distance of a `Near` that gives none, as in the index."""


class _Question(msgspec.Struct, frozen=True):
    """A search, and the fields that are looked into, in the order of their texts."""

    fields: tuple[str, ...]
    query: SearchQuery


def write_down(query: SearchQuery, fields: Sequence[str]) -> str:
    """A search as a text, to be bound in a statement."""
    return msgspec.json.encode(_Question(tuple(fields), query)).decode()


def finds(question: str, texts: Sequence[str | None]) -> bool:
    """Whether what was written down is found in these texts, one for each of its fields."""
    asked = _read(question)
    # Folding is cheap, taking words apart is not: most rows lack one of the words.
    folded = [fold(text) for text in texts if text]
    for word in asked.needed:
        if not any(word in text for text in folded):
            return False
    row = {
        name: f" {' '.join(words(text))} "
        for name, text in zip(asked.fields, texts, strict=True)
        if text
    }
    return asked.holds(row)


_Row: TypeAlias = dict[str, str]
"""The words of a row by field, each with a space on both sides."""

_Test: TypeAlias = Callable[[_Row], bool]


class _Asked(NamedTuple):
    """A question, ready to be asked of many rows; `needed`: words of which none may be missing."""

    fields: tuple[str, ...]
    needed: tuple[str, ...]
    holds: _Test


@lru_cache(256)
def _read(question: str) -> _Asked:
    asked = msgspec.json.decode(question, type=_Question)
    needed = dict.fromkeys(_needed(asked.query))
    return _Asked(asked.fields, tuple(needed), _test(asked.query))


def _needed(query: SearchQuery) -> list[str]:
    match query:
        case Phrase():
            return [term.text for term in phrase_terms(query)]
        case Near() | Words():
            return [word for phrase in query.phrases for word in _needed(phrase)]
        case Every():
            return [word for part in query.parts for word in _needed(part)]
        case But():
            return _needed(query.parts[0])
        case Within():
            return _needed(query.query)
        case Some():
            return []


def _test(query: SearchQuery) -> _Test:
    """Whether a search is true of a row."""
    match query:
        case Phrase():
            return _stands(query)
        case Near():
            return _is_near(query)
        case Words():
            return _all([_test(phrase) for phrase in query.phrases])
        case Every():
            return _all([_test(part) for part in query.parts])
        case Some():
            parts = [_test(part) for part in query.parts]
            return lambda row: any(part(row) for part in parts)
        case But():
            first, *others = [_test(part) for part in query.parts]
            return lambda row: first(row) and not any(other(row) for other in others)
        case Within():
            return _within(query)


def _all(parts: Sequence[_Test]) -> _Test:
    return lambda row: all(part(row) for part in parts)


def _within(query: Within) -> _Test:
    inner, fields, is_outside = _test(query.query), frozenset(query.fields), query.is_outside
    return lambda row: inner(
        {name: text for name, text in row.items() if (name in fields) != is_outside}
    )


def _stands(phrase: Phrase) -> _Test:
    begins = _Sought(phrase_terms(phrase))
    if phrase.is_first:
        return lambda row: any(begins.place(text, 0) == 0 for text in row.values())
    return lambda row: any(begins.place(text, 0) >= 0 for text in row.values())


def _is_near(near: Near) -> _Test:
    """Whether behind no phrase more words stand than `distance` until the last one begins."""
    distance = NEAR_WORDS if near.distance is None else near.distance
    phrases = [_Sought(phrase_terms(phrase)) for phrase in near.phrases]

    def holds(text: str) -> bool:
        places = [phrase.numbers(text) for phrase in phrases]
        return all(places) and any(
            all(
                _has_between(found, last - phrase.size - distance, last)
                for found, phrase in zip(places, phrases, strict=True)
            )
            for last in {place for found in places for place in found}
        )

    return lambda row: any(map(holds, row.values()))


def _has_between(numbers: Sequence[int], first: int, last: int) -> bool:
    place = bisect_left(numbers, first)
    return place < len(numbers) and numbers[place] <= last


class _Sought:
    """Words that follow one another, to be found in the words of a text."""

    __slots__ = ("_literal", "_pattern", "size")

    def __init__(self, terms: Sequence[Term]) -> None:
        self.size = len(terms)
        """How many words they are."""
        end = "" if terms[-1].is_prefix else " "
        self._literal = f" {' '.join([term.text for term in terms])}{end}"
        self._pattern: re.Pattern[str] | None = None
        if any(term.is_prefix for term in terms[:-1]):
            parts = [f" {re.escape(t.text)}{'[^ ]*' if t.is_prefix else ''}" for t in terms]
            self._pattern = re.compile("".join(parts) + end)

    def place(self, text: str, start: int) -> int:
        """Where they stand first from a place on; -1: nowhere."""
        if self._pattern is None:
            return text.find(self._literal, start)
        found = self._pattern.search(text, start)
        return -1 if found is None else found.start()

    def numbers(self, text: str) -> list[int]:
        """Everywhere that they stand, as the numbers of their first words."""
        numbers, number, counted = [], 0, 0
        place = self.place(text, 0)
        while place >= 0:
            number += text.count(" ", counted, place)
            counted = place
            numbers.append(number)
            place = self.place(text, place + 1)
        return numbers
