"""The live hub: after each commit its changes go, in order, to every reader that may see them.

There is one hub per process, and WebSocket and SSE are doors of it. Changes gather for a turn and
each reader gets one write for all of them. A reader that joins is first replayed what it missed,
then goes live at exactly that point. A reader that does not keep up is closed, never skipped.

Not here: what a turn is made of (`routing.py`), the pages of a replay (`replay.py`), the streams
and how they end (`streams.py`), when a turn may begin (`live/budget.py`), the sockets
(`api/live.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from time import perf_counter
from typing import TypeAlias

from msgspec import Struct, field

from pylon import limits
from pylon.changes.epochs import EpochRaised
from pylon.changes.facts import MustPull, SessionChanged, SessionEnded
from pylon.changes.feed import Gap, Message
from pylon.changes.model import Change, Forgotten
from pylon.errors import PylonError
from pylon.http.close_codes import CLOSE_GOING_AWAY, CLOSE_INTERNAL, CLOSE_POLICY, CLOSE_TRY_AGAIN
from pylon.identity import Identity
from pylon.live.budget import Budget
from pylon.live.outlet import Outlet
from pylon.live.slow import SlowReaders
from pylon.live.sockets import FramesOutlet
from pylon.metrics import Histogram
from pylon.policy.lookup import Ask
from pylon.sync.audience import Audiences
from pylon.sync.documents import DocumentHub
from pylon.sync.pull import Puller
from pylon.sync.replay import Replays
from pylon.sync.routing import Routing
from pylon.sync.streams import HubWrite, Reader, Streams
from pylon.tasks import Tasks

LAG_BUCKETS_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Upper edges of the lag's histogram."""

AskSessions: TypeAlias = Callable[[Collection[Identity]], Awaitable[Collection[Identity]]]
"""Those of these callers whose session is over or means another caller by now."""


class _Turn(Struct, kw_only=True):
    """Messages that wait to be routed together; or a gap, which stands alone."""

    seq: int = 0
    """The position of the log's end after them."""
    since: float = 0.0
    """When the first of them was heard (`perf_counter`)."""
    messages: list[Message] = field(default_factory=list)
    gap: Gap | None = None
    is_gathered: bool = False
    """Whether what the read rules ask for it has been fetched, if anything."""


class Hub:
    """Fans commits out to readers. All of it runs on the loop."""

    def __init__(
        self,
        audiences: Audiences,
        puller: Puller,
        private_fields: Mapping[str, frozenset[str]],
        documents: DocumentHub | None = None,
        *,
        budget: Budget,
        slow: SlowReaders,
        ask_sessions: AskSessions | None = None,
    ) -> None:
        """`ask_sessions` is needed where the feed may have gaps; None: sessions never end."""
        self._audiences = audiences
        self._documents = documents
        self._ask_sessions = ask_sessions
        self._streams = Streams(audiences, slow, documents)
        self._routing = Routing(self._streams, audiences, private_fields)
        self._replays = Replays(self._streams, puller)
        self._tasks = Tasks()
        self._lane = budget.lane(
            "changes",
            self,
            part=limits.CHANGES_SHARE,
            slice_seconds=limits.CHANGES_SLICE_SECONDS,
        )
        self._waiting: deque[_Turn] = deque()
        self._turn = _Turn()
        self._held: _Turn | None = None
        """The turn for which something is fetched, until it begins: no other does before."""
        self.turns_waited = 0
        """Turns before which the database was asked what readers belong to."""
        self._seq = 0
        """Every live reader has been told, or is being told, of all up to here."""
        self.lag = Histogram(LAG_BUCKETS_SECONDS)
        """Seconds from a commit to the last write of its fan-out; the oldest commit of each."""

    # --- figures -----------------------------------------------------------------------------

    @property
    def readers(self) -> int:
        """Open streams."""
        return len(self._streams)

    @property
    def joining(self) -> int:
        """Streams that are being replayed what they missed."""
        return len(self._streams.joining)

    @property
    def groups(self) -> int:
        """Distinct audiences among them."""
        return len(self._audiences)

    @property
    def behind_seconds(self) -> float:
        """How long the oldest commit that is still to be sent has waited; 0 when none is."""
        turn = self._held or (self._waiting[0] if self._waiting else None)
        return 0.0 if turn is None else perf_counter() - turn.since

    @property
    def backlog_bytes(self) -> int:
        """Bytes that all readers together have still to take."""
        return self._streams.backlog_bytes

    @property
    def deliveries(self) -> int:
        """Events written to readers."""
        return self._streams.deliveries

    @property
    def closes(self) -> Mapping[str, int]:
        """Streams that have ended, by reason; `docs/operating-sync.md` lists the reasons."""
        return self._streams.closes

    # --- readers come and go -----------------------------------------------------------------

    def start(self, seq: int) -> None:
        """Begin at the position of the newest commit."""
        self._seq = seq

    async def join(
        self,
        identity: Identity,
        outlet: Outlet,
        since: int | None,
        *,
        shows_all: bool = True,
        may_be_ahead: bool = False,
        address: bytes | None = None,
        began: float | None = None,
    ) -> bool:
        """Open a stream: replay from `since` (None: from now), then live without a gap.

        False when it lies too far back to be replayed, or the client at `address` has to pull; the
        outlet is closed with 1013. A stream
        that does not `shows_all` is closed too as soon as anything happens that it may not show.
        `may_be_ahead` says that the client may be above `since`, and hold rows that a replay from 0
        says nothing of. `address` is where an anonymous one is found by `MustPull`; `began` when
        it was looked up where the stream starts (`perf_counter`): one that had to pull since ends.
        """
        reader = self._streams.open(identity, outlet, shows_all=shows_all, address=address)
        if not self._streams.may_open(address, reader.caller, began):
            self._streams.close(reader, CLOSE_TRY_AGAIN, "pull required", "pull")
            return False
        if self._held is not None:
            # That turn began without this reader, and was committed before it came.
            reader.floor = self._held.seq
        if since is None:
            reader.is_replaying = False
            self._let_live(reader)
        return await self._replay(reader, since, may_be_ahead=may_be_ahead)

    async def _replay(
        self, reader: Reader, since: int | None, *, may_be_ahead: bool = False
    ) -> bool:
        """Replay a joining reader from `since` (None: nothing), then let it go live; False when it
        was closed because it cannot be replayed."""
        try:
            await self._remember(reader)
            if since is None:
                return True
            reader.floor = await self._replays.replay(reader, since, may_be_ahead=may_be_ahead)
        except PylonError as error:
            if self._streams.is_open(reader):
                self._streams.close(reader, CLOSE_TRY_AGAIN, "resync required", error.code.lower())
            return False
        if self._streams.is_open(reader):
            queued = [event for event in reader.queued if event[0] > reader.floor]
            reader.queued = []
            if queued:
                self._streams.write_events(reader, queued)
            reader.is_replaying = False
            self._let_live(reader)
        return True

    async def _remember(self, reader: Reader) -> None:
        """Fetch what the reader belongs to, so that no turn has to wait for it."""
        if self._audiences.asking and not reader.identity.is_admin:
            await reader.lookup.remember(self._audiences.asking, reader.identity)

    def _let_live(self, reader: Reader) -> None:
        """Live once the hub has passed the end of the replay."""
        if self._seq >= reader.floor and self._streams.is_open(reader):
            self._streams.go_live(reader)

    def leave(self, outlet: Outlet, why: str) -> None:
        """The stream has ended, if the hub has not ended it before."""
        self._streams.leave(outlet, why)

    def count_close(self, why: str) -> None:
        """Count the end of a stream that never joined."""
        self._streams.count_close(why)

    def close_session(self, session_id: bytes) -> None:
        """End every stream of a session that was revoked, has expired or means another caller."""
        for reader in list(self._streams.of_caller(session_id)):
            self._streams.close(reader, CLOSE_POLICY, "session ended", "session")

    def close_all(self) -> None:
        """End every stream because the server stops; clients come back to the next one."""
        for reader in self._streams:
            self._streams.close(reader, CLOSE_GOING_AWAY, "server stopping", "shutdown")

    async def close(self) -> None:
        """End every stream, and what is under way."""
        self.close_all()
        await self._tasks.stop()

    # --- what the feed says ------------------------------------------------------------------

    def hear(self, messages: Sequence[Message], seq: int) -> None:
        """Take the messages of a commit (a listener of the feed)."""
        # Without anybody to tell there is no turn: that is a sixth of the calls of a lone write.
        is_deserted = not (len(self._streams) or self._waiting or self._held)
        for message in messages:
            kind = type(message)
            if kind is Change or kind is Forgotten or kind is EpochRaised:
                if not is_deserted:
                    self._filling().messages.append(message)
            elif isinstance(message, SessionEnded | SessionChanged):
                self.close_session(message.session_id)
            elif isinstance(message, MustPull):
                self._streams.must_pull(message.caller)
            elif isinstance(message, Gap):
                gap = _Turn(seq=message.until, since=perf_counter(), gap=message)
                self._waiting.append(gap)
        if is_deserted and not self._waiting:
            self._seq = seq
        elif self._waiting or seq != self._seq:
            self._filling().seq = seq
            self._wake()

    def _wake(self) -> None:
        """Have the next turn begun, unless one is held."""
        if self._held is None:
            self._lane.wake()

    def _filling(self) -> _Turn:
        """The turn that takes what is heard now."""
        last = self._waiting[-1] if self._waiting else None
        if last is None or last.gap is not None or last is self._held:
            last = _Turn(since=perf_counter())
            self._waiting.append(last)
        return last

    # --- turns (`live/budget.Source`) --------------------------------------------------------

    def begin(self) -> Iterator[HubWrite]:
        """Route the next turn; the only place where messages are routed.

        Where its read rules ask something that is not kept, the turn is held until that has been
        fetched, and with it all that follow, so that turns keep their order.
        """
        turn = self._waiting.popleft()
        if turn is self._held:
            self._held = None
        if turn.gap is not None:
            self._begin_gap()
        elif self._must_wait(turn):
            return iter(())
        self._turn = turn
        self._seq = turn.seq
        writes: Iterator[HubWrite] = iter(())
        if len(self._streams) and turn.messages:
            writes = self._routing.route(turn.messages)
            if self._documents is not None:
                writes = chain(writes, self._documents.writes(turn.messages))
        for reader in [each for each in self._streams.joining if not each.is_replaying]:
            self._let_live(reader)
        return writes

    def write(self, to: Outlet | list[FramesOutlet], data: bytes, count: int) -> None:
        """Make one write of a turn."""
        if isinstance(to, list):
            self._streams.write_to_all(to, data, count)
        else:
            self._streams.write(to, data, count)

    def end(self) -> bool:
        """The last write of the turn has been made; whether there is another turn."""
        if len(self._streams) and self._turn.messages:
            self.lag.observe(perf_counter() - self._turn.since)
        self._turn = _Turn()  # the next may be long in coming, and this one holds whole rows
        return self._held is None and bool(self._waiting)

    def _must_wait(self, turn: _Turn) -> bool:
        """Whether something has to be fetched before this turn; it is fetched then."""
        if turn.is_gathered or not (len(self._streams) and turn.messages):
            return False
        asks = self._routing.asks(turn.messages)
        if self._documents is not None and self._audiences.asking:
            asks = [*asks, *self._documents.asks(turn.messages)]
        if asks:
            self._held = turn
            self.turns_waited += 1
            self._tasks.start("gather for a turn", self._gather(turn, asks))
        return bool(asks)

    async def _gather(self, turn: _Turn, asks: Sequence[Ask]) -> None:
        """Go on with a turn when what it needs has been fetched. Meanwhile readers may leave, and
        those that come wait for its end; without an answer all streams are closed."""
        try:
            await self._routing.fetch(asks)
            turn.is_gathered = True
        finally:
            if not turn.is_gathered:
                self.fail()
                turn.is_gathered = True
            self._waiting.appendleft(turn)
            self._lane.wake()  # it is held until it begins

    def fail(self) -> None:
        """Who may not have heard of a change must not go on as if there had been none."""
        for reader in self._streams:
            self._streams.close(reader, CLOSE_INTERNAL, "internal error", "failure")

    # --- gaps --------------------------------------------------------------------------------

    def _begin_gap(self) -> None:
        """Take every reader back to joining, since its next change may be one that was missed.

        Between two turns, so all that was heard before has been written. Readers that are being
        replayed read on until their pages hold what was missed (`replay.py`).
        """
        self._replays.note_gap()
        behind: list[Reader] = []
        for reader in self._streams:
            if not reader.is_replaying:
                self._streams.suspend(reader, max(reader.floor, self._seq))
                behind.append(reader)
        self._audiences.forget_public()
        for reader in behind:
            reader.lookup = self._audiences.lookup(reader.identity)
        if self._documents is not None:
            self._documents.ask_anew()
        self._tasks.start("replay after a gap", self._catch_up(behind))

    async def _catch_up(self, readers: Sequence[Reader]) -> None:
        """Ask whose sessions are over, then replay the readers one after another, half of the time
        at most. One that cannot be is closed, and comes back."""
        left, are_asked = deque(readers), False
        try:
            if self._ask_sessions is not None:
                over = set(await self._ask_sessions({each.identity for each in self._streams}))
                for reader in self._streams:
                    if reader.identity in over:
                        self._streams.close(reader, CLOSE_POLICY, "session ended", "session")
            are_asked = True
            while left:
                started = perf_counter()
                if self._streams.is_open(left[0]):
                    await self._replay(left[0], left[0].floor)
                left.popleft()
                await asyncio.sleep(perf_counter() - started)
        finally:
            # When it fails or is cancelled, nobody goes on who may have missed something.
            for reader in left if are_asked else self._streams:
                if self._streams.is_open(reader):
                    self._streams.close(reader, CLOSE_TRY_AGAIN, "resync required", "gap")
