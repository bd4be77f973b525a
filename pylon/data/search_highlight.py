"""Excerpts that show why a row was found: its text as HTML with the found words marked.

The index keeps no texts, so words are looked for here, in the few rows of a page. Everything but
the marks is escaped: an excerpt can be put into a page as it is.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from pylon import limits
from pylon.data.search_text import WORD, Term, fold

OPEN, CLOSE = "<mark>", "</mark>"

CUT = "…"

Span = tuple[int, int]


def excerpt(text: str, terms: Sequence[Term], symbols: Sequence[str] = ()) -> str | None:
    """The text around the first found word, or the whole of a short one; None if none is there."""
    text = text[: limits.SEARCH_HIGHLIGHT_CHARACTERS_MAX]
    spans = _spans(text, terms, symbols)
    if not spans:
        return None
    start, end = _window(text, spans[0][0])
    parts = [CUT if start else ""]
    position = start
    for first, last in spans:
        if first < position or last > end:
            continue
        parts.append(html.escape(text[position:first]))
        parts.append(f"{OPEN}{html.escape(text[first:last])}{CLOSE}")
        position = last
    parts.append(html.escape(text[position:end]))
    parts.append(CUT if end < len(text) else "")
    return "".join(parts)


def _spans(text: str, terms: Sequence[Term], symbols: Sequence[str]) -> list[Span]:
    """Where found words and symbols stand, in order."""
    spans = [
        found.span()
        for found in WORD.finditer(text)
        if any(term.fits(word) for word in (fold(found[0]),) for term in terms)
    ]
    for symbol in symbols:
        position = text.find(symbol)
        while position >= 0:
            spans.append((position, position + len(symbol)))
            position = text.find(symbol, position + len(symbol))
    return sorted(spans)


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
