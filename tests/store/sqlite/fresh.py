"""The tables of an app in an empty database, for tests that need no evolution."""

from __future__ import annotations

from collections.abc import Iterator

from pylon.schema.model import Manifest
from pylon.store.sqlite.tables import create_index, create_table
from pylon.store.tables import wanted_indexes


def fresh_schema(manifest: Manifest) -> Iterator[str]:
    """Every statement that makes the tables of a manifest."""
    for entity in manifest.entities:
        yield create_table(entity)
        for index in wanted_indexes(entity):
            yield create_index(entity.name, index)
