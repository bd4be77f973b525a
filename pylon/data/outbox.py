"""The outbox: what hooks of commits have still to be told, as rows that commit with the writes.

The log keeps one change a row, so it cannot feed them. Rows of a hook are numbered in the order of
their commits and go from the front. `write.py` puts them in; `committed.py` tells and takes them
out. Only the owner of the database does either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from pylon import limits
from pylon.changes.model import Change, RowData
from pylon.codec import decode_trusted, encode
from pylon.errors import PylonError
from pylon.hooks import Kind
from pylon.identity import Identity
from pylon.store.base import Row, Store, Tx, Value
from pylon.store.naming import load_queries
from pylon.store.system import load_steps
from pylon.store.upkeep import delete_in_slices

SQL: Final = load_queries("pylon.data")

OUTBOX_TABLES: Final = load_steps("pylon.data")

_NEVER: Final = 2**62
"""Later than anything that has died."""


class Waiting(Struct, frozen=True, kw_only=True):
    """A commit that a hook is to be told of; `due_at` in seconds, 0 where it was never tried."""

    n: int
    seq: int
    kind: Kind
    entity: str
    row_id: str
    identity: Identity
    before: RowData | None
    data: RowData
    at: float
    tries: int
    due_at: float


async def put(tx: Tx, hook: str, change: Change, identity: Identity, data: RowData) -> None:
    """Note a change for a hook, in the unit that makes it.

    503 `OVERLOADED` where the hook has too much to be told already.
    """
    ((first, last),) = await tx.fetch(SQL["ends"], (hook, hook))
    if last - first + 1 >= limits.OUTBOX_ROWS_MAX:
        raise PylonError(
            503,
            "OVERLOADED",
            f"The hook {hook} is {limits.OUTBOX_ROWS_MAX} commits behind.",
            "Its failures are in the server's log.",
        )
    before = None if change.before is None else _text(change.before)
    what = (change.seq, change.kind, change.entity, change.row_id)
    how = (_text(_to_json(identity)), before, _text(data), int(change.at * 1000))
    await tx.execute(SQL["put"], (hook, last + 1, *what, *how))


class Outbox:
    """The outbox as the teller of commits sees it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def names(self) -> dict[str, int]:
        """How much waits for each hook that something waits for."""
        return dict(await self._store.read(SQL["names"]))

    async def waiting(self, hook: str) -> int:
        """How many commits one hook has still to be told of."""
        ((first, last),) = await self._store.read(SQL["ends"], (hook, hook))
        return int(last - first + 1)

    async def dead(self) -> int:
        """How many commits are kept of which a hook could not be told."""
        return int((await self._store.read(SQL["count_dead"]))[0][0])

    async def next(self, hook: str) -> list[Waiting]:
        """The first that a hook is to be told of, in order."""
        found = await self._store.read(SQL["next"], (hook, limits.OUTBOX_PAGE_ROWS))
        return [_waiting(row) for row in found]

    async def settle(self, hook: str, n: int) -> None:
        """The hook has been told of everything up to `n`."""
        await self._run([("settle", (hook, n))])

    async def postpone(self, hook: str, n: int, *, tries: int, due_at: float, error: str) -> None:
        """It was told and failed; it is to be told again."""
        await self._run([("postpone", (tries, int(due_at * 1000), error, hook, n))])

    async def bury(self, hook: str, n: int, *, tries: int, error: str, now: float) -> None:
        """It failed for the last time: keep the commit with the dead, and go on behind it."""
        await self._run([("bury", (tries, error, int(now * 1000), hook, n)), ("settle", (hook, n))])

    async def purge(self, now: float, known: Sequence[str]) -> None:
        """Drop what is kept for too long: the dead, and what waits for hooks that are gone."""
        before = int((now - limits.OUTBOX_DEAD_SECONDS) * 1000)
        await self._purge("purge_dead", before)
        beyond = await self.dead() - limits.OUTBOX_DEAD_MAX
        await self._purge("purge_dead", _NEVER, rows_max=max(0, beyond))
        for name in await self.names():
            if name not in known:
                await self._purge("purge_forsaken", name, before)

    async def _purge(self, query: str, *params: Value, rows_max: int | None = None) -> None:
        rows = limits.OUTBOX_PURGE_ROWS
        await delete_in_slices(self._store, SQL[query], params, rows=rows, rows_max=rows_max)

    async def clear(self) -> None:
        """Forget everything; between two tests."""
        await self._run([("clear", ()), ("clear_dead", ())])

    async def _run(self, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> int:
        """How many rows they changed in all."""

        async def unit(tx: Tx) -> int:
            return sum([await tx.execute(SQL[name], params) for name, params in statements])

        return await self._store.write(unit)


def _waiting(row: Row) -> Waiting:
    n, seq, kind, entity, row_id, identity, before, data, at, tries, due_at = row
    return Waiting(
        n=n,
        seq=seq,
        kind=kind,
        entity=entity,
        row_id=row_id,
        identity=_identity(decode_trusted(identity)),
        before=None if before is None else decode_trusted(before),
        data=decode_trusted(data),
        at=at / 1000,
        tries=tries,
        due_at=due_at / 1000,
    )


def _text(value: Any) -> str:
    return encode(value).decode()


def _to_json(identity: Identity) -> dict[str, object]:
    """The caller as far as a hook may know of it later: without its session."""
    return {
        "user_id": identity.user_id,
        "tenant_id": identity.tenant_id,
        "roles": identity.roles,
        "email": identity.email,
        "is_admin": identity.is_admin,
        "is_guest": identity.is_guest,
    }


def _identity(stored: dict[str, Any]) -> Identity:
    return Identity(**{**stored, "roles": tuple(stored["roles"])})
