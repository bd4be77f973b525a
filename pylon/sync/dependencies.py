"""Pushed document updates: those that come too early, and those that take long.

A browser sends its pushes over several connections, so the second may come first. It waits here,
as its own sender's request, until the row's document changes, and is tried again; after a short
time it is refused. So nothing is kept that no rule has looked at.

A merge holds the loop. Each caller has one at a time, and who has just made it busy for long waits
a multiple of that time before the next one, so that no single caller takes more than a fifth of it.

In two processes: merges write, so all of them are in the owner of the database, and so is what is
remembered here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter

from pylon import limits
from pylon.changes.feed import Gap, Message
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


class _Refused(Exception):
    """A merge that was refused, after it had taken so many seconds."""

    def __init__(self, error: PylonError, seconds: float) -> None:
        super().__init__(error.message)
        self.error = error
        self.seconds = seconds


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
        self._rested_at: OrderedDict[bytes, float] = OrderedDict()
        self._turns: dict[bytes, _Turn] = {}

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
        while True:
            try:
                async with self._turn(caller, deadline):
                    return await self._merge(caller, identity, entity, row_id, update)
            except PylonError as error:
                left = deadline - loop.time()
                if error.code != MISSING or not await self._changed((entity, row_id), left):
                    raise

    @asynccontextmanager
    async def _turn(self, caller: bytes, deadline: float) -> AsyncIterator[None]:
        """One merge of a caller at a time, and none while it rests: a merge that was queued could
        not be told any more that the one before it took long."""
        turn = self._turns.setdefault(caller, _Turn())
        turn.users += 1
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    await turn.lock.acquire()
            except TimeoutError:
                raise _too_busy(limits.DOCUMENT_PENDING_SECONDS) from None
            try:
                rest = self._rest(caller)
                if rest > deadline - asyncio.get_running_loop().time():
                    raise _too_busy(rest)
                if rest > 0:
                    await asyncio.sleep(rest)
                yield
            finally:
                turn.lock.release()
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[caller]

    async def _merge(
        self, caller: bytes, identity: Identity, entity: str, row_id: str, update: bytes
    ) -> RowData:
        async def unit(tx: Transaction) -> tuple[RowData, float]:
            started = perf_counter()
            try:
                row = await tx.merge(entity, row_id, update)
            except PylonError as error:
                raise _Refused(error, perf_counter() - started) from error
            return row, perf_counter() - started

        try:
            row, seconds = await self._rows.write(identity, unit)
        except _Refused as refused:
            self._charge(caller, refused.seconds)
            raise refused.error from refused
        self._charge(caller, seconds)
        return row

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


def _too_busy(seconds: float) -> PylonError:
    return PylonError(
        429,
        "RATE_LIMITED",
        "Merging your updates takes too much time.",
        "Send smaller updates, or wait.",
        retry_after_secs=int(seconds) + 1,
    )
