"""The commit thread: what waits for a disk or for somebody else's lock, or is long, off the loop.

It has the write connection while an order runs; the writer's state (`turns.py`) says so. One order
at a time; the outcome is told on the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeAlias

import apsw

from pylon import limits
from pylon.store.sqlite.aside import Aside
from pylon.store.sqlite.index_later import IndexLater

SAVE_SEQ = "UPDATE _pylon_meta SET value = ? WHERE key = 'seq'"

Told: TypeAlias = Callable[[apsw.Error | None], None]
"""Called on the loop with the failure of an order, or None."""

_Order: TypeAlias = tuple[
    Callable[[int | None], apsw.Error | None], int | None, asyncio.AbstractEventLoop, Told
]


class Committer:
    """Orders of one writer, carried out on one thread."""

    def __init__(self, cursor: apsw.Cursor, later: IndexLater) -> None:
        self._later = later
        self._connection = cursor.connection
        # That of the units: what their last statement has left open would keep a commit back.
        self._execute = cursor.execute
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="pylon-commit", daemon=True)
        self._thread.start()

    def begin(self, loop: asyncio.AbstractEventLoop, told: Told) -> None:
        """Open a transaction, waiting for the lock up to `limits.SQLITE_BUSY_MILLISECONDS`."""
        self._orders.put((self._begin, None, loop, told))

    def commit(self, loop: asyncio.AbstractEventLoop, seq: int | None, told: Told) -> None:
        """Commit, with `seq` as the newest position where there is a new one. What cannot be
        committed is rolled back."""
        self._orders.put((self._commit, seq, loop, told))

    def run(self, loop: asyncio.AbstractEventLoop, aside: Aside[Any], told: Told) -> None:
        """Do something long for the unit that runs, which hears of its failure."""
        self._orders.put((lambda _: aside.run(), None, loop, told))

    async def close(self) -> None:
        """End the thread after what it was ordered."""
        self._orders.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    # --- on the thread -----------------------------------------------------------------------

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            work, seq, loop, told = order
            loop.call_soon_threadsafe(told, work(seq))

    def _begin(self, _seq: int | None) -> apsw.Error | None:
        self._connection.set_busy_timeout(limits.SQLITE_BUSY_MILLISECONDS)
        try:
            self._execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            return error
        finally:
            self._connection.set_busy_timeout(0)
        return None

    def _commit(self, seq: int | None) -> apsw.Error | None:
        try:
            if self._later.is_waiting:
                self._later.settle()
            if seq is not None:
                self._execute(SAVE_SEQ, (seq,))
            self._execute("COMMIT")
        except apsw.Error as error:
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
            return error
        return None
