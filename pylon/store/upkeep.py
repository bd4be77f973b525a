"""Work that is done by the clock and not by how long a process has run: purges, giving back room.

When each was last done stands in the database, so a server that is started often neither skips
what is due nor repeats what was just done. Called by `wiring.py` for parts that say so.
Rows are deleted in slices, each a unit of its own, so that other writers go between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from pylon import limits
from pylon.clock import Clock
from pylon.store.base import Row, Store, Tx, Value

log = logging.getLogger("pylon.store")

_LAST: Final = "SELECT CAST(value AS BIGINT) FROM _pylon_meta WHERE key = ?"

_NOTE: Final = (
    "INSERT INTO _pylon_meta (key, value) VALUES (?, CAST(? AS BIGINT))"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


async def keep_up(
    store: Store, clock: Clock, name: str, seconds: float, work: Callable[[], Awaitable[object]]
) -> None:
    """Do `work` each `seconds`, also over restarts; the first time soon after the start if it is
    due by then. A failure is logged, and it is tried again a while later. Never returns."""
    await asyncio.sleep(limits.UPKEEP_AFTER_SECONDS)
    while True:
        wait = limits.UPKEEP_RETRY_SECONDS
        try:
            wait = await _due(store, clock, name, seconds)
            if wait <= 0:
                await work()
                await _note(store, name, clock.now())
                wait = seconds
        except Exception:
            log.exception("%s failed; it will be tried again", name)
        await asyncio.sleep(wait)


async def _due(store: Store, clock: Clock, name: str, seconds: float) -> float:
    """In how many seconds it is to be done. A time to come is that of a clock which was wrong."""
    found = await store.read(_LAST, (_key(name),))
    now = clock.now()
    return found[0][0] + seconds - now if found and found[0][0] <= now else 0.0


async def _note(store: Store, name: str, at: float) -> None:
    async def unit(tx: Tx) -> None:
        await tx.execute(_NOTE, (_key(name), int(at)))

    await store.write(unit)


def _key(name: str) -> str:
    return f"done:{name}"


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
    count = 0
    while rows_max is None or count < rows_max:
        size = rows or limits.PURGE_UNIT_ROWS
        if rows_max is not None:
            size = min(size, rows_max - count)

        async def unit(tx: Tx, size: int = size) -> int:
            deleted = await tx.execute(sql, (*params, size))
            if deleted and told is not None:
                tx.tell(told)
            return deleted

        deleted = await store.write(unit)
        count += deleted
        if deleted < size:
            break
    return count


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
