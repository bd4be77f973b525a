"""Pushed document updates: those that come too early, and those that take long.

A browser sends its pushes over several connections, so the second may come first. It waits here,
as its own sender's request, until the row's document changes, and is tried again; after a short
time it is refused. So nothing is kept that no rule has looked at.

Each caller has one merge at a time, and waits for the next where its merges, those of its address
or of the row take more than their share of the server's time (`Workshop.admit`).

In two processes: merges write, so all of them are in the owner of the database, and so is what is
remembered here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import thread_time

from pylon import limits
from pylon.changes.feed import Gap, Message
from pylon.changes.model import Change, RowData
from pylon.crdt.shares import ShareKey, share_keys
from pylon.crdt.workshop import too_busy
from pylon.data.rows import Rows
from pylon.data.write import Transaction
from pylon.errors import PylonError
from pylon.identity import Identity, caller_key

Key = tuple[str, str]

MISSING = "CRDT_DEPENDENCIES_MISSING"


class _Turn:
    """Whose turn it is among the merges of one caller."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class Merger:
    """Merges pushed updates, in whatever order they come."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._waiting: dict[Key, set[asyncio.Future[None]]] = {}
        self._count = 0
        self._turns: dict[bytes, _Turn] = {}

    @property
    def waiting(self) -> int:
        """Updates that wait for others."""
        return self._count

    async def merge(self, identity: Identity, entity: str, row_id: str, update: bytes) -> RowData:
        """Merge an update into a row (`Transaction.merge`), waiting for what it builds on.

        429 `RATE_LIMITED` for a caller whose merges take too much of the server's time; refusals of
        `Workshop.write`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limits.DOCUMENT_PENDING_SECONDS
        caller = caller_key(identity) or b""
        keys = share_keys(identity, (entity, row_id))
        # What takes long is admitted by the workshop, for address and row too. A key that somebody
        # types there must not wait for what others do.
        own = [key for key in keys if key[0] == "session"]
        while True:
            try:
                async with self._turn(caller, deadline):
                    await self._rows.workshop.admit(own)
                    return await self._merge(keys, identity, entity, row_id, update)
            except PylonError as error:
                left = deadline - loop.time()
                if error.code != MISSING or not await self._changed((entity, row_id), left):
                    raise

    @asynccontextmanager
    async def _turn(self, caller: bytes, deadline: float) -> AsyncIterator[None]:
        """One merge of a caller at a time: one that was queued could not be told any more that the
        one before it took long."""
        turn = self._turns.setdefault(caller, _Turn())
        turn.users += 1
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    await turn.lock.acquire()
            except TimeoutError:
                raise too_busy(limits.DOCUMENT_PENDING_SECONDS) from None
            try:
                yield
            finally:
                turn.lock.release()
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[caller]

    async def _merge(
        self,
        keys: list[ShareKey],
        identity: Identity,
        entity: str,
        row_id: str,
        update: bytes,
    ) -> RowData:
        seconds = 0.0

        async def unit(tx: Transaction) -> RowData:
            nonlocal seconds
            started = thread_time()
            try:
                return await tx.merge(entity, row_id, update)
            finally:
                seconds += thread_time() - started

        try:
            return await self._rows.write(identity, unit)
        finally:
            self._rows.workshop.take(keys, seconds)

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

    def hear(self, messages: Sequence[Message], _: int) -> None:
        """Wake those who wait for these rows, everybody after a gap (listens to the feed)."""
        if not self._waiting:
            return
        for message in messages:
            if isinstance(message, Change) and message.document_update is not None:
                self._wake((message.entity, message.row_id))
            elif isinstance(message, Gap):
                for key in self._waiting:
                    self._wake(key)

    def _wake(self, key: Key) -> None:
        for changed in self._waiting.get(key, ()):
            if not changed.done():
                changed.set_result(None)
