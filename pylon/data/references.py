"""Keys of rows that must name a row: the references of an app, and whether what they name is there.

A reference is the key of a relation that says `check` or `onDelete`. It is looked up inside the
unit that writes, which no other write comes between. What follows when the row that it names goes
is `cascade.py`; rows are changed by `write.py` alone.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, TypeAlias

from msgspec import Struct, field

from pylon.errors import PylonError
from pylon.schema.model import EntitySpec, Manifest, OnDelete
from pylon.store.base import Tx
from pylon.store.naming import quote

RowName: TypeAlias = tuple[str, str]
"""Entity and id of a row."""

NOT_THERE: Final = "REFERENCE_NOT_FOUND"
"""The code of a write that names a row which is not there."""


class Reference(Struct, frozen=True, kw_only=True):
    """A field of an entity that names rows of `target`, and what is promised of it.

    `find` finds the target by its id, `naming` ids of rows that name one, up to a number, and
    `names` whether a row still does.
    """

    entity: str
    field: str
    target: str
    relation: str
    is_checked: bool
    is_private: bool
    on_delete: OnDelete | None
    find: str
    naming: str
    names: str


def references_of(entity: EntitySpec) -> tuple[Reference, ...]:
    """The promises of an entity's keys, one a field."""
    found: dict[str, Reference] = {}
    table = quote(entity.name)
    for relation in entity.relations:
        spec = entity.fields_by_name.get(relation.field)
        if relation.many or not relation.is_kept or spec is None:
            continue
        key = quote(relation.field)
        other = found.get(relation.field)
        found[relation.field] = Reference(
            entity=entity.name,
            field=relation.field,
            target=relation.target,
            relation=relation.name,
            is_checked=relation.check or (other is not None and other.is_checked),
            is_private=spec.is_private,
            on_delete=relation.onDelete or (None if other is None else other.on_delete),
            find=f"SELECT id FROM {quote(relation.target)} WHERE id = ?",
            naming=f"SELECT id FROM {table} WHERE {key} = ? LIMIT ?",
            names=f"SELECT 1 FROM {table} WHERE id = ? AND {key} = ?",
        )
    return tuple(found.values())


def named_first(manifest: Manifest) -> tuple[str, ...]:
    """The entities, those first that others name: the order in which rows can be written. Where
    they name one another in a circle, as they are declared."""
    names = tuple(manifest.entities_by_name)
    graph = {
        entity.name: [
            each.target
            for each in references_of(entity)
            if each.target != entity.name and each.target in manifest.entities_by_name
        ]
        for entity in manifest.entities
    }
    try:
        return tuple(TopologicalSorter(graph).static_order())
    except CycleError:
        return names


# --- keys ------------------------------------------------------------------------------------


async def is_there(tx: Tx, reference: Reference, key: object) -> bool:
    """Whether the row that the key names is there."""
    return bool(await tx.fetch(reference.find, (key,)))  # type: ignore[arg-type]


def not_there(reference: Reference, *, sees_private: bool) -> PylonError:
    """The refusal of a key that names no row."""
    name = reference.field
    if reference.is_private and not sees_private:
        name = "a field that is not yours"
    return PylonError(
        400,
        NOT_THERE,
        f"{reference.entity}.{name} names a row of {reference.target} that is not there.",
        f"Insert the {reference.target} first, or both in one POST /api/transact.",
    )


class Owed(Struct, frozen=True):
    """A key that named no row when it was written, in this part of the unit; the end of the unit
    shall find one."""

    reference: Reference
    row_id: str
    key: Any
    part: int


class Debts(Struct):
    """Keys whose rows may come later in the same unit. Who writes it in parts, such as the rows of
    an import, sets the number of the `part` at hand."""

    part: int = 0
    _owed: list[Owed] = field(default_factory=list)

    def owe(self, reference: Reference, row_id: str, key: Any) -> None:
        """Note a key whose row is not there."""
        self._owed.append(Owed(reference, row_id, key, self.part))

    async def unpaid(self, tx: Tx) -> list[tuple[int, Reference]]:
        """Those whose rows have not come, each with its part. What was overwritten or deleted since
        owes nothing."""
        return [
            (each.part, each.reference)
            for each in self._owed
            if not await is_there(tx, each.reference, each.key)
            and await tx.fetch(each.reference.names, (each.row_id, each.key))
        ]
