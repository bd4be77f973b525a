"""From which position on the cursors of a client are good (design 4.5).

A client's rows are what its session could see when it pulled them. When the session comes to mean
another reader (it chose another tenant, a guest signed in, a role was given or taken), rows appear
and vanish without a change of their own: older cursors must start anew. So must the cursor that a
page keeps in its storage from whoever was signed in before. Hence, per session, in the database:
what the read rules could tell of it when it last started, and from where on.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256

from pylon import limits
from pylon.clock import Clock
from pylon.identity import Identity, caller_key
from pylon.store.base import Row, Store, Tx
from pylon.sync.audience import Audiences
from pylon.sync.temporary import PURGED_AT_ONCE, SQL

CACHED_MAX = 50_000
"""Readers kept in memory; others are read when they ask."""

TOUCH_SECONDS = 86_400
"""How often the time at which a reader was last seen is written."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What a reader's cursors rest on: they must not lie below `since`."""

    audience: bytes
    since: int
    at: int


class Epochs:
    """The epochs of all named readers; administrators and anonymous callers never change."""

    def __init__(self, store: Store, audiences: Audiences, clock: Clock) -> None:
        self._store = store
        self._audiences = audiences
        self._clock = clock
        self._cache: OrderedDict[bytes, Epoch] = OrderedDict()

    async def begun(self, identity: Identity) -> int | None:
        """The position below which this reader's cursors are void; None when it has never pulled
        from 0 as the reader that it is now."""
        reader = _reader(identity)
        if reader is None:
            return 0
        epoch = await self._find(reader)
        if epoch is None or epoch.audience != self._audience(identity):
            return None
        return epoch.since

    async def has_pulled(self, identity: Identity) -> bool:
        """Whether this session has ever pulled, as whichever reader."""
        reader = _reader(identity)
        return reader is not None and await self._find(reader) is not None

    async def begin(self, identity: Identity) -> int:
        """Start anew, and return the position that all older cursors lie below.

        A session that starts for the first time has none. Otherwise the epoch takes a position of
        the log, so that even a cursor at its head lies below.
        """
        reader = _reader(identity)
        if reader is None:
            return 0
        audience, now = self._audience(identity), int(self._clock.now())

        async def unit(tx: Tx) -> Epoch:
            known = await tx.fetch(SQL["reader"], (reader,))
            if known and known[0][0] == audience and now - known[0][2] < TOUCH_SECONDS:
                return _epoch(known[0])  # another tab was quicker
            since = 0
            if known:
                since = known[0][1]
                if known[0][0] != audience:
                    since = tx.next_seq
                    tx.publish(None)
            await tx.execute(SQL["save_reader"], (reader, audience, since, now))
            return Epoch(audience, since, now)

        return self._keep(reader, await self._store.write(unit)).since

    async def touch(self, identity: Identity) -> None:
        """Note that the reader is still there, once a day."""
        reader = _reader(identity)
        epoch = None if reader is None else self._cache.get(reader)
        if epoch is not None and self._clock.now() - epoch.at >= TOUCH_SECONDS:
            await self.begin(identity)

    async def purge(self) -> None:
        """Forget readers that have not pulled for long; they would start from 0. For a timer."""
        before = int(self._clock.now() - limits.SYNC_READER_SECONDS)

        async def unit(tx: Tx) -> int:
            return await tx.execute(SQL["purge_readers"], (before, PURGED_AT_ONCE))

        while await self._store.write(unit) == PURGED_AT_ONCE:
            pass
        self._cache.clear()

    # --- parts -------------------------------------------------------------------------------

    async def _find(self, reader: bytes) -> Epoch | None:
        epoch = self._cache.get(reader)
        if epoch is not None:
            self._cache.move_to_end(reader)
            return epoch
        found = await self._store.read(SQL["reader"], (reader,))
        if not found:
            return None
        # A unit may have been quicker than this read; it knows better.
        return self._cache.get(reader) or self._keep(reader, _epoch(found[0]))

    def _keep(self, reader: bytes, epoch: Epoch) -> Epoch:
        self._cache[reader] = epoch
        self._cache.move_to_end(reader)
        if len(self._cache) > CACHED_MAX:
            self._cache.popitem(last=False)
        return epoch

    def _audience(self, identity: Identity) -> bytes:
        return sha256(repr(self._audiences.key(identity)).encode("utf-8", "surrogatepass")).digest()


def _reader(identity: Identity) -> bytes | None:
    return None if identity.is_admin else caller_key(identity)


def _epoch(row: Row) -> Epoch:
    return Epoch(bytes(row[0]), row[1], row[2])
