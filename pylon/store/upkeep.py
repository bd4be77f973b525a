"""Work that is done by the clock and not by how long a process has run: purges, giving back room.

When each was last done stands in the database, so a server that is started often neither skips
what is due nor repeats what was just done. Called by `wiring.py` for parts that say so.
Rows are deleted in slices, each a unit of its own, so that other writers go between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from pylon import limits
from pylon.clock import Clock
from pylon.store.base import Row, Store, Tx, Value

_LAST: Final = "SELECT CAST(value AS BIGINT) FROM _pylon_meta WHERE key = ?"

_NOTE: Final = (
    "INSERT INTO _pylon_meta (key, value) VALUES (?, CAST(? AS BIGINT))"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


class Upkeep:
    """Work that is done each `seconds`, counted over restarts; `name` is its own in the database.

    `look` is for a timer, whose first look comes soon after the start.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        name: str,
        seconds: float,
        work: Callable[[], Awaitable[object]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._key = f"done:{name}"
        self._seconds = seconds
        self._work = work
        self._next = 0.0

    async def look(self) -> None:
        """Do it if it is due. What fails is raised, and tried again a while later."""
        now = self._clock.monotonic
        if now() < self._next:
            return
        self._next = now() + limits.UPKEEP_RETRY_SECONDS
        wait = await self._due()
        if wait <= 0:
            await self._work()
            await self._store.write(self._note)
            wait = self._seconds
        self._next = now() + wait

    async def _due(self) -> float:
        """In how many seconds it is to be done. A time to come is that of a clock which was
        wrong."""
        found = await self._store.read(_LAST, (self._key,))
        now = self._clock.now()
        return found[0][0] + self._seconds - now if found and found[0][0] <= now else 0.0

    async def _note(self, tx: Tx) -> None:
        await tx.execute(_NOTE, (self._key, int(self._clock.now())))


async def in_slices(
    work: Callable[[int], Awaitable[int]], *, rows: int, rows_max: int | None = None
) -> int:
    """Have `work` take so many rows at a time, until it finds fewer or has taken `rows_max`; how
    many those were. It is given how many it may take, and gives how many it took."""
    count = 0
    while rows_max is None or count < rows_max:
        size = rows if rows_max is None else min(rows, rows_max - count)
        taken = await work(size)
        count += taken
        if taken < size:
            break
    return count


async def delete_in_slices(
    store: Store,
    sql: str,
    params: Sequence[Value] = (),
    *,
    rows: int | None = None,
    rows_max: int | None = None,
    told: object | None = None,
) -> int:
    """Run a DELETE whose last parameter is how many rows it takes at most, until it finds no more
    or has taken `rows_max`; how many that were. A slice has `rows`, `limits.PURGE_UNIT_ROWS` unless
    they are large; `told` is told with each."""

    async def some(size: int) -> int:
        async def unit(tx: Tx) -> int:
            deleted = await tx.execute(sql, (*params, size))
            if deleted and told is not None:
                tx.tell(told)
            return deleted

        return await store.write(unit)

    return await in_slices(some, rows=rows or limits.PURGE_UNIT_ROWS, rows_max=rows_max)


async def delete_oldest(
    store: Store, find: str, params: Sequence[Value], delete: str, count: int
) -> None:
    """Delete `count` rows one by one by `delete`, which takes what `find` gives of each.

    `find` takes `params` and how many. It is asked outside the units that delete: the order in
    which it looks may be one in which nothing is kept.
    """
    while count > 0:
        many = min(count, 10 * limits.PURGE_UNIT_ROWS)
        found = await store.read(find, (*params, many), heavy=True)
        for start in range(0, len(found), limits.PURGE_UNIT_ROWS):
            part = found[start : start + limits.PURGE_UNIT_ROWS]

            async def unit(tx: Tx, part: Sequence[Row] = part) -> None:
                for row in part:
                    await tx.execute(delete, row)

            await store.write(unit)
        count -= many
