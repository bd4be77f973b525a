"""Writes that are done once, however often they are sent: what an `Idempotency-Key` rests on.

The result of each unit of such a request is stored in the transaction of the unit, under the
caller, the key, and the unit's place in the request. When the request comes again, units that are
done give what they gave then, and those that failed are tried. Reading the header and answering is
`api/once.py`'s; `Rows.write` asks here for every write that says how its result is kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pylon import limits
from pylon.clock import Clock
from pylon.codec import decode_trusted, encode
from pylon.data.write import Transaction
from pylon.errors import PylonError
from pylon.store.base import Store
from pylon.store.naming import load_queries
from pylon.store.upkeep import delete_in_slices, delete_oldest

SQL: Final = load_queries("pylon.data", "once.sql")

T = TypeVar("T")

_LATER: Final = 2**62
"""Later than anything that is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept(Generic[T]):
    """How the result of a unit is stored, as JSON, and made again: as far as an answer needs it."""

    pack: Callable[[T], Any]
    unpack: Callable[[Any], T]


@dataclass(slots=True, kw_only=True)
class Ticket:
    """One request with a key. `fingerprint` is the same for the same request."""

    caller: str
    key: str
    fingerprint: bytes
    units: int = 0
    """Units begun so far; the same request begins the same ones in the same order."""
    repeated: int = 0
    """Those of them that had been done before."""


_ticket: ContextVar[Ticket | None] = ContextVar("pylon_once", default=None)

current: Final[Callable[[], Ticket | None]] = _ticket.get
"""The request that is being answered, if it has a key."""


async def do_once(
    tx: Transaction,
    ticket: Ticket,
    unit: int,
    at: float,
    work: Callable[[Transaction], Awaitable[T]],
    kept: Kept[T],
) -> tuple[bool, T]:
    """The result of `work`, the `unit`-th of its request, and whether it had been done before."""
    place = (ticket.caller, ticket.key, unit)
    found = await tx.tx.fetch(SQL["find"], place)
    if found:
        fingerprint, result = found[0]
        if fingerprint != ticket.fingerprint:
            raise reused()
        return True, kept.unpack(decode_trusted(result))
    done = await work(tx)
    result = encode(kept.pack(done)).decode()
    await tx.enlist(SQL["keep"], (*place, ticket.fingerprint, result, int(at)))
    return False, done


def reused() -> PylonError:
    """The refusal of another request under a key that was used."""
    return PylonError(
        422,
        "IDEMPOTENCY_KEY_REUSED",
        "This Idempotency-Key came with another request before.",
        "Use a new key for each new request, and the same one only to repeat it.",
    )


class OnceKeys:
    """The keys of an app. Where several processes are, those of the owner of the database."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._in_use: set[tuple[str, str]] = set()

    async def refuse_reused(self, ticket: Ticket) -> None:
        """422 where the key belongs to another request."""
        found = await self._store.read(SQL["fingerprint"], (ticket.caller, ticket.key))
        if found and found[0][0] != ticket.fingerprint:
            raise reused()

    @contextmanager
    def using(self, ticket: Ticket) -> Iterator[None]:
        """While it lasts, what the request writes is done once; 409 for a key that is in use."""
        name = (ticket.caller, ticket.key)
        if name in self._in_use:
            raise PylonError(
                409,
                "IDEMPOTENCY_KEY_IN_USE",
                "A request with this Idempotency-Key is being answered.",
                "Repeat it when that one is over.",
                retry_after_secs=1,
            )
        self._in_use.add(name)
        token = _ticket.set(ticket)
        try:
            yield
        finally:
            _ticket.reset(token)
            self._in_use.discard(name)

    async def purge(self) -> None:
        """Drop what is older than `limits.ONCE_SECONDS`, and the oldest beyond
        `limits.ONCE_PER_CALLER_MAX` of each caller and `limits.ONCE_MAX` in all. For a timer."""
        store = self._store
        before = int(self._clock.now() - limits.ONCE_SECONDS)
        await delete_in_slices(store, SQL["purge"], (before,))
        most = limits.ONCE_PER_CALLER_MAX
        for caller, count in await store.read(SQL["callers_beyond"], (most,), heavy=True):
            await delete_oldest(store, SQL["oldest"], (caller,), SQL["forget"], count - most)
        beyond = (await store.read(SQL["count"], heavy=True))[0][0] - limits.ONCE_MAX
        await delete_in_slices(store, SQL["purge"], (_LATER,), rows_max=max(0, beyond))

    async def erase(self, user_id: str) -> int:
        """Drop everything of one user; how much that was."""
        return await delete_in_slices(self._store, SQL["erase"], (caller_of(user_id, ""),))


def caller_of(user_id: str | None, address: str) -> str:
    """Whose keys are whose: a user's in all sessions, and of an address for those without one."""
    return f"@{address}" if user_id is None else f"={user_id}"
