"""The live hub: after each commit its changes go, in order, to every reader that may see them.

There is one hub per process, and WebSocket and SSE are doors of it. Changes gather for a turn and
each reader gets one write for all of them. A reader that joins is first replayed what it missed,
then goes live at exactly that point. A reader that does not keep up is closed, never skipped.

Not here: what a reader is told of a change (`visibility.py`), who is grouped with whom
(`audience.py`), the sockets (`api/live.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from time import perf_counter

from pylon import limits
from pylon.changes.epochs import EpochRaised, subjects_of
from pylon.changes.model import Change
from pylon.errors import PylonError
from pylon.http.close_codes import (
    CLOSE_GOING_AWAY,
    CLOSE_INTERNAL,
    CLOSE_POLICY,
    CLOSE_TRY_AGAIN,
)
from pylon.identity import ANONYMOUS, Identity, caller_key
from pylon.live.outlet import Event, Outlet
from pylon.metrics import Histogram
from pylon.policy.lookup import Ask, Lookup, gather
from pylon.sync.audience import Audiences, Group
from pylon.sync.documents import DocumentHub
from pylon.sync.events import EventJson, Made
from pylon.sync.plans import Plan, merge, parts, with_personal
from pylon.sync.pull import Puller
from pylon.sync.temporary import Forgotten
from pylon.sync.visibility import looked_at, told_live
from pylon.tasks import Tasks

log = logging.getLogger("pylon.sync")

SLICE_SECONDS = 0.003
"""How long one slice of a fan-out holds the loop before requests get their turn."""

SWEEP_SECONDS = 5.0
"""How often readers are looked over for ones that stopped reading."""

LAG_BUCKETS_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Upper edges of the lag's histogram."""

ENDED_MAX = 10_000
"""Ended sessions remembered for handshakes under way, which take seconds at most."""


class Reader:
    """One open stream and where it is in the log."""

    __slots__ = (
        "caller",
        "floor",
        "group",
        "hears_all",
        "identity",
        "joining",
        "lookup",
        "outlet",
        "queued",
        "subjects",
        "waiting",
    )

    def __init__(self, identity: Identity, outlet: Outlet, lookup: Lookup, hears_all: bool) -> None:
        self.identity = identity
        self.lookup = lookup
        """What it belongs to; becomes its group's when it is the first there."""
        self.hears_all = hears_all
        """False: the client may see more than this stream shows; see `Hub.join`."""
        self.caller = caller_key(identity)
        self.subjects = subjects_of(identity)
        self.outlet = outlet
        self.group: Group | None = None
        self.joining = True
        self.floor = 0
        """Events up to this position have been replayed and are not sent again."""
        self.queued: list[Event] = []
        self.waiting: list[tuple[float, int]] = []
        """When how much had been written in all, as far as that has not been taken yet."""

    def waits_since(self, now: float, backlog: int) -> float:
        """Since when the oldest bytes that it has not taken wait, as far as anybody looked."""
        if not backlog:
            self.waiting = []
            return now
        written = self.outlet.written()
        taken = written - backlog
        self.waiting = [each for each in self.waiting if each[1] > taken]
        self.waiting.append((now, written))
        return self.waiting[0][0]


class Hub:
    """Fans commits out to readers. All of it runs on the loop."""

    def __init__(
        self,
        audiences: Audiences,
        puller: Puller,
        private_fields: Mapping[str, frozenset[str]],
        documents: DocumentHub | None = None,
    ) -> None:
        self._audiences = audiences
        self._puller = puller
        self._json = EventJson(private_fields)
        self._documents = documents
        self._readers: dict[Outlet, Reader] = {}
        self._joining: set[Reader] = set()
        self._partial: set[Reader] = set()
        self._ended: OrderedDict[bytes, int] = OrderedDict()
        self._ends = 0
        self._by_caller: dict[bytes, set[Reader]] = {}
        self._pending: list[Change | Forgotten | EpochRaised] = []
        self._flushing = False
        self._flushed_seq = 0
        self._gathering_seq = 0
        """The last position of the turn for which something is being gathered; 0: none is."""
        self._tasks = Tasks()
        self._free_at = 0.0
        self._sweeper: asyncio.TimerHandle | None = None
        self._pending_since = 0.0
        self.lag = Histogram(LAG_BUCKETS_SECONDS)
        """Seconds from a commit to the last write of its fan-out; the oldest commit of each."""
        self.turns_waited = 0
        """Turns before which the database was asked what readers belong to."""
        self.deliveries = 0
        self.closes: dict[str, int] = {}
        """Streams that have ended, by reason; `docs/operating-sync.md` lists the reasons."""

    @property
    def readers(self) -> int:
        """Open streams."""
        return len(self._readers)

    @property
    def backlog_bytes(self) -> int:
        """Bytes that all readers together have still to take."""
        return sum(outlet.backlog() for outlet in self._readers)

    @property
    def joining(self) -> int:
        """Streams that are being replayed what they missed."""
        return len(self._joining)

    @property
    def is_flushing(self) -> bool:
        """Whether committed changes are still on their way to readers."""
        return self._flushing

    @property
    def groups(self) -> int:
        """Distinct audiences among them."""
        return len(self._audiences)

    def start(self, seq: int, tasks: Tasks | None = None) -> None:
        """Begin at the position of the newest commit; `tasks` are whoever's stops the hub."""
        self._flushed_seq = seq
        if tasks is not None:
            self._tasks = tasks

    # --- readers come and go -----------------------------------------------------------------

    @property
    def ends(self) -> int:
        """How many times a session's streams have been ended; see `join`."""
        return self._ends

    async def join(
        self,
        identity: Identity,
        outlet: Outlet,
        since: int | None,
        *,
        hears_all: bool = True,
        may_hold_more: bool = False,
        known_at: int | None = None,
    ) -> bool:
        """Open a stream: replay from `since` (None: from now), then live without a gap.

        False when it lies too far back to be replayed; the outlet is closed with 1013. A stream
        that does not `hears_all` is closed too as soon as anything happens that it may not show.
        `may_hold_more` says that the client may be above `since`.
        `known_at` is what `ends` was before the identity was looked up: when the session's streams
        have been ended since then, this one is as well.
        """
        lookup = self._audiences.lookup(identity)
        reader = self._readers[outlet] = Reader(identity, outlet, lookup, hears_all)
        # A turn that is under way began without this reader, and was committed before it came.
        reader.floor = self._gathering_seq
        if reader.caller is not None:
            self._by_caller.setdefault(reader.caller, set()).add(reader)
            if known_at is not None and self._ended.get(reader.caller, 0) > known_at:
                self._close(reader, CLOSE_POLICY, "session ended", "session")
                return True
        if not hears_all:
            self._partial.add(reader)
        if self._sweeper is None:
            self._schedule_sweep()
        self._joining.add(reader)
        if since is None:
            self._finish_joining(reader)
        try:
            await self._remember(reader)
            if since is not None:
                reader.floor = await self._replay(reader, since, may_hold_more)
        except PylonError as error:
            if self._readers.get(outlet) is reader:
                self._close(reader, CLOSE_TRY_AGAIN, "resync required", error.code.lower())
            return False
        if since is not None and self._readers.get(outlet) is reader:
            self._finish_joining(reader)
        return True

    async def _remember(self, reader: Reader) -> None:
        """Fetch what the reader belongs to, so that no turn has to wait for it."""
        if self._audiences.asking and not reader.identity.is_admin:
            await reader.lookup.remember(self._audiences.asking, reader.identity)

    def leave(self, outlet: Outlet, why: str) -> None:
        """The stream has ended, if the hub has not ended it before."""
        reader = self._readers.get(outlet)
        if reader is not None:
            self.count_close(why)
            self._remove(reader)

    def count_close(self, why: str) -> None:
        """Count the end of a stream."""
        self.closes[why] = self.closes.get(why, 0) + 1

    def _remove(self, reader: Reader) -> None:
        outlet = reader.outlet
        del self._readers[outlet]
        if self._documents is not None:
            self._documents.leave(outlet)
        self._joining.discard(reader)
        self._partial.discard(reader)
        if reader.caller is not None:
            of_caller = self._by_caller[reader.caller]
            of_caller.discard(reader)
            if not of_caller:
                del self._by_caller[reader.caller]
        if reader.group is not None:
            self._audiences.leave(reader.group, outlet)

    def close_session(self, session_id: bytes) -> None:
        """End every stream of a session that was revoked, has expired or means another caller."""
        self._ends += 1
        self._ended[session_id] = self._ends
        self._ended.move_to_end(session_id)
        if len(self._ended) > ENDED_MAX:
            self._ended.popitem(last=False)
        for reader in list(self._by_caller.get(session_id, ())):
            self._close(reader, CLOSE_POLICY, "session ended", "session")

    def close_all(self) -> None:
        """End every stream because the server stops; clients come back to the next one."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for reader in list(self._readers.values()):
            self._close(reader, CLOSE_GOING_AWAY, "server stopping", "shutdown")

    def _close(self, reader: Reader, code: int, reason: str, why: str) -> None:
        self.count_close(why)
        self._remove(reader)
        reader.outlet.close(code, reason)

    async def _replay(self, reader: Reader, since: int, may_hold_more: bool) -> int:
        """Send what the reader missed; the position it has then.

        A replay from 0 tells what became of every row there is, but nothing of rows that were
        purged or went out of the reader's sight with an epoch.
        """
        replayed = began = 0
        while True:
            page = await self._puller.page(reader.identity, since, began=began)
            if not reader.hears_all and (
                page.is_partial or await self._puller.has_own(since, page.last_seq)
            ):
                raise PylonError(410, "TOO_FAR_BEHIND", "The stream cannot show everything.")
            if may_hold_more and page.began:
                raise PylonError(410, "TOO_FAR_BEHIND", "Only a pull can tell what has gone.")
            if page.events:
                self._write_events(reader, page.events)
            since, began = page.last_seq, page.began
            replayed += len(page.events)
            if not page.has_more:
                return since
            if replayed > limits.REPLAY_ROWS_MAX or self._is_full(reader):
                raise PylonError(410, "TOO_FAR_BEHIND", "The reader is too far behind.")

    def _finish_joining(self, reader: Reader) -> None:
        """Send what was queued meanwhile; go live once the hub has passed the replay's end."""
        queued = [event for event in reader.queued if event[0] > reader.floor]
        reader.queued = []
        if queued:
            self._write_events(reader, queued)
        reader.joining = False
        if self._flushed_seq >= reader.floor:
            self._go_live(reader)

    def _go_live(self, reader: Reader) -> None:
        self._joining.discard(reader)
        reader.joining = False
        reader.group = self._audiences.join(reader.identity, reader.outlet, reader.lookup)
        reader.lookup = reader.group.lookup

    # --- changes go out ----------------------------------------------------------------------

    def publish(self, changes: Sequence[object]) -> None:
        """Take the changes of a commit, in `seq` order (a store's commit listener)."""
        if not self._pending:
            self._pending_since = perf_counter()
        self._pending.extend(
            change for change in changes if isinstance(change, Change | Forgotten | EpochRaised)
        )
        if self._pending and not self._flushing:
            self._flushing = True
            self._schedule_flush()

    def _schedule_flush(self) -> None:
        """Fan out at most half of the time, so that requests always get the other half."""
        loop = asyncio.get_running_loop()
        wait = self._free_at - perf_counter()
        if wait > 0.0005:
            loop.call_later(wait, self._flush)
        else:
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Begin a turn. The next one begins when all of this one has been written."""
        started = perf_counter()
        changes, self._pending = self._pending, []
        since = self._pending_since
        if self._readers:
            self._end_epochs({each.subject for each in changes if isinstance(each, EpochRaised)})
        asks = self._asks(changes) if self._audiences.asking and self._readers else []
        if asks:
            self._gathering_seq = changes[-1].seq
            self.turns_waited += 1
            self._tasks.start("gather for a turn", self._gather(asks, changes, since))
        else:
            self._fan_out(changes, since, started)

    def _asks(self, changes: Sequence[Change | Forgotten | EpochRaised]) -> list[Ask]:
        """What is to be gathered before these changes are routed: memberships that are not kept,
        because they are too many, cannot be told beforehand or are just being fetched."""
        asks: list[Ask] = []
        for change in changes:
            rule = self._audiences.rule(change.entity) if isinstance(change, Change) else None
            if not isinstance(change, Change) or rule is None or not rule.asked:
                continue
            judged: list[tuple[Identity, Lookup]] = [(ANONYMOUS, self._audiences.public)]
            joining = [reader for reader in self._joining if change.seq > reader.floor]
            judged += [(reader.identity, reader.lookup) for reader in joining]
            concerned = self._audiences.concerned(rule, change)
            judged += [(group.identity, group.lookup) for group in concerned]
            rows = looked_at(change)
            asks += [
                Ask(lookup, rule, identity, rows)
                for identity, lookup in judged
                if not (identity.is_admin or lookup.is_ready(rule))
            ]
        return asks if self._documents is None else [*asks, *self._documents.asks(changes)]

    async def _gather(
        self,
        asks: list[Ask],
        changes: list[Change | Forgotten | EpochRaised],
        since: float,
    ) -> None:
        """Go on with a turn when what it needs has been fetched. Meanwhile readers may leave, and
        those that come wait for its end; without an answer all streams are closed."""
        is_gathered = False
        try:
            await self._audiences.public.remember(self._audiences.asking, ANONYMOUS)
            await gather(asks)
            is_gathered = True
        finally:
            if not is_gathered:
                self._close_failed()
            self._gathering_seq = 0
            self._fan_out(changes, since, perf_counter())

    def _fan_out(
        self, changes: list[Change | Forgotten | EpochRaised], since: float, started: float
    ) -> None:
        """Decide who is told what, and begin to write it."""
        writes: Iterator[tuple[Outlet, bytes, int]] = iter(())
        if self._readers:
            try:
                writes = self._writes(changes)
                if self._documents is not None:
                    writes = chain(writes, self._documents.writes(changes))
            except Exception:
                # Who does not hear of a change must not go on as if there had been none.
                log.exception("a fan-out failed; all streams are closed")
                self._close_failed()
        self._flushed_seq = changes[-1].seq
        for reader in [r for r in self._joining if not r.joining]:
            if self._flushed_seq >= reader.floor:
                self._go_live(reader)
        self._send(writes, since, perf_counter() - started)

    def _close_failed(self) -> None:
        for reader in list(self._readers.values()):
            self._close(reader, CLOSE_INTERNAL, "internal error", "failure")

    def _end_epochs(self, subjects: set[str]) -> None:
        """Close the streams of those for whom rows appeared or vanished without a change of their
        own. Before anything of the same turn is decided, since their groups remember what was."""
        if subjects:
            self._audiences.forget_public()
            for reader in list(self._readers.values()):
                if not subjects.isdisjoint(reader.subjects):
                    self._close(reader, CLOSE_TRY_AGAIN, "pull required", "epoch")

    def _send(
        self, writes: Iterator[tuple[Outlet, bytes, int]], since: float, spent: float
    ) -> None:
        """Write in slices; `since` is when the first change was committed, `spent` the loop time
        that this fan-out has taken so far."""
        started = perf_counter()
        stop_at = started + SLICE_SECONDS
        for outlet, data, count in writes:
            if outlet in self._readers:
                self._write(outlet, data, count)
            if perf_counter() > stop_at:
                spent += perf_counter() - started
                asyncio.get_running_loop().call_soon(self._send, writes, since, spent)
                return
        now = perf_counter()
        if self._readers:
            self.lag.observe(now - since)
        self._free_at = now + spent + (now - started)
        if self._pending:
            self._schedule_flush()
        else:
            self._flushing = False

    def _write_events(self, reader: Reader, events: Sequence[Event]) -> None:
        self._write(reader.outlet, reader.outlet.encoding.join(events), len(events))

    def _write(self, outlet: Outlet, data: bytes, count: int) -> None:
        try:
            outlet.write(data)
        except Exception:
            log.exception("a stream could not be written and is closed")
            self._close(self._readers[outlet], CLOSE_INTERNAL, "internal error", "failure")
            return
        self.deliveries += count

    def _writes(
        self, changes: Sequence[Change | Forgotten | EpochRaised]
    ) -> Iterator[tuple[Outlet, bytes, int]]:
        """Decide and encode now; the writes themselves are made as the iterator is drawn."""
        if self._partial and any(self._is_hidden(change) for change in changes):
            for reader in list(self._partial):
                self._close(reader, CLOSE_TRY_AGAIN, "pull required", "partial")
        shared: list[Event] = []
        own: dict[Group, list[Event]] = {}
        personal: dict[Reader, list[Event]] = {}
        for change in changes:
            if isinstance(change, Change):
                self._route(change, shared, own)
            elif isinstance(change, Forgotten):
                self._route_forgotten(change, personal)
        plans: list[Plan] = []
        alike: list[Outlet] = []
        for group in self._audiences:
            mine = own.get(group)
            if group.identity.is_admin:
                plans.append((list(group.outlets), mine or []))
            elif mine is None:
                alike.extend(group.outlets)
            else:
                plans.append((list(group.outlets), merge(shared, mine)))
        plans.append((alike, shared))
        if personal:
            apart = {reader.outlet: events for reader, events in personal.items()}
            plans = with_personal(plans, apart)
        return self._draw([plan for plan in plans if plan[1]])

    def _draw(self, plans: Iterable[Plan]) -> Iterator[tuple[Outlet, bytes, int]]:
        for outlets, events in plans:
            for place, part in enumerate(parts(events)):
                made: dict[object, bytes] = {}
                for outlet in outlets:
                    reader = self._readers.get(outlet)
                    if reader is None:
                        continue
                    # Asked once a turn: what this turn writes is no sign of a slow reader.
                    if place == 0 and outlet.backlog() > limits.OUTBOX_BYTES_MAX:
                        self._close(reader, CLOSE_TRY_AGAIN, "reader too slow", "slow")
                        continue
                    data = made.get(outlet.encoding)
                    if data is None:
                        data = made[outlet.encoding] = outlet.encoding.join(part)
                    yield outlet, data, len(part)

    def _route(self, change: Change, shared: list[Event], own: dict[Group, list[Event]]) -> None:
        """Find out who is told what of one change."""
        rule = self._audiences.rule(change.entity)
        if rule is None:
            return
        made: Made = {}
        for reader in self._joining:
            if change.seq <= reader.floor:
                continue  # replayed already
            kind = told_live(rule, reader.identity, change, reader.lookup)
            payload = self._json.of(change, kind, is_admin=reader.identity.is_admin, made=made)
            if payload is not None:
                self._queue(reader, (change.seq, payload))
        if not rule.audience.attributes:
            # Everybody but administrators sees the same: decided once, one buffer for all.
            kind = told_live(rule, ANONYMOUS, change, self._audiences.public)
            payload = self._json.of(change, kind, is_admin=False, made=made)
            if payload is not None:
                shared.append((change.seq, payload))
        for group in self._audiences.concerned(rule, change):
            kind = told_live(rule, group.identity, change, group.lookup)
            payload = self._json.of(change, kind, is_admin=group.identity.is_admin, made=made)
            if payload is not None:
                own.setdefault(group, []).append((change.seq, payload))

    def _is_hidden(self, change: Change | Forgotten | EpochRaised) -> bool:
        """Whether the public is not told all that others may be told of a change."""
        if not isinstance(change, Change):
            return True
        rule = self._audiences.rule(change.entity)
        if rule is None:
            return False
        # A row that the public must forget may still be there for others.
        kind = told_live(rule, ANONYMOUS, change, self._audiences.public)
        return kind is None or (kind == "delete" and change.after is not None)

    def _route_forgotten(self, forgotten: Forgotten, personal: dict[Reader, list[Event]]) -> None:
        """Tell the sockets of one client, and nobody else, to drop a temporary row."""
        readers = self._by_caller.get(forgotten.reader)
        if not readers:
            return
        event = (forgotten.seq, forgotten.to_json())
        for reader in readers:
            if reader.group is None:
                self._queue(reader, event)
            else:
                personal.setdefault(reader, []).append(event)

    def _queue(self, reader: Reader, event: Event) -> None:
        """Keep or send an event for a reader that is not live yet."""
        if event[0] <= reader.floor:
            return
        if reader.joining:
            reader.queued.append(event)
        else:
            self._write_events(reader, [event])

    # --- readers that stopped reading --------------------------------------------------------

    def _is_full(self, reader: Reader) -> bool:
        return reader.outlet.backlog() > limits.OUTBOX_BYTES_MAX

    def _schedule_sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        now = perf_counter()
        behind: list[tuple[int, Reader]] = []
        for reader in list(self._readers.values()):
            backlog = reader.outlet.backlog()
            if now - reader.waits_since(now, backlog) > limits.OUTBOX_SECONDS_MAX:
                self._close(reader, CLOSE_TRY_AGAIN, "reader too slow", "slow")
                continue
            queued = sum(len(payload) for _, payload in reader.queued)
            if queued > limits.JOINING_BYTES_MAX:
                self._close(reader, CLOSE_TRY_AGAIN, "too much to replay", "slow")
            elif backlog + queued:
                behind.append((backlog + queued, reader))
        self._relieve(behind)
        self._sweeper = None
        if self._readers:
            self._schedule_sweep()

    def _relieve(self, behind: list[tuple[int, Reader]]) -> None:
        """Close those that are furthest behind when all of them together keep too much.

        Readers of one group wait for the same buffers, so of each group the furthest counts.
        """
        behind.sort(key=lambda each: -each[0])
        sizes: dict[object, deque[int]] = {}
        for size, reader in behind:
            sizes.setdefault(_sharing(reader), deque()).append(size)
        total = sum(of_group[0] for of_group in sizes.values())
        for size, reader in behind:
            if total <= limits.OUTBOX_TOTAL_BYTES_MAX:
                return
            of_group = sizes[_sharing(reader)]
            of_group.popleft()
            total -= size - (of_group[0] if of_group else 0)
            self._close(reader, CLOSE_TRY_AGAIN, "readers too slow", "slow")


def _sharing(reader: Reader) -> object:
    """Equal for readers that are written the same bytes."""
    return reader if reader.group is None else (reader.group, reader.outlet.encoding)
