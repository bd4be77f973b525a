"""The statements that make the tables of the entities and their indexes.

What they hold is in `store/tables.py`; when they are run is `evolution/`.
"""

from __future__ import annotations

from pylon.schema.model import EntitySpec, FieldSpec
from pylon.store.naming import quote
from pylon.store.tables import IndexShape, column_type


def column(field: FieldSpec) -> str:
    """The column definition of a field."""
    return f"{quote(field.name)} {column_type(field.kind)}"


def create_table(entity: EntitySpec) -> str:
    """The statement that makes an entity's table."""
    columns = ["id TEXT PRIMARY KEY NOT NULL", *map(column, entity.fields)]
    return f"CREATE TABLE {quote(entity.name)} ({', '.join(columns)})"


def create_index(entity: str, index: IndexShape) -> str:
    """The statement that makes an index."""
    unique = "UNIQUE " if index.unique else ""
    where = "" if index.where is None else f" WHERE {index.where}"
    return f"CREATE {unique}INDEX {quote(index.name)} ON {quote(entity)} ({index.columns}){where}"
