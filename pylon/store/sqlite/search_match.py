"""What is asked of a full-text index, in the syntax of FTS5.

Every text is quoted, so FTS5 takes whatever was typed. Called by `dialect`.
"""

from __future__ import annotations

from collections.abc import Iterable

from pylon.store.search_keys import SearchKey, marked
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
from pylon.store.sqlite.search_indexes import column_for


def match_text(query: SearchQuery, key: SearchKey | None = None) -> str:
    """The text to bind for an index as made by `search_indexes`; with a key it asks for the words
    of its rows."""
    match query:
        case Phrase():
            start = "^ " if query.is_first else ""
            last = len(query.pieces) - 1
            pieces = [_piece(each, key, is_last=i == last) for i, each in enumerate(query.pieces)]
            return start + " + ".join(pieces)
        case Near():
            distance = "" if query.distance is None else f", {query.distance}"
            return f"NEAR({_written(query.phrases, ' ', key)}{distance})"
        case Words():
            # Side by side, not with AND: so FTS5 passes over what is no word to it.
            return _written(query.phrases, " ", key)
        case Every():
            return _joined(query.parts, " AND ", key)
        case Some():
            return _joined(query.parts, " OR ", key)
        case But():
            return _joined(query.parts, " NOT ", key)
        case Within():
            sign = "- " if query.is_outside else ""
            inner = match_text(query.query, key)
            if not isinstance(query.query, Phrase | Near):
                inner = f"({inner})"
            return f"{sign}{fields_text(query.fields, key)} : {inner}"


def fields_text(fields: Iterable[str], key: SearchKey | None = None) -> str:
    """Some fields of an index, as they stand before a colon."""
    return f"{{{' '.join(_quoted(column_for(name, key)) for name in fields)}}}"


def _piece(piece: Piece, key: SearchKey | None, *, is_last: bool) -> str:
    """The words of a piece as the index keeps them; those of ASCII it takes apart by itself, where
    they have no mark."""
    if key is None and piece.text.isascii():
        return _quoted(piece.text) + (" *" if piece.is_prefix else "")
    terms = piece_terms(piece, is_last=is_last)
    is_prefix = bool(terms) and terms[-1].is_prefix
    words = " ".join([term.text for term in terms])
    return _quoted(words if key is None else marked(words, key.mark)) + (" *" if is_prefix else "")


def _written(parts: Iterable[SearchQuery], joint: str, key: SearchKey | None) -> str:
    return joint.join([match_text(part, key) for part in parts])


def _joined(parts: Iterable[SearchQuery], joint: str, key: SearchKey | None) -> str:
    return joint.join([f"({match_text(part, key)})" for part in parts])


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
