"""Deleting many rows by the server: a data subject's, or all of them between two tests.

Rows go through `Transaction.delete` like any others, so every connected client hears of each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeAlias

from msgspec import Struct, field

from pylon import limits
from pylon.data.cascade import IN_THE_WAY, TOO_LARGE
from pylon.data.errors import hooks_too_deep
from pylon.data.references import RowName
from pylon.data.rows import Rows
from pylon.data.write import Transaction
from pylon.errors import PylonError
from pylon.identity import ADMIN

Delete: TypeAlias = Callable[[Transaction, str, str], Awaitable[bool]]
"""Deletes the row of that entity and id; False when there was nothing to delete any more."""


class Erased(Struct, kw_only=True):
    """What an erasure did. `errors` names rows that stayed, `limits.ERASE_ERRORS_MAX` at most;
    `beside_rows` counts what else is gone, by what it is."""

    rows_deleted: int = 0
    beside_rows: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


async def erase(rows: Rows, found: AsyncIterator[RowName], delete: Delete, done: Erased) -> Erased:
    """Delete the found rows in transactions of up to `limits.ERASE_UNIT_ROWS`.

    When a row refuses (a hook, a row that names it), its transaction is undone and its rows go one
    by one, so that the others go nevertheless; what may have been in the way of a row is tried
    before it is given up. Failures of the server (5xx) are raised.
    """
    work = _Erasure(rows, delete, done)
    together: list[RowName] = []
    async for each in found:
        together.append(each)
        if len(together) == limits.ERASE_UNIT_ROWS:
            await work.take(together)
            together = []
    await work.take(together)
    await work.take_refused()
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
            await tx.delete_alone(entity, row_id)
            return True

        return await erase(self._rows, self._all_rows(), delete, Erased())

    async def _all_rows(self) -> AsyncIterator[RowName]:
        for entity in self._entities:
            async for row_id in self._rows.door.row_ids(ADMIN, entity):
                yield entity, row_id


class _Erasure:
    """One erasure on its way."""

    def __init__(self, rows: Rows, delete: Delete, done: Erased) -> None:
        self._rows = rows
        self._delete = delete
        self._done = done
        self._refused: dict[RowName, PylonError] = {}

    async def take(self, together: Sequence[RowName]) -> None:
        """Delete these in one transaction, or else one by one."""
        if not together:
            return
        try:
            self._done.rows_deleted += await self._rows.write(ADMIN, self._unit(together))
        except PylonError as error:
            if error.status >= 500:
                raise
            if len(together) > 1:
                for each in together:
                    await self.take([each])
            elif error.code == TOO_LARGE:
                await self._take_in_parts(together[0])
            else:
                self._refuse(together[0], error)

    async def take_refused(self) -> None:
        """Try again what rows were in the way of, as long as some of it goes."""
        while self._refused:
            again, self._refused = self._refused, {}
            for each, error in again.items():
                if error.code == IN_THE_WAY:
                    await self.take([each])
                else:
                    self._refused[each] = error
            if len(self._refused) == len(again):
                break
        for (entity, row_id), error in self._refused.items():
            if len(self._done.errors) < limits.ERASE_ERRORS_MAX:
                self._done.errors.append(f"{entity} {row_id}: {error.message}")

    def _unit(self, together: Sequence[RowName]) -> Callable[[Transaction], Awaitable[int]]:
        async def unit(tx: Transaction) -> int:
            deleted = sum([await self._delete(tx, entity, row_id) for entity, row_id in together])
            return deleted + len(tx.gone)

        return unit

    async def _take_in_parts(self, each: RowName) -> None:
        """Delete a row with which more go than one transaction may delete. Hooks that bring as many
        back would never let it end: there cannot be more than have ever been written."""
        is_all, left = False, self._rows.store.seq

        async def part(tx: Transaction) -> tuple[bool, int, int]:
            was_all, count = await tx.delete_part(*each, limits.ERASE_UNIT_ROWS)
            return was_all, count, len(tx.gone)

        try:
            while not is_all:
                is_all, count, deleted = await self._rows.write(ADMIN, part)
                self._done.rows_deleted += deleted
                left -= count
                if left < 0:
                    raise hooks_too_deep()
            self._done.rows_deleted += await self._rows.write(ADMIN, self._unit([each]))
        except PylonError as error:
            if error.status >= 500:
                raise
            self._refuse(each, error)

    def _refuse(self, each: RowName, error: PylonError) -> None:
        if len(self._refused) < limits.ERASE_REFUSED_MAX:
            error.__traceback__ = error.__context__ = error.__cause__ = None
            self._refused[each] = error
