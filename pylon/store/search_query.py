"""What is asked of a full-text index, as a tree that knows no index's syntax.

Made by `data/search_text` from what people type; written down for an index by the `Dialect` of its
store, and told of single rows by `search_finds`. Fields are named as in the schema.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Piece(msgspec.Struct, frozen=True):
    """A text whose words must follow one another; `is_prefix`: the last may be a beginning."""

    text: str
    is_prefix: bool = False


class Phrase(msgspec.Struct, frozen=True, tag=True):
    """Pieces that must follow one another; `is_first`: they are what a field begins with."""

    pieces: tuple[Piece, ...]
    is_first: bool = False


class Near(msgspec.Struct, frozen=True, tag=True):
    """Phrases with at most `distance` words between them; None is the index's own measure."""

    phrases: tuple[Phrase, ...]
    distance: int | None = None


class Words(msgspec.Struct, frozen=True, tag=True):
    """Every phrase, in any order; what is no word to the index is passed over."""

    phrases: tuple[Phrase, ...]


class Every(msgspec.Struct, frozen=True, tag=True):
    """All of two or more."""

    parts: tuple[SearchQuery, ...]


class Some(msgspec.Struct, frozen=True, tag=True):
    """At least one of two or more."""

    parts: tuple[SearchQuery, ...]


class But(msgspec.Struct, frozen=True, tag=True):
    """The first of two or more, and none of the others."""

    parts: tuple[SearchQuery, ...]


class Within(msgspec.Struct, frozen=True, tag=True):
    """Found in one of these fields; `is_outside`: in one of the others."""

    fields: tuple[str, ...]
    query: SearchQuery
    is_outside: bool = False


SearchQuery: TypeAlias = Phrase | Near | Words | Every | Some | But | Within


def every(parts: tuple[SearchQuery, ...]) -> SearchQuery:
    """All of one or more."""
    return parts[0] if len(parts) == 1 else Every(parts)


def some(parts: tuple[SearchQuery, ...]) -> SearchQuery:
    """At least one of one or more."""
    return parts[0] if len(parts) == 1 else Some(parts)


def but(parts: tuple[SearchQuery, ...]) -> SearchQuery:
    """The first of one or more, and none of the others."""
    return parts[0] if len(parts) == 1 else But(parts)
