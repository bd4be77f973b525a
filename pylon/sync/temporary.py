"""What a push leaves behind besides its rows: operations that are done, and temporary ids.

An optimistic client shows a new row under a temporary id until the server names the real one. It
is told to drop the temporary row by an event of its own: a delete that takes a position in the log
just before the insert, and that nobody but the client's session ever hears of. The positions stand
in a table of this module; `pull.py` and `routing.py` mix them with the log's.
"""

from __future__ import annotations

from typing import Final

from pylon import limits
from pylon.changes.model import Forgotten
from pylon.clock import Clock, iso_seconds
from pylon.store.base import Store, Tx, Value
from pylon.store.naming import load_queries
from pylon.store.system import load_steps
from pylon.store.upkeep import delete_in_slices, delete_oldest
from pylon.wire.events import event_json

SQL = load_queries("pylon.sync")

SYNC_TABLES: Final = load_steps("pylon.sync")

TEMPORARY_PREFIX = "_pending_"
"""How the official clients begin a temporary id (spec 03 section 8.6)."""

_NEVER: Final = 2**62
"""Later than anything that is remembered."""


def is_temporary(value: object) -> bool:
    """Whether it is a temporary id."""
    return isinstance(value, str) and value.startswith(TEMPORARY_PREFIX)


class Temporary:
    """The memory of pushes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    # --- inside a unit -----------------------------------------------------------------------

    async def is_done(self, tx: Tx, user_id: str, op_id: str) -> bool:
        """Whether this user's operation is already part of the data."""
        return bool(await tx.fetch(SQL["is_done"], (user_id, op_id)))

    async def remember_done(self, tx: Tx, user_id: str, op_id: str) -> None:
        """Never do this operation again; undone with whatever the unit undoes."""
        await tx.execute(SQL["remember_done"], (user_id, op_id, int(self._clock.now())))

    async def real_id(self, tx: Tx, user_id: str, entity: str, temporary_id: str) -> str | None:
        """The row that a temporary id of this user became; None when that is not known."""
        found = await tx.fetch(SQL["real_id"], (user_id, temporary_id, entity))
        return str(found[0][0]) if found else None

    def forget(self, tx: Tx, reader: bytes, entity: str, temporary_id: str) -> Forgotten:
        """Publish the delete of a temporary row; the insert must follow, then `remember`."""
        forgotten = Forgotten(
            seq=tx.next_seq,
            reader=reader,
            entity=entity,
            temporary_id=temporary_id,
            at=self._clock.now(),
        )
        tx.publish(forgotten)
        return forgotten

    async def remember(self, tx: Tx, forgotten: Forgotten, user_id: str, row_id: str) -> None:
        """Store which row has taken the place of the temporary one."""
        each = forgotten
        await tx.execute(
            SQL["remember_temporary"],
            (each.seq, each.reader, user_id, each.entity, each.temporary_id, row_id, int(each.at)),
        )

    # --- outside -----------------------------------------------------------------------------

    async def events(
        self, reader: bytes, user_id: str, since: int, until: int, count: int
    ) -> list[tuple[int, bytes]]:
        """The first `count` deletes of temporary rows of this client in `(since, until]`, as far as
        they are this user's: of whoever its session meant before it has been told all."""
        found = await self._store.read(SQL["forgotten"], (reader, user_id, since, until, count))
        return [
            (seq, delete_event(seq, entity, temporary_id, at))
            for seq, entity, temporary_id, at in found
        ]

    async def any_events(self, since: int, until: int) -> bool:
        """Whether any client has such an event there."""
        return bool(await self._store.read(SQL["any_forgotten"], (since, until)))

    async def purge(self) -> None:
        """Drop what is older than `limits.PUSH_REMEMBER_SECONDS`, and the oldest beyond
        `limits.OP_IDS_PER_USER_MAX` of each user and `limits.OP_IDS_MAX` in all. For a timer."""
        before = int(self._clock.now() - limits.PUSH_REMEMBER_SECONDS)
        for name in ("op_ids", "temporary_rows"):
            await self._delete(f"purge_{name}", before)
        most = limits.OP_IDS_PER_USER_MAX
        for user_id, count in await self._store.read(SQL["users_beyond"], (most,), heavy=True):
            find, forget = SQL["oldest_op_ids"], SQL["forget_op_id"]
            await delete_oldest(self._store, find, (user_id,), forget, count - most)
        for name in ("op_ids", "temporary_rows"):
            kept = (await self._store.read(SQL[f"count_{name}"], heavy=True))[0][0]
            await self._delete(f"purge_{name}", _NEVER, rows_max=max(0, kept - limits.OP_IDS_MAX))

    async def erase(self, user_id: str) -> int:
        """Drop everything of one user, whose clients are signed out; how much that was."""
        return await self._delete("erase_op_ids", user_id) + await self._delete(
            "erase_temporary_rows", user_id
        )

    async def _delete(self, query: str, which: Value, *, rows_max: int | None = None) -> int:
        return await delete_in_slices(self._store, SQL[query], (which,), rows_max=rows_max)


def delete_event(seq: int, entity: str, temporary_id: str, at: float) -> bytes:
    """What tells a client to drop a temporary row."""
    return event_json(
        seq=seq,
        entity=entity,
        row_id=temporary_id,
        kind="delete",
        data=None,
        timestamp=iso_seconds(at),
    )
