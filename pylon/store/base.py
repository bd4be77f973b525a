"""The contract between the rows above and a database below.

`sqlite/store.py` is the implementation that every app starts with, `testing/memory_store.py` the
double for tests; `tests/store/contract/` holds each of them to these promises. Nothing here knows
an entity, a policy or HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias, TypeVar

from msgspec import Struct

from pylon import limits
from pylon.errors import PylonError
from pylon.store.dialect import Dialect
from pylon.store.values import Row as Row
from pylon.store.values import Value as Value

T = TypeVar("T")


class ConstraintFailed(Exception):
    """A UNIQUE or NOT NULL rule refused a row; the rows above give it its code.

    `kind` is "UNIQUE" or "NOT NULL", `columns` the failing columns as `Entity.column`, or `index`
    the name of the failing index, where the database tells no columns.
    """

    def __init__(self, kind: str, columns: tuple[str, ...], *, index: str | None = None) -> None:
        super().__init__(f"{kind} constraint failed: {index or ', '.join(columns)}")
        self.kind = kind
        self.columns = columns
        self.index = index


class SumTooLarge(Exception):
    """A sum of whole numbers leaves 64 bits; whoever asked may ask for a double."""


def answer_too_large(bytes_max: int | None = None) -> PylonError:
    """400: the rows asked for have more bytes than are made at once."""
    most = limits.ANSWER_BYTES_MAX if bytes_max is None else bytes_max
    message = f"The answer has more than {most} bytes."
    return PylonError(400, "ANSWER_TOO_LARGE", message, "Ask for fewer rows at a time.")


class Tx(Protocol):
    """One unit of work inside a write transaction.

    Everything a unit does is undone when it raises, and becomes visible to others, in the order
    of the log, when the commit of its batch succeeds.

    Each await here may let the loop go on, when the unit has run for a while; its transaction stays
    open and no other unit comes between. Only the unit may use this, while it runs: 500
    `TX_CLOSED` to tasks that it left behind. A read that takes more than a few milliseconds goes on
    off the loop, until `limits.UNIT_READ_SECONDS_MAX` (503 `QUERY_TIMEOUT`). A statement that
    writes is neither ended nor taken off the loop, unless it writes much text, so bound its rows
    beforehand.
    """

    next_seq: int
    """The log position that the next published change will have."""

    async def fetch(
        self, sql: str, params: Sequence[Value] = (), *, seconds: float | None = None
    ) -> list[Row]:
        """The rows of a query that sees this transaction's own writes.

        503 `QUERY_TIMEOUT` where it takes longer than `seconds`. A statement that writes is never
        ended: in the middle that would undo what others have done in the batch.
        """
        ...

    async def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        """Run a statement; the number of rows it changed."""
        ...

    def publish(self, change: object) -> None:
        """Hand a change to the listeners of the store once this unit is committed.

        Takes up `next_seq`; the caller has written that number to the log.
        """
        ...

    def tell(self, fact: object) -> None:
        """Hand a fact to the listeners of the store once this unit is committed.

        In order with what is published, but without a position of its own.
        """
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """A part of the unit that is undone alone, published changes too, when its block raises.

        For work that goes on after a failure. Only failures below status 500 may be caught around
        it: after the others the database may have undone more than this part.
        """
        ...


Unit: TypeAlias = Callable[[Tx], Awaitable[T]]
"""A unit of work: a coroutine function that awaits nothing but its `Tx` (`Store.hold`: or more)."""

CommitListener: TypeAlias = Callable[[Sequence[object]], None]
"""Called on the loop after each commit with what its units published and told, in order.

By then `Store.seq` is the commit's last position. Everybody above hears commits through one
listener, `changes/feed.py`."""


class Snapshot(Protocol):
    """The database as it was at one commit, for reading much of it in one go.

    Memory is constant: rows come in chunks, and the next is fetched when it is asked for.
    """

    seq: int
    """Position of the newest change that it holds."""

    def rows(self, sql: str, params: Sequence[Value] = ()) -> AsyncIterator[list[Row]]:
        """The rows of a query in non-empty chunks of at most `limits.SNAPSHOT_CHUNK_ROWS`.

        One query at a time. 503 `QUERY_TIMEOUT` once it has been open for
        `limits.SNAPSHOT_SECONDS_MAX`.
        """
        ...

    async def aclose(self) -> None:
        """Let go of it. Whoever opened it must call this (`contextlib.aclosing`)."""
        ...


class Store(Protocol):
    """A database with one writer that commits in batches and reads that never block the loop.

    Failures arrive as `PylonError`: 503 `OVERLOADED` when a bounded queue is full,
    503 `QUERY_TIMEOUT` for a read that takes too long, 507 `STORAGE_FULL`, 500 `TX_COMMIT_FAILED`
    when a batch could not be committed (nothing of it was kept), 500 `STORAGE_GONE` once its files
    were removed or replaced (what was written since is lost), 400 `ANSWER_TOO_LARGE` for a read of
    several rows that have more than `limits.ANSWER_BYTES_MAX`, 500 `QUERY_FAILED` else.
    `ConstraintFailed` and `SumTooLarge` are for whoever made the statement.
    """

    @property
    def dialect(self) -> Dialect:
        """How this database spells what has no common spelling."""
        ...

    async def read(
        self,
        sql: str,
        params: Sequence[Value] = (),
        *,
        heavy: bool = False,
        seconds: float | None = None,
        bytes_max: int | None = None,
    ) -> list[Row]:
        """The rows of a read-only query over the latest commit.

        `heavy` says that the query is known to be long, and sends it to a reader thread at once.
        `seconds` is how long it may take, `limits.READ_SECONDS_MAX` unless it is given. `bytes_max`
        is about how much text and bytes it may have, for who can do with less than
        `limits.ANSWER_BYTES_MAX`; also for one value, which is then not made to its end.
        """
        ...

    async def write(
        self, unit: Unit[T], *, alone: bool = False, compute_seconds: float | None = None
    ) -> T:
        """Run `unit` in the next batch and return its result after the commit is durable.

        In the turn of the loop that acknowledges a commit all listeners run; the caller goes on
        after them. A unit that fails is undone alone. It may await nothing but its `Tx`: 500
        `MUTATION_AWAITED_IO`. When its batch has not begun within `limits.WRITE_QUEUE_SECONDS_MAX`
        it is refused: 503 `OVERLOADED`, with `retry_after_secs`; one whose caller has gone by then
        is not run. 503 `SHUTTING_DOWN` once the store is closing.

        `alone` gives it a batch of its own, in which writing statements are ended as reads are; for
        statements that cannot be bounded beforehand. `compute_seconds` is for code of others: how
        long it may compute between two awaits of its `Tx`. Then it is ended wherever it stands and
        undone alone: 400 `FN_TIMEOUT`. Any unit is that goes on for `limits.UNIT_SECONDS_MAX`.
        """
        ...

    async def hold(self, unit: Unit[T], *, compute_seconds: float | None = None) -> T:
        """Run `unit` in a transaction of its own in which it may await the world outside.

        The last resort: all other writes wait meanwhile. There is one at a time. It may wait
        `limits.HELD_WAIT_SECONDS_MAX` at a time and take `limits.HELD_SECONDS_MAX` in all; beyond
        that it is cancelled: 503 `HELD_TOO_LONG`. After one, the next waits until others had the
        writer for `limits.HELD_PAUSE_TIMES` its time; 503 `OVERLOADED` where that cannot be within
        `limits.WRITE_QUEUE_SECONDS_MAX`. Both say `retry_after_secs`. Whatever ends it, the
        cancellation of the caller too, nothing of it is kept. It runs in a task of its own, in the
        context of the caller.
        """
        ...

    async def snapshot(self) -> Snapshot:
        """Open a snapshot of the latest commit; 503 `OVERLOADED` beyond `limits.SNAPSHOTS_MAX`.

        It neither waits for writers nor holds them up, but the database cannot reclaim what was
        overwritten since, so it is not to be kept longer than needed.
        """
        ...

    async def give_back(self) -> int:
        """Give room that is free, beyond what is soon written again, back to the system: a bounded
        part in each of many transactions, between which others write. How many bytes; 0 for a
        database that was not made for it."""
        ...

    def on_commit(self, listener: CommitListener) -> None:
        """Add a listener for what units publish and tell."""
        ...

    @property
    def seq(self) -> int:
        """Position of the newest committed change; 0 when there is none yet."""
        ...

    async def close(self) -> None:
        """Finish what is queued, checkpoint, and let go of the files."""
        ...


class StoreFigures(Struct, frozen=True, kw_only=True):
    """What a store has done and what waits in it, for metrics."""

    units: int
    batches: int
    writes_waiting: int
    reads_waiting: int


class HealthyStore(Store, Protocol):
    """A store that tells whether it can be written."""

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written, as a code; None: the latest write succeeded.

        Codes of errors, or `COMMIT_STUCK` for a commit that has been under way for
        `limits.COMMIT_SECONDS_MAX`, or `CHECKPOINT_FAILED` where writes succeed and the log of them
        can only grow. It ends with a commit that succeeds; `STORAGE_FULL` only when
        there is room again, `STORAGE_GONE` not at all.
        """
        ...

    async def probe(self) -> None:
        """Find out whether its files are still there and, when writes fail, whether they still do,
        by one that matters to nobody. For a timer; raises nothing of what it finds."""
        ...


class ServedStore(HealthyStore, Protocol):
    """A store that a service was opened on: also tells what it does."""

    @property
    def figures(self) -> StoreFigures:
        """Units committed, the commits that carried them, and the lengths of the queues."""
        ...

    @property
    def is_stuck(self) -> bool:
        """Whether code of others, in a unit, has ignored every interruption for
        `limits.COMPUTE_STUCK_SECONDS`: only a new process helps."""
        ...

    @property
    def schema_is_current(self) -> bool:
        """Whether the tables are still those that this process was made for, as far as it knows.

        Where another process has migrated the database, writes and failing reads are answered 503
        `SCHEMA_CHANGED`.
        """
        ...

    async def look_at_schema(self) -> None:
        """Find out; for a timer of processes that do not write."""
        ...
