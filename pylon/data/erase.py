"""Deleting many rows by the server: a data subject's, or all of them between two tests.

Rows go through `Transaction.delete` like any others, so every connected client hears of each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from pylon import limits
from pylon.data.rows import Rows
from pylon.data.write import RowName, Transaction
from pylon.errors import PylonError
from pylon.identity import ADMIN

Delete: TypeAlias = Callable[[Transaction, str, str], Awaitable[bool]]
"""Deletes the row of that entity and id; False when there was nothing to delete any more."""


@dataclass(slots=True, kw_only=True)
class Erased:
    """What an erasure did. `errors` names rows that stayed, `limits.ERASE_ERRORS_MAX` at most;
    `beside_rows` counts what else is gone, by what it is."""

    rows_deleted: int = 0
    beside_rows: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


async def erase(rows: Rows, found: AsyncIterator[RowName], delete: Delete, done: Erased) -> Erased:
    """Delete the found rows in transactions of up to `limits.ERASE_UNIT_ROWS`.

    When a row refuses (a hook), its transaction is undone and its rows go one by one, so that the
    others go nevertheless. Failures of the server (5xx) are raised.
    """
    together: list[RowName] = []
    async for each in found:
        together.append(each)
        if len(together) == limits.ERASE_UNIT_ROWS:
            await _erase_unit(rows, together, delete, done)
            together = []
    await _erase_unit(rows, together, delete, done)
    return done


class Reset:
    """Empties the database of a test run; refused elsewhere by `api/subjects.py`."""

    def __init__(self, rows: Rows, entities: Sequence[str]) -> None:
        self._rows = rows
        self._entities = tuple(entities)

    async def __call__(self) -> Erased:
        """Delete every row of every entity."""

        async def delete(tx: Transaction, entity: str, row_id: str) -> bool:
            if await tx.get(entity, row_id) is None:
                return False
            await tx.delete(entity, row_id)
            return True

        return await erase(self._rows, self._all_rows(), delete, Erased())

    async def _all_rows(self) -> AsyncIterator[RowName]:
        for entity in self._entities:
            async for row_id in self._rows.door.row_ids(ADMIN, entity):
                yield entity, row_id


async def _erase_unit(rows: Rows, together: list[RowName], delete: Delete, done: Erased) -> None:
    if not together:
        return

    async def unit(tx: Transaction) -> int:
        return sum([await delete(tx, entity, row_id) for entity, row_id in together])

    try:
        done.rows_deleted += await rows.write(ADMIN, unit)
    except PylonError as error:
        if error.status >= 500:
            raise
        if len(together) > 1:
            for each in together:
                await _erase_unit(rows, [each], delete, done)
        elif len(done.errors) < limits.ERASE_ERRORS_MAX:
            entity, row_id = together[0]
            done.errors.append(f"{entity} {row_id}: {error.message}")
