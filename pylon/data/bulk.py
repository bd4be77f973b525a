"""Many operations in one request: all or nothing (`transact`), or each on its own (`batch`).

Both run under the caller's policies through `Rows.write`, so hooks, change log and live events
are those of single writes. Called by `api/bulk.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct, field

from pylon import limits
from pylon.data.once import Kept
from pylon.data.operations import Operation, id_of, name_of, perform, read_operation
from pylon.data.rows import Rows
from pylon.data.write import Transaction
from pylon.errors import PylonError
from pylon.identity import Identity


class Outcome(Struct, kw_only=True):
    """What became of one operation; `error` None means that it was done.

    `changed` is False for an update or delete that found no row, which is no failure here.
    """

    kind: str
    id: str | None = None
    error: PylonError | None = None
    changed: bool = True


class Transacted(Struct, kw_only=True):
    """What became of a transaction: the operations up to the one that failed, if one did.

    `failed_at` is that one's place among all operations, counted from 0.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    failed_at: int | None = None

    @property
    def failure(self) -> PylonError | None:
        """Why nothing was committed; None when everything was."""
        return self.outcomes[-1].error if self.outcomes else None


def _pack(outcome: Outcome) -> list[Any]:
    return [outcome.kind, outcome.id, outcome.changed]


def _unpack(packed: list[Any]) -> Outcome:
    kind, row_id, changed = packed
    return Outcome(kind=kind, id=row_id, changed=changed)


# Under a key: of an operation that was done, all that its line in the answer says.
_ONE: Final[Kept[Outcome]] = Kept(pack=_pack, unpack=_unpack)

_ALL: Final[Kept[list[Outcome]]] = Kept(
    pack=lambda outcomes: [_pack(each) for each in outcomes],
    unpack=lambda packed: [_unpack(each) for each in packed],
)

_NAME: Final[Kept[str]] = Kept(pack=str, unpack=str)


class _Undone(Exception):
    """A transaction that is not to be; the outcomes end with what failed."""

    def __init__(self, outcomes: list[Outcome], error: PylonError) -> None:
        super().__init__(error.message)
        self.outcomes = outcomes
        self.error = error


class Bulk:
    """Bulk writes of one app."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def transact(
        self, identity: Identity, values: Sequence[Any], *, strict: bool = False
    ) -> Transacted:
        """Do all operations in one transaction, or none of them.

        Everything is read before anything runs. An update or delete that finds no row counts as
        done (spec 02 section 6.2) unless `strict`. Failures of the server (5xx) are raised.
        """
        _refuse_too_many(values, limits.TRANSACT_OPERATIONS_MAX)
        operations: list[Operation] = []
        for place, value in enumerate(values):
            try:
                operations.append(read_operation(value))
            except PylonError as error:
                return Transacted(outcomes=[_failed(value, error)], failed_at=place)

        async def all_of_them(tx: Transaction) -> list[Outcome]:
            outcomes: list[Outcome] = []
            debts = tx.defer_keys()
            for value, operation in zip(values, operations, strict=True):
                debts.part = len(outcomes)
                try:
                    outcomes.append(await self._one(identity, tx, operation, strict))
                except PylonError as error:
                    # Raised, so that nothing stays.
                    raise _Undone([*outcomes, _failed(value, error)], error) from error
            if unpaid := await tx.unpaid():
                place, refusal = unpaid[0]
                raise _Undone([*outcomes[:place], _failed(values[place], refusal)], refusal)
            return outcomes

        try:
            return Transacted(outcomes=await self._rows.write(identity, all_of_them, kept=_ALL))
        except _Undone as undone:
            if undone.error.status >= 500:
                raise undone.error from undone
            return Transacted(outcomes=undone.outcomes, failed_at=len(undone.outcomes) - 1)

    async def batch(self, identity: Identity, values: Sequence[Any]) -> list[Outcome]:
        """Do each operation on its own, in order; one that fails stops none of the others."""
        _refuse_too_many(values, limits.BATCH_OPERATIONS_MAX)
        outcomes: list[Outcome] = []
        for start in range(0, len(values), limits.BATCH_UNITS_MAX):
            together = values[start : start + limits.BATCH_UNITS_MAX]
            # Queued in the same turn of the loop, so that they share commits.
            outcomes += await asyncio.gather(*[self._unit(identity, each) for each in together])
        return outcomes

    async def single(self, identity: Identity, operation: Operation) -> None:
        """Do one operation; every failure is raised."""
        await self._rows.write(
            identity, lambda tx: perform(self._rows, identity, tx, operation), kept=_NAME
        )

    async def _unit(self, identity: Identity, value: Any) -> Outcome:
        try:
            operation = read_operation(value)
            return await self._rows.write(
                identity, lambda tx: self._one(identity, tx, operation, False), kept=_ONE
            )
        except PylonError as error:
            return _failed(value, error)

    async def _one(
        self, identity: Identity, tx: Transaction, operation: Operation, strict: bool
    ) -> Outcome:
        try:
            row_id = await perform(self._rows, identity, tx, operation)
        except PylonError as error:
            # "No such row" is raised before anything is written, so the transaction can go on.
            is_absent = error.code == "NOT_FOUND" and operation.kind in ("update", "delete")
            if strict or not is_absent:
                raise
            return Outcome(kind=operation.kind, id=operation.id, changed=False)
        return Outcome(kind=operation.kind, id=row_id)


def _failed(value: Any, error: PylonError) -> Outcome:
    # Where it was raised is of no more use, and the frames of ten thousand failures are so many
    # objects that a look of the garbage collector at them holds the loop for a quarter of a second.
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return Outcome(kind=name_of(value), id=id_of(value), error=error)


def _refuse_too_many(values: Sequence[Any], most: int) -> None:
    if len(values) > most:
        raise PylonError(
            413,
            "TOO_MANY_OPERATIONS",
            f"{len(values)} operations are more than the {most} of one request.",
            "Split the request, or use POST /api/import.",
        )
