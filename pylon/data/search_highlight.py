"""Excerpts that show why a row was found: its text as HTML with the found words marked.

The index keeps no texts, so words are looked for here, in the beginnings of the few rows of a page.
Everything but the marks is escaped: an excerpt can be put into a page as it is.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from heapq import merge

from pylon import limits
from pylon.store.search_words import Run, Term, fold, pairs, runs, words

OPEN, CLOSE = "<mark>", "</mark>"

CUT = "…"

Span = tuple[int, int]


def excerpt(text: str, terms: Sequence[Term], symbols: Sequence[str] = ()) -> str | None:
    """The excerpt of one text; see `Marker.excerpt`."""
    return Marker(terms, symbols).excerpt(text)


class Marker:
    """Marks these words and symbols in texts."""

    def __init__(self, terms: Sequence[Term], symbols: Sequence[str] = ()) -> None:
        self._words = frozenset(term.text for term in terms)
        self._words_in_full = frozenset(term.text for term in terms if len(term.text) > 1)
        self._beginnings = tuple({term.text for term in terms if term.is_prefix})
        self._symbols = symbols

    def excerpt(self, text: str) -> str | None:
        """The text around the first found word, or the whole of a short one; None if none is there.

        Looks at no more than `limits.SEARCH_HIGHLIGHT_CHARACTERS_MAX` characters.
        """
        is_cut = len(text) >= limits.SEARCH_HIGHLIGHT_CHARACTERS_MAX
        text = text[: limits.SEARCH_HIGHLIGHT_CHARACTERS_MAX]
        found = next(self._spans(text, 0, len(text)), None)
        if found is None:
            return None
        start, end = _window(text, found[0])
        parts = [CUT if start else ""]
        position = start
        for first, last in self._spans(text, found[0], end):
            if first < position or last > end:
                continue
            parts.append(html.escape(text[position:first]))
            parts.append(f"{OPEN}{html.escape(text[first:last])}{CLOSE}")
            position = last
        parts.append(html.escape(text[position:end]))
        parts.append(CUT if end < len(text) or is_cut else "")
        return "".join(parts)

    def _spans(self, text: str, start: int, end: int) -> Iterator[Span]:
        """Where found words and symbols begin between two places, in order; looked for as far as
        they are taken."""
        found = [self._spans_of_symbol(text, symbol, start, end) for symbol in self._symbols]
        if not text.isascii() or self._may_stand_in(text.lower()):
            found.append(self._spans_of_words(text, start, end))
        return merge(*found)

    def _may_stand_in(self, small: str) -> bool:
        return any(word in small for word in self._words)

    def _spans_of_words(self, text: str, start: int, end: int) -> Iterator[Span]:
        for run in runs(text, start):
            if run.start >= end:
                return
            if run.is_paired:
                yield from self._spans_of_pairs(run)
            elif any(map(self._is_found, words(run.text))):
                yield run.start, run.end

    def _spans_of_pairs(self, run: Run) -> Iterator[Span]:
        """The parts of a run of letters without spaces that found pairs cover."""
        folded = fold(run.text)
        covered = 0
        begins = None
        for place, pair in enumerate(pairs(folded)):
            if not self._is_found(pair):
                continue
            if len(folded) != len(run.text):  # which letter is which cannot be told
                yield run.start, run.end
                return
            if begins is not None and place > covered:
                yield run.start + begins, run.start + covered
                begins = None
            begins = place if begins is None else begins
            covered = place + (len(pair) if pair in self._words_in_full else 1)
        if begins is not None:
            yield run.start + begins, run.start + covered

    def _is_found(self, word: str) -> bool:
        return word in self._words or word.startswith(self._beginnings)

    @staticmethod
    def _spans_of_symbol(text: str, symbol: str, start: int, end: int) -> Iterator[Span]:
        position = text.find(symbol, start, end)
        while position >= 0:
            yield position, position + len(symbol)
            position = text.find(symbol, position + len(symbol), end)


def _window(text: str, first: int) -> Span:
    """The excerpt's bounds: some words before the first found one, and never within a word."""
    size = limits.SEARCH_HIGHLIGHT_CHARACTERS
    if len(text) <= size:
        return 0, len(text)
    start = min(max(0, first - size // 4), len(text) - size)
    if start:
        space = text.find(" ", start, first)
        start = first if space < 0 else space + 1
    end = start + size
    if end >= len(text):
        return start, len(text)
    space = text.rfind(" ", first, end)
    return start, end if space < 0 else space
