"""Since when the cursors of each reader are good (design 4.5).

A client's rows are what its session could see when it pulled them. When the session comes to mean
another reader (it chose another tenant, a guest signed in, a role was given or taken), rows appear
and vanish without a change of their own: older cursors must start anew. So must the cursor that a
page keeps in its storage from whoever was signed in before. Hence, per session, in the database:
what the read rules could tell of it when it last started, and from where on. What is kept of it in
memory is what the feed tells. A pull is served by any process, and the epoch that it begins is
begun where the database is, by a call. Epochs that rows of others begin are in `changes/epochs.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256

from pylon import limits
from pylon.calls import DIRECT, Call, Calls
from pylon.changes.facts import ReaderBegun, ReadersForgotten
from pylon.changes.feed import Gap, Message
from pylon.clock import Clock
from pylon.identity import Identity, caller_key
from pylon.store.base import Row, Store, Tx
from pylon.store.upkeep import delete_in_slices
from pylon.sync.audience import Audiences
from pylon.sync.temporary import SQL

CACHED_MAX = 50_000
"""Readers kept in memory; others are read when they ask."""

TOUCH_SECONDS = 86_400
"""How often the time at which a reader was last seen is written."""


class ReaderEpochs:
    """The epochs of all named readers; administrators and anonymous callers never change."""

    HEARS = (ReaderBegun, ReadersForgotten)

    def __init__(
        self, store: Store, audiences: Audiences, clock: Clock, *, calls: Calls = DIRECT
    ) -> None:
        """`calls` is the way to where the database is."""
        self._calls = calls
        self.call: Call[None, int] = Call(
            name="readers.begin", takes=type(None), gives=int, run=self._begin
        )
        self._store = store
        self._audiences = audiences
        self._clock = clock
        self._cache: OrderedDict[bytes, ReaderBegun] = OrderedDict()
        self._drops = 0

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
        if _reader(identity) is None:
            return 0
        return await self._calls.ask(self.call, identity, None)

    async def _begin(self, identity: Identity, _: None) -> int:
        """`begin` for named readers, where the database is."""
        reader = _reader(identity)
        assert reader is not None
        audience, now = self._audience(identity), int(self._clock.now())

        async def unit(tx: Tx) -> int:
            known = await tx.fetch(SQL["reader"], (reader,))
            is_another = bool(known) and known[0][0] != audience
            since = tx.next_seq if is_another else known[0][1] if known else 0
            if known and not is_another and now - known[0][2] < TOUCH_SECONDS:
                return int(since)  # another tab was quicker
            await tx.execute(SQL["save_reader"], (reader, audience, since, now))
            begun = ReaderBegun(reader=reader, audience=audience, since=since, at=now)
            if is_another:
                tx.publish(begun)
            else:
                tx.tell(begun)
            return int(since)

        return await self._store.write(unit)

    async def touch(self, identity: Identity) -> None:
        """Note that the reader is still there, once a day."""
        reader = _reader(identity)
        epoch = None if reader is None else self._cache.get(reader)
        if epoch is not None and self._clock.now() - epoch.at >= TOUCH_SECONDS:
            await self.begin(identity)

    async def purge(self) -> None:
        """Forget readers that have not pulled for long; they would start from 0. For a timer."""
        before = int(self._clock.now() - limits.SYNC_READER_SECONDS)
        await delete_in_slices(
            self._store, SQL["purge_readers"], (before,), told=ReadersForgotten()
        )

    def hear(self, messages: Sequence[Message], _: int) -> None:
        """Listen to the feed."""
        for message in messages:
            if isinstance(message, ReaderBegun):
                self._keep(message)
            elif isinstance(message, ReadersForgotten | Gap):
                self._drops += 1
                self._cache.clear()

    # --- parts -------------------------------------------------------------------------------

    async def _find(self, reader: bytes) -> ReaderBegun | None:
        while True:
            known = self._cache.get(reader)
            if known is not None:
                self._cache.move_to_end(reader)
                return known
            drops = self._drops
            found = await self._store.read(SQL["reader"], (reader,))
            # What was heard while it was read is newer; what was dropped may be read anew.
            if reader not in self._cache and drops == self._drops:
                return self._keep(_begun(reader, found[0])) if found else None

    def _keep(self, begun: ReaderBegun) -> ReaderBegun:
        self._cache[begun.reader] = begun
        self._cache.move_to_end(begun.reader)
        if len(self._cache) > CACHED_MAX:
            self._cache.popitem(last=False)
        return begun

    def _audience(self, identity: Identity) -> bytes:
        return sha256(repr(self._audiences.key(identity)).encode("utf-8", "surrogatepass")).digest()


def _reader(identity: Identity) -> bytes | None:
    return None if identity.is_admin else caller_key(identity)


def _begun(reader: bytes, row: Row) -> ReaderBegun:
    return ReaderBegun(reader=reader, audience=bytes(row[0]), since=row[1], at=row[2])
