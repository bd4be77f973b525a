"""The statements that make the tables of the entities and their indexes.

What they hold is in `store/tables.py`; when they are run is `evolution/`.
"""

from __future__ import annotations

from collections.abc import Iterator

from pylon.moments import moment_column
from pylon.schema.model import EntitySpec, FieldSpec
from pylon.store.naming import quote
from pylon.store.tables import IndexShape, column_type


def columns(field: FieldSpec) -> Iterator[str]:
    """The column definition of a field, and that of the keys of a time."""
    yield f"{quote(field.name)} {column_type(field.kind)}"
    if field.kind == "datetime":
        yield f"{quote(moment_column(field.name))} TEXT"


def create_table(entity: EntitySpec) -> str:
    """The statement that makes an entity's table."""
    defined = [text for field in entity.fields for text in columns(field)]
    listed = ", ".join(("id TEXT PRIMARY KEY NOT NULL", *defined))
    return f"CREATE TABLE {quote(entity.name)} ({listed})"


def create_index(entity: str, index: IndexShape) -> str:
    """The statement that makes an index."""
    unique = "UNIQUE " if index.unique else ""
    where = "" if index.where is None else f" WHERE {index.where}"
    return f"CREATE {unique}INDEX {quote(index.name)} ON {quote(entity)} ({index.columns}){where}"
