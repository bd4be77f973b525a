"""The tables of the entities as SQL: columns, indexes, and the statements that make them.

Columns carry no NOT NULL: whether a field is required is kept by the rows above, so a field that
leaves the manifest does not break later inserts. Uniqueness is always a named index, never part of
the column, so that it can come and go. How a database gets there is `evolution/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pylon.schema.model import EntitySpec, FieldKind, FieldSpec, Manifest
from pylon.store.naming import quote

COLUMN_TYPES = {"int": "INTEGER", "bool": "INTEGER", "float": "REAL"}
"""SQLite column type by field kind; TEXT for the others (spec 02 section 2.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexShape:
    """An index as the database has it; `name` is global in SQLite, so it carries the entity."""

    name: str
    fields: tuple[str, ...]
    unique: bool


def column_type(kind: FieldKind) -> str:
    """The declared type of a column of this kind."""
    return COLUMN_TYPES.get(kind, "TEXT")


def column(field: FieldSpec) -> str:
    """The column definition of a field."""
    return f"{quote(field.name)} {column_type(field.kind)}"


def create_table(entity: EntitySpec) -> str:
    """The statement that makes an entity's table."""
    columns = ["id TEXT PRIMARY KEY NOT NULL", *map(column, entity.fields)]
    return f"CREATE TABLE {quote(entity.name)} ({', '.join(columns)})"


def wanted_indexes(entity: EntitySpec) -> Iterator[IndexShape]:
    """The indexes that an entity declares: one for each unique field, then its own.

    Those that are not unique end with the id, as every order does: so a page is read where it
    begins, whatever it is ordered by and however many rows are equal in that.
    """
    for field in entity.fields:
        if field.unique:
            name = f"{entity.name}_{field.name}_unique"
            yield IndexShape(name=name, fields=(field.name,), unique=True)
    for index in entity.indexes:
        name = f"{entity.name}_{index.name}"
        ends_with_id = index.unique or "id" in index.fields
        fields = index.fields if ends_with_id else (*index.fields, "id")
        yield IndexShape(name=name, fields=fields, unique=index.unique)


def create_index(entity: str, index: IndexShape) -> str:
    """The statement that makes an index."""
    columns = ", ".join(quote(field) for field in index.fields)
    unique = "UNIQUE " if index.unique else ""
    return f"CREATE {unique}INDEX {quote(index.name)} ON {quote(entity)} ({columns})"


def fresh_schema(manifest: Manifest) -> Iterator[str]:
    """Every statement that makes the tables of a manifest in an empty database."""
    for entity in manifest.entities:
        yield create_table(entity)
        for index in wanted_indexes(entity):
            yield create_index(entity.name, index)
