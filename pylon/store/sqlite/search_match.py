"""What is asked of a full-text index, in the syntax of FTS5.

Every text is quoted, so FTS5 takes whatever was typed. Called by `dialect`.
"""

from __future__ import annotations

from collections.abc import Iterable

from pylon.store.search_query import (
    But,
    Every,
    Near,
    Phrase,
    Piece,
    SearchQuery,
    Some,
    Within,
    Words,
)
from pylon.store.search_words import piece_terms
from pylon.store.sqlite.search_indexes import column_of


def match_text(query: SearchQuery) -> str:
    """The text to bind for an index as made by `search_indexes`."""
    match query:
        case Phrase():
            start = "^ " if query.is_first else ""
            last = len(query.pieces) - 1
            pieces = [_piece(each, is_last=i == last) for i, each in enumerate(query.pieces)]
            return start + " + ".join(pieces)
        case Near():
            distance = "" if query.distance is None else f", {query.distance}"
            return f"NEAR({' '.join(map(match_text, query.phrases))}{distance})"
        case Words():
            # Side by side, not with AND: so FTS5 passes over what is no word to it.
            return " ".join(map(match_text, query.phrases))
        case Every():
            return _joined(query.parts, " AND ")
        case Some():
            return _joined(query.parts, " OR ")
        case But():
            return _joined(query.parts, " NOT ")
        case Within():
            sign = "- " if query.is_outside else ""
            inner = match_text(query.query)
            if not isinstance(query.query, Phrase | Near):
                inner = f"({inner})"
            return f"{sign}{fields_text(query.fields)} : {inner}"


def fields_text(fields: Iterable[str]) -> str:
    """Some fields of an index, as they stand before a colon."""
    return f"{{{' '.join(_quoted(column_of(name)) for name in fields)}}}"


def _piece(piece: Piece, *, is_last: bool) -> str:
    """The words of a piece as the index keeps them; those of ASCII it takes apart by itself."""
    if piece.text.isascii():
        return _quoted(piece.text) + (" *" if piece.is_prefix else "")
    terms = piece_terms(piece, is_last=is_last)
    is_prefix = bool(terms) and terms[-1].is_prefix
    return _quoted(" ".join([term.text for term in terms])) + (" *" if is_prefix else "")


def _joined(parts: Iterable[SearchQuery], joint: str) -> str:
    return joint.join([f"({match_text(part)})" for part in parts])


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
