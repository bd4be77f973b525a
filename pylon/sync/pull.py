"""Pulling the change log from a cursor: pages of what a reader must hear (spec 03 section 3.1).

`changes/scan.py` scans the log and gives events as JSON, all but their ends. Only where a row's
earlier audiences decide what the reader is told is the event made here. `since=0` is the full
state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from pylon import limits
from pylon.changes.epochs import any_raised
from pylon.changes.log import ChangeLog, read_audiences
from pylon.changes.scan import LogScan, Scanned, newest_seq
from pylon.clock import iso_seconds
from pylon.errors import PylonError
from pylon.identity import Identity, caller_key
from pylon.policy.engine import PolicyEngine
from pylon.policy.lookup import NOTHING, Ask, Lookup, gather
from pylon.schema.model import Manifest
from pylon.store.base import Store
from pylon.sync.temporary import Temporary
from pylon.sync.visibility import told_by_pull
from pylon.wire.events import event_end, event_json

SCAN_ROWS_FIRST = 10
"""Changes in the first scan of a page, few since nothing is known of their size yet; the later
scans follow the size of the rows seen so far."""

SCAN_ROWS_MAX = 250
"""Changes in any scan: about a millisecond of the loop, after which others get their turn."""


class PullPage(Struct, frozen=True, kw_only=True):
    """Events as JSON with their positions, and where to go on."""

    events: list[tuple[int, bytes]]
    last_seq: int
    has_more: bool
    is_partial: bool = False
    """Whether there were changes of rows that this reader does not see now, for whatever reason."""
    whole_from: int = 0
    """From where on the log was whole when the pull that led here started at 0; to be handed to
    the next `page`. 0 for a pull that started elsewhere."""


class Puller:
    """Answers pulls for every reader of an app."""

    def __init__(
        self,
        store: Store,
        log: ChangeLog,
        manifest: Manifest,
        policies: PolicyEngine,
        temporary: Temporary,
    ) -> None:
        self._store = store
        self._temporary = temporary
        self._log = log
        self._policies = policies
        self._scans = LogScan(store, manifest, policies)
        self._asking = {
            spec.name: rule
            for spec in manifest.entities
            if (rule := policies.entity(spec.name).read).asked
        }
        """The read rules that look at other rows."""
        self._turns = asyncio.Semaphore(limits.PULL_PAGES_AT_ONCE)

    @property
    def head(self) -> int:
        """The position of the log as far as this process has heard."""
        return self._store.seq

    async def page(
        self, identity: Identity, since: int, *, epoch: int = 0, whole_from: int = 0
    ) -> PullPage:
        """The next page after `since`; `last_seq` rises whenever `has_more` is true.

        410 `RESYNC_REQUIRED` for a cursor that cannot be continued: from another life of the
        database, or from before deletes that were purged or `epoch`, unless it is on its way up
        from 0 (`whole_from`, see `PullPage`).
        """
        async with self._turns:
            return await self._page(identity, since, epoch, whole_from)

    async def _page(self, identity: Identity, since: int, epoch: int, whole_from: int) -> PullPage:
        await self._refuse_future(since)
        if since == 0:
            whole_from = max(epoch, await self._log.good_from(identity))
        else:
            # As far as this process has heard; the database is asked once the page has been read.
            _refuse_past(since, max(epoch, self._log.oldest_seq), whole_from)
        head = self._store.seq
        page = await self._log_page(identity, since)
        # Deletes may have been purged while it was read, or a membership have changed.
        now = max(epoch, await self._log.good_from(identity))
        if since == 0 and now > whole_from:
            return await self._page(identity, since, now, 0)
        _refuse_past(since, now, whole_from)
        if not page.has_more:
            # A position that carries no row (an epoch has taken one) is passed too.
            page = replace(page, last_seq=max(page.last_seq, head))
        reader = caller_key(identity)
        if reader is not None and page.last_seq != since:
            page = await self._with_own(page, reader, identity.user_id or "", since)
        return replace(page, whole_from=whole_from)

    async def _refuse_future(self, since: int) -> None:
        if since > self._store.seq:
            # A pull may have seen a commit that the loop has not been told of yet.
            stored = await newest_seq(self._store)
            if since > stored:
                raise resync_required(stored + 1)

    async def has_own(self, since: int, until: int) -> bool:
        """Whether in `(since, until]` anybody has been told of a temporary row, or has come to see
        other rows: what the events of a page do not show."""
        return await self._temporary.any_events(since, until) or await any_raised(
            self._store, since
        )

    async def _with_own(self, page: PullPage, reader: bytes, user_id: str, since: int) -> PullPage:
        """The page with the deletes of temporary rows that fall into it; cut if they are many."""
        count = limits.PULL_ROWS_MAX
        own = await self._temporary.events(reader, user_id, since, page.last_seq, count)
        if not own:
            return page
        if len(own) == count and own[-1][0] < page.last_seq:
            last = own[-1][0]
            kept = [event for event in page.events if event[0] <= last]
            return PullPage(events=sorted([*kept, *own]), last_seq=last, has_more=True)
        return PullPage(
            events=sorted([*page.events, *own]), last_seq=page.last_seq, has_more=page.has_more
        )

    async def _log_page(self, identity: Identity, since: int) -> PullPage:
        """The part of the page that comes from the log; it ends at the last change looked at."""
        scan = self._scans.since(identity, since)
        events: list[tuple[int, bytes]] = []
        cursor, scanned, size, is_partial = since, 0, 0, False
        ended_at, end = -1, b""
        count = SCAN_ROWS_FIRST
        while True:
            try:
                found = await scan.after(cursor, count)
            except PylonError as error:
                if error.code != "ANSWER_TOO_LARGE" or count == 1:
                    raise
                count = max(1, count // 8)  # the rows that come next are huge
                continue
            lookup = await self._gather(identity, found) if self._asking else NOTHING
            for change in found:
                seq, at, data, audiences, *_ = change
                if data is None:
                    is_partial = True
                if at != ended_at:
                    ended_at, end = at, event_end(iso_seconds(at))
                if audiences is not None:
                    event = self._event(identity, since, change, lookup)
                else:
                    event = None if data is None else data + end
                if event is not None:
                    events.append((seq, event))
                    size += len(event)
            if found:
                cursor = found[-1][0]
            scanned += len(found)
            if len(found) < count:
                has_more = False
                break
            if scanned >= limits.PULL_ROWS_MAX or size >= limits.PULL_BYTES_MAX:
                has_more = True
                break
            count = _next_count(scanned, size)
            await asyncio.sleep(0)
        return PullPage(events=events, last_seq=cursor, has_more=has_more, is_partial=is_partial)

    async def _gather(self, identity: Identity, found: Sequence[Scanned]) -> Lookup:
        """What the read rules need to judge earlier audiences."""
        lookup = self._policies.lookup()
        asks = []
        for _, _, _, audiences, entity, _, _ in found:
            rule = None if audiences is None or entity is None else self._asking.get(entity)
            if rule is not None:
                rows = [(values, None) for _, values in read_audiences(audiences)]
                asks.append(Ask(lookup, rule, identity, rows))
        await gather(asks)
        return lookup

    def _event(
        self, identity: Identity, since: int, change: Scanned, lookup: Lookup
    ) -> bytes | None:
        """What a reader is told of a row with earlier audiences; None for nothing."""
        seq, at, data, audiences, entity, row_id, born = change
        assert entity is not None
        assert row_id is not None
        assert born is not None
        kind = told_by_pull(
            self._policies.entity(entity).read,
            identity,
            since=since,
            born=born,
            audiences=read_audiences(audiences),
            visible_now=data is not None,
            lookup=lookup,
        )
        if kind is None:
            return None
        return event_json(
            seq=seq,
            entity=entity,
            row_id=row_id,
            kind=kind,
            data=None if kind == "delete" else data,
            timestamp=iso_seconds(at),
        )


def _refuse_past(since: int, good_from: int, whole_from: int) -> None:
    if 0 < since < good_from and whole_from < good_from:
        raise resync_required(good_from)


def _next_count(scanned: int, size: int) -> int:
    """How many changes to scan next so that the page ends near its bound of bytes."""
    room = min(SCAN_ROWS_MAX, limits.PULL_ROWS_MAX - scanned)
    if size == 0:
        return room
    return max(1, min(room, (limits.PULL_BYTES_MAX - size) * scanned // size))


def resync_required(oldest_seq: int) -> PylonError:
    """410: the cursor cannot be continued, 0 can."""
    return PylonError(
        410,
        "RESYNC_REQUIRED",
        "This cursor cannot be continued.",
        "Start again from since=0.",
        oldest_seq=oldest_seq,
    )
