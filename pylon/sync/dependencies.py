"""Pushed document updates that arrive before those which they build on.

A browser sends its pushes over several connections, so the second may come first. It waits here,
as its own sender's request, until the row's document changes, and is tried again; after a short
time it is refused. So nothing is kept that no rule has looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pylon import limits
from pylon.changes.model import Change, RowData
from pylon.data.rows import Rows
from pylon.errors import PylonError
from pylon.identity import Identity

Key = tuple[str, str]

MISSING = "CRDT_DEPENDENCIES_MISSING"


class Merger:
    """Merges pushed updates, in whatever order they come."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._waiting: dict[Key, set[asyncio.Future[None]]] = {}
        self._count = 0

    @property
    def waiting(self) -> int:
        """Updates that wait for others."""
        return self._count

    async def merge(self, identity: Identity, entity: str, row_id: str, update: bytes) -> RowData:
        """Merge an update into a row (`Transaction.merge`), waiting for what it builds on."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limits.DOCUMENT_PENDING_SECONDS
        while True:
            try:
                return await self._rows.write(identity, lambda tx: tx.merge(entity, row_id, update))
            except PylonError as error:
                left = deadline - loop.time()
                if error.code != MISSING or not await self._changed((entity, row_id), left):
                    raise

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
