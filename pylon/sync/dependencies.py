"""Pushed document updates: those that come too early, and those that take long.

A browser sends its pushes over several connections, so the second may come first. It waits here,
as its own sender's request, until the row's document changes, and is tried again; after a short
time it is refused. So nothing is kept that no rule has looked at.

A merge holds the loop. Who has just made it busy for long waits a multiple of that time before the
next one, so that no single caller takes more than a fifth of it.

In two processes: merges write, so all of them are in the owner of the database, and so is what is
remembered here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from time import perf_counter

from pylon import limits
from pylon.changes.model import Change, RowData
from pylon.data.rows import Rows
from pylon.data.write import Transaction
from pylon.errors import PylonError
from pylon.identity import Identity, caller_key

Key = tuple[str, str]

MISSING = "CRDT_DEPENDENCIES_MISSING"

REST_RATIO = 4.0
"""A merge that took `t` is followed by so many times `t` without one of the same caller."""

CALLERS_MAX = 1_000
"""Callers remembered as resting; a rest takes seconds at most."""


class _Resting(Exception):
    """Another merge of this caller was quicker, and took long."""


class Merger:
    """Merges pushed updates, in whatever order they come."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._waiting: dict[Key, set[asyncio.Future[None]]] = {}
        self._count = 0
        self._rested_at: OrderedDict[bytes, float] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Updates that wait for others."""
        return self._count

    async def merge(self, identity: Identity, entity: str, row_id: str, update: bytes) -> RowData:
        """Merge an update into a row (`Transaction.merge`), waiting for what it builds on.

        429 `RATE_LIMITED` for a caller whose merges take too much of the server's time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limits.DOCUMENT_PENDING_SECONDS
        caller = caller_key(identity) or b""

        async def unit(tx: Transaction) -> RowData:
            if self._rest(caller) > 0:
                raise _Resting
            started = perf_counter()
            try:
                return await tx.merge(entity, row_id, update)
            finally:
                self._charge(caller, perf_counter() - started)

        while True:
            left, rest = deadline - loop.time(), self._rest(caller)
            if rest > left:
                raise PylonError(
                    429,
                    "RATE_LIMITED",
                    "Merging your updates takes too much time.",
                    "Send smaller updates, or wait.",
                    retry_after_secs=int(rest) + 1,
                )
            if rest > 0:
                await asyncio.sleep(rest)
            try:
                return await self._rows.write(identity, unit)
            except _Resting:
                continue
            except PylonError as error:
                left = deadline - loop.time()
                if error.code != MISSING or not await self._changed((entity, row_id), left):
                    raise

    def _rest(self, caller: bytes) -> float:
        """The seconds for which a caller may not merge."""
        return self._rested_at.get(caller, 0.0) - perf_counter()

    def _charge(self, caller: bytes, seconds: float) -> None:
        if seconds > limits.DOCUMENT_MERGE_SECONDS_FREE:
            self._rested_at[caller] = perf_counter() + REST_RATIO * seconds
            self._rested_at.move_to_end(caller)
            if len(self._rested_at) > CALLERS_MAX:
                self._rested_at.popitem(last=False)

    async def _changed(self, key: Key, seconds: float) -> bool:
        """Wait for the next change of a row's document; False when none came, or all is full."""
        if (
            seconds <= 0
            or len(self._waiting.get(key, ())) >= limits.DOCUMENT_PENDING_MAX
            or self._count >= limits.DOCUMENTS_PENDING_MAX
        ):
            return False
        of_row = self._waiting.setdefault(key, set())
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        of_row.add(changed)
        self._count += 1
        try:
            async with asyncio.timeout(seconds):
                await changed
        except TimeoutError:
            return False
        finally:
            self._count -= 1
            of_row.discard(changed)
            if not of_row and self._waiting.get(key) is of_row:
                del self._waiting[key]
        return True

    def publish(self, changes: Sequence[object]) -> None:
        """Wake those who wait for these rows (a store's commit listener)."""
        if not self._waiting:
            return
        for change in changes:
            if isinstance(change, Change) and change.document_update is not None:
                for changed in self._waiting.get((change.entity, change.row_id), ()):
                    if not changed.done():
                        changed.set_result(None)
