"""What the app holds about one person: handed out as a whole, or erased (spec 02 section 6.6).

A row belongs to a person when any `id(User)` field of it, or any field of the reference's names,
holds their id. How many rows go at once is `erase.py`.
Called by `api/subjects.py`, which has checked that the caller is an administrator.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from pylon.clock import iso_seconds
from pylon.data.erase import Erased, erase
from pylon.data.exports import ExportText, Part, as_object
from pylon.data.references import RowName
from pylon.data.rows import Rows
from pylon.data.write import Transaction
from pylon.identity import ADMIN
from pylon.part import Erase, ExportRows
from pylon.schema.model import USER, EntitySpec, Manifest
from pylon.store.base import Value
from pylon.store.naming import quote

Params: TypeAlias = tuple[Value, ...]

OWNER_FIELDS: Final = (
    "userId",
    "user_id",
    "authorId",
    "author_id",
    "ownerId",
    "owner_id",
    "createdBy",
    "created_by",
)
"""Names that mean a person whatever the type of the field (spec 02 section 6.6)."""


class Subjects:
    """Data-subject requests of one app.

    `erases` and `exports` are what the parts of the service keep of a person beside rows: each name
    with a function of the person's id (`part.Erase`, `part.ExportRows`).
    """

    def __init__(
        self,
        rows: Rows,
        manifest: Manifest,
        *,
        erases: Mapping[str, Erase],
        exports: Mapping[str, ExportRows],
    ) -> None:
        self._rows = rows
        self._erases = erases
        self._exports = exports
        user = self._user = manifest.user_entity
        self._fields = {spec.name: person_fields(spec, user) for spec in manifest.entities}
        if user in self._fields:
            # The person's own row first; rows of User that name them belong to other people.
            self._fields = {user: ("id",), **self._fields} | {user: ("id",)}

    async def export(self, user_id: str) -> ExportText:
        """Every row that belongs to the person, as JSON from one snapshot; close the result.

        Before the rows stands what the parts keep of the person, under their names, if anything.
        Private fields (a password's hash) are left out: the text is for the person.
        """
        parts = []
        for entity, names in self._fields.items():
            if names:
                table = self._rows.table(entity)
                parts.append(
                    Part(
                        entity=entity,
                        sql=f"SELECT {table.columns} FROM {table.source}"
                        f" WHERE {_holds(names)} ORDER BY t.id",
                        params=(user_id,) * len(names),
                        decode=table.decode_public,
                    )
                )
        head: dict[str, object] = {
            "user_id": user_id,
            "exported_at": iso_seconds(self._rows.clock.now()),
        }
        for name, rows_of in self._exports.items():
            if kept := await rows_of(user_id):
                head[name] = kept
        snapshot = await self._rows.store.snapshot()
        chunks = as_object(snapshot, parts, head=head, keep_empty=False, with_counts=False)
        return ExportText(snapshot, chunks)

    async def purge(self, user_id: str) -> Erased:
        """Remove what the parts keep of the person (sessions first of all), then delete every row
        that belongs to them, with events.

        In one transaction where there are at most `limits.ERASE_UNIT_ROWS`. When something refuses
        a row (a hook), the others go and the row is named in `errors`. Their own row goes last, so
        that a purge which was cut short can be seen and made again.
        """
        done = Erased()
        for name, erase_all in self._erases.items():
            done.beside_rows[name] = await erase_all(user_id)
        fields = {name: names for name, names in self._fields.items() if names}
        if self._user in fields:
            fields[self._user] = fields.pop(self._user)  # to the end

        async def delete(tx: Transaction, entity: str, row_id: str) -> bool:
            row = await tx.get(entity, row_id)
            if row is None or all(row[name] != user_id for name in fields[entity]):
                return False  # gone or given away since it was found
            await tx.delete(entity, row_id)
            return True

        found = self._found(
            (name, _holds(names), (user_id,) * len(names)) for name, names in fields.items()
        )
        return await erase(self._rows, found, delete, done)

    async def _found(self, queries: Iterable[tuple[str, str, Params]]) -> AsyncIterator[RowName]:
        for entity, condition, params in queries:
            async for row_id in self._rows.door.row_ids(ADMIN, entity, condition, params):
                yield entity, row_id


def person_fields(spec: EntitySpec, user_entity: str = USER) -> tuple[str, ...]:
    """The fields of an entity that hold a person's id."""
    return tuple(
        each.name for each in spec.fields if each.target == user_entity or each.name in OWNER_FIELDS
    )


def _holds(names: Sequence[str]) -> str:
    return f"({' OR '.join(f't.{quote(name)} = ?' for name in names)})"
