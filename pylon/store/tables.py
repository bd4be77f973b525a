"""The tables of the entities: what a manifest needs, what a database has, and the steps between.

Only additive steps are taken: new tables, columns and indexes. A column that changed its type
is reported, never altered. Columns carry no NOT NULL: whether a field is required is kept by the
rows above (`data/validate.py`), so a field that leaves the manifest does not break later inserts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pylon.schema.model import EntitySpec, FieldSpec, Manifest
from pylon.store.base import Tx
from pylon.store.naming import quote

COLUMN_TYPES = {"int": "INTEGER", "bool": "INTEGER", "float": "REAL"}
"""SQLite column type by field kind; TEXT for the others (spec 02 section 2.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaPlan:
    """Steps that make the database fit the manifest, and what no additive step can reach."""

    steps: tuple[str, ...]
    unreachable: tuple[str, ...]


def column_type(field: FieldSpec) -> str:
    return COLUMN_TYPES.get(field.kind, "TEXT")


async def plan_schema(tx: Tx, manifest: Manifest) -> SchemaPlan:
    """Compare the manifest with the live database."""
    steps: list[str] = []
    unreachable: list[str] = []
    for entity in manifest.entities:
        info = await tx.fetch("SELECT name, type FROM pragma_table_info(?)", (entity.name,))
        columns = {name: declared.upper() for name, declared in info}
        if not columns:
            steps.append(_create_table(entity))
        else:
            steps.extend(_missing_columns(entity, columns))
            unreachable.extend(_changed_types(entity, columns))
        listed = await tx.fetch("SELECT name FROM pragma_index_list(?)", (entity.name,))
        present = {name for (name,) in listed}
        steps.extend(sql for name, sql in _indexes(entity) if name not in present)
    return SchemaPlan(steps=tuple(steps), unreachable=tuple(unreachable))


async def apply_plan(tx: Tx, plan: SchemaPlan) -> None:
    """Run the steps inside the caller's unit."""
    for statement in plan.steps:
        await tx.execute(statement)


def _create_table(entity: EntitySpec) -> str:
    columns = ["id TEXT PRIMARY KEY NOT NULL"]
    columns += [f"{quote(field.name)} {column_type(field)}" for field in entity.fields]
    return f"CREATE TABLE {quote(entity.name)} ({', '.join(columns)})"


def _missing_columns(entity: EntitySpec, columns: dict[str, str]) -> Iterator[str]:
    for field in entity.fields:
        if field.name not in columns:
            yield (
                f"ALTER TABLE {quote(entity.name)}"
                f" ADD COLUMN {quote(field.name)} {column_type(field)}"
            )


def _changed_types(entity: EntitySpec, columns: dict[str, str]) -> Iterator[str]:
    for field in entity.fields:
        live = columns.get(field.name)
        if live is not None and live != column_type(field):
            yield f"{entity.name}.{field.name} is {live} in the database, {field.type} in the app"


def _indexes(entity: EntitySpec) -> Iterator[tuple[str, str]]:
    """Name and statement of each index; names carry the entity, since SQLite's are global."""
    for field in entity.fields:
        if field.unique:
            name = f"{entity.name}_{field.name}_unique"
            yield name, _create_index(entity, name, (field.name,), unique=True)
    for index in entity.indexes:
        name = f"{entity.name}_{index.name}"
        yield name, _create_index(entity, name, index.fields, unique=index.unique)


def _create_index(entity: EntitySpec, name: str, fields: tuple[str, ...], *, unique: bool) -> str:
    columns = ", ".join(quote(field) for field in fields)
    return (
        f"CREATE {'UNIQUE ' if unique else ''}INDEX {quote(name)}"
        f" ON {quote(entity.name)} ({columns})"
    )
