"""Which fields of an entity a search looks into; how an index keeps them is its store's."""

from __future__ import annotations

from typing import Final

from pylon.schema.model import EntitySpec

TEXT_KINDS: Final = frozenset({"string", "richtext"})


def text_fields(entity: EntitySpec) -> tuple[str, ...]:
    """Every field of an entity that holds text and is not private: what `$search` looks into."""
    return tuple(
        field.name for field in entity.fields if field.kind in TEXT_KINDS and not field.is_private
    )


def indexed_fields(entity: EntitySpec) -> tuple[str, ...]:
    """The fields of the full-text index; none: the entity has no such index.

    It holds all texts of an entity that is searched by text, so that `$search` is served by it
    too; a search of the entity is narrowed to the fields of its configuration.
    """
    if entity.search is None or not entity.search.text:
        return ()
    return text_fields(entity)
