"""The contract between the rows above and a database below.

`SqliteStore` (`sqlite.py`) is the implementation that every app starts with; a Postgres one
keeps the same promises. Nothing here knows an entity, a policy or HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

Value: TypeAlias = str | int | float | bytes | bool | None
"""What a column holds. A bool is bound as 1 or 0 and read back as an int."""

Row: TypeAlias = tuple[Any, ...]


class Tx(Protocol):
    """One unit of work inside a write transaction.

    Everything a unit does is undone when it raises, and becomes visible to others, in the order
    of the log, when the commit of its batch succeeds.
    """

    next_seq: int
    """The log position that the next published change will have."""

    async def fetch(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """The rows of a query that sees this transaction's own writes."""
        ...

    async def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        """Run a statement; the number of rows it changed."""
        ...

    def publish(self, change: object) -> None:
        """Hand a change to the listeners of the store once this unit is committed.

        Takes up `next_seq`; the caller has written that number to the log.
        """
        ...


Unit: TypeAlias = Callable[[Tx], Awaitable[T]]
"""A unit of work: a coroutine function that awaits nothing but its `Tx`."""

CommitListener: TypeAlias = Callable[[Sequence[object]], None]
"""Called on the loop after each commit with the published changes, in `seq` order."""


class Store(Protocol):
    """A database with one writer that commits in batches and reads that never block the loop.

    Failures arrive as `PylonError`: 503 `OVERLOADED` when a bounded queue is full,
    503 `QUERY_TIMEOUT` for a read that takes too long, 507 `STORAGE_FULL`, 500 `TX_COMMIT_FAILED`
    when a batch could not be committed (nothing of it was kept), 500 `QUERY_FAILED` else.
    """

    async def read(
        self, sql: str, params: Sequence[Value] = (), *, heavy: bool = False
    ) -> list[Row]:
        """The rows of a read-only query over the latest commit.

        `heavy` says that the query is known to be long, and sends it to a reader thread at once.
        """
        ...

    async def write(self, unit: Unit[T]) -> T:
        """Run `unit` in the next batch and return its result after the commit is durable."""
        ...

    def on_commit(self, listener: CommitListener) -> None:
        """Add a listener for published changes."""
        ...

    @property
    def seq(self) -> int:
        """Position of the newest committed change; 0 when there is none yet."""
        ...

    async def close(self) -> None:
        """Finish what is queued, checkpoint, and let go of the files."""
        ...
