"""What a database keeps of an entity: its columns' types and its indexes, as values.

Beside each field of kind `datetime` stands the column of its keys (`moments.py`), which indexes
have. Columns carry no NOT NULL: whether a field is required is kept by the rows above, so a field
that leaves the manifest does not break later inserts. Uniqueness is always a named index, never
part of the column, so that it can come and go. The statements are in the room of each database;
how a database gets there is `evolution/`.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from pylon.letters import small_sql
from pylon.moments import moment_column
from pylon.schema.index_condition import by_moment, condition_sql, read_condition
from pylon.schema.model import EntitySpec, FieldKind, IndexSpec
from pylon.store.naming import quote

COLUMN_TYPES = {"int": "INTEGER", "bool": "INTEGER", "float": "REAL"}
"""The type of a column by field kind, as schemas are told and compared; TEXT for the others (spec
02 section 2.3)."""


class IndexShape(Struct, frozen=True, kw_only=True):
    """An index as the database has it; `name` is the only one in it, so it carries the entity.

    `where` is SQL as `schema/index_condition` writes it; None for an index of all rows. Of `folded`
    fields A to Z are in it in small, as `letters.small_sql` writes it.
    """

    name: str
    fields: tuple[str, ...]
    unique: bool
    where: str | None = None
    folded: tuple[str, ...] = ()

    @property
    def columns(self) -> str:
        """What stands between the parentheses of its statement."""
        return ", ".join(
            small_sql(quote(field)) if field in self.folded else quote(field)
            for field in self.fields
        )

    @property
    def present(self) -> str:
        """The condition of the rows that it tells apart where it is unique."""
        present = " AND ".join(f"{quote(field)} IS NOT NULL" for field in self.fields)
        return present if self.where is None else f"{present} AND ({self.where})"


def column_type(kind: FieldKind) -> str:
    """The type of a column of this kind."""
    return COLUMN_TYPES.get(kind, "TEXT")


def time_fields(entity: EntitySpec) -> frozenset[str]:
    """The fields that have a column of keys beside them."""
    return frozenset(field.name for field in entity.fields if field.kind == "datetime")


def wanted_indexes(entity: EntitySpec) -> Iterator[IndexShape]:
    """The indexes that an entity declares: one for each unique field, then its own.

    Those that are not unique end with the id, as every order does: so a page is read where it
    begins, whatever it is ordered by and however many rows are equal in that. A key whose rows
    follow when the row goes that it names has one, unless another begins with it: a delete looks
    for them.
    """
    times = time_fields(entity)
    begun = {field.name for field in entity.fields if field.unique}
    begun |= {each.fields[0] for each in entity.indexes if each.fields and each.where is None}
    for relation in entity.relations:
        follows = relation.onDelete is not None and relation.field in entity.fields_by_name
        if follows and not relation.many and relation.field not in begun:
            begun.add(relation.field)
            name = f"{entity.name}_{relation.field}_reference"
            yield IndexShape(name=name, fields=(relation.field, "id"), unique=False)
    for field in entity.fields:
        if field.unique:
            name = f"{entity.name}_{field.name}_unique"
            column = moment_column(field.name) if field.name in times else field.name
            folded = (field.name,) if field.folds else ()
            yield IndexShape(name=name, fields=(column,), unique=True, folded=folded)
    for index in entity.indexes:
        ends_with_id = index.unique or "id" in index.fields
        columns = tuple(moment_column(f) if f in times else f for f in index.fields)
        fields = columns if ends_with_id else (*columns, "id")
        where = None
        if index.where is not None:
            where = condition_sql(by_moment(read_condition(index.where), times))
        yield IndexShape(
            name=f"{entity.name}_{index.name}",
            fields=fields,
            unique=index.unique,
            where=where,
            folded=tuple(name for name in fields if _folds(entity, index, name)),
        )


def _folds(entity: EntitySpec, index: IndexSpec, name: str) -> bool:
    field = entity.fields_by_name.get(name)
    if field is None:
        return False
    return field.folds or (index.caseInsensitive and field.kind == "string")
