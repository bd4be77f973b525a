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
from dataclasses import dataclass, field
from itertools import chain
from time import perf_counter
from typing import TypeAlias

from pylon import limits
from pylon.changes.epochs import EpochRaised
from pylon.changes.facts import SessionChanged, SessionEnded
from pylon.changes.feed import Gap, Message
from pylon.changes.model import Change, Forgotten
from pylon.errors import PylonError
from pylon.identity import Identity
from pylon.live.budget import Budget, Write
from pylon.live.outlet import Outlet
from pylon.live.slow import SlowReaders
from pylon.metrics import Histogram
from pylon.sync.audience import Audiences
from pylon.sync.documents import DocumentHub
from pylon.sync.pull import Puller
from pylon.sync.replay import Replays
from pylon.sync.routing import Routing
from pylon.sync.streams import Reader, Streams
from pylon.tasks import Tasks
from pylon.wire.close_codes import GOING_AWAY, INTERNAL, POLICY, TRY_AGAIN

LAG_BUCKETS_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Upper edges of the lag's histogram."""

AskSessions: TypeAlias = Callable[[Collection[Identity]], Awaitable[Collection[Identity]]]
"""Those of these callers whose session is over or means another caller by now."""


@dataclass(slots=True, kw_only=True)
class _Turn:
    """Messages that wait to be routed together; or a gap, which stands alone."""

    seq: int = 0
    """The position of the log's end after them."""
    since: float = 0.0
    """When the first of them was heard (`perf_counter`)."""
    messages: list[Message] = field(default_factory=list)
    gap: Gap | None = None


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
        self.write: Callable[[Outlet, bytes, int], None] = self._streams.write
        """Makes one write of a turn; the streams' own, without a step between."""
        self._lane = budget.lane(
            "changes",
            self,
            part=limits.CHANGES_SHARE,
            slice_seconds=limits.CHANGES_SLICE_SECONDS,
        )
        self._waiting: deque[_Turn] = deque()
        self._turn = _Turn()
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
    ) -> bool:
        """Open a stream: replay from `since` (None: from now), then live without a gap.

        False when it lies too far back to be replayed; the outlet is closed with 1013. A stream
        that does not `shows_all` is closed too as soon as anything happens that it may not show.
        `may_be_ahead` says that the client may be above `since`, and hold rows that a replay from 0
        says nothing of.
        """
        reader = self._streams.open(identity, outlet, shows_all=shows_all)
        if since is None:
            self._streams.go_live(reader)
            return True
        return await self._replay(reader, since, may_be_ahead=may_be_ahead)

    async def _replay(self, reader: Reader, since: int, *, may_be_ahead: bool = False) -> bool:
        """Replay a joining reader from `since`, then let it go live; False when it was closed
        because it cannot be replayed."""
        try:
            reader.floor = await self._replays.replay(reader, since, may_be_ahead=may_be_ahead)
        except PylonError as error:
            if self._streams.is_open(reader):
                self._streams.close(reader, TRY_AGAIN, "resync required", error.code.lower())
            return False
        if self._streams.is_open(reader):
            queued = [event for event in reader.queued if event[0] > reader.floor]
            reader.queued = []
            if queued:
                self._streams.write_events(reader, queued)
            reader.is_replaying = False
            self._let_live(reader)
        return True

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
            self._streams.close(reader, POLICY, "session ended", "session")

    def close_all(self) -> None:
        """End every stream because the server stops; clients come back to the next one."""
        for reader in self._streams:
            self._streams.close(reader, GOING_AWAY, "server stopping", "shutdown")

    async def close(self) -> None:
        """End every stream, and what is under way."""
        self.close_all()
        await self._tasks.stop()

    # --- what the feed says ------------------------------------------------------------------

    def hear(self, messages: Sequence[Message], seq: int) -> None:
        """Take the messages of a commit (a listener of the feed)."""
        for message in messages:
            kind = type(message)
            if kind is Change or kind is Forgotten or kind is EpochRaised:
                self._gathering().messages.append(message)
            elif isinstance(message, SessionEnded | SessionChanged):
                self.close_session(message.session_id)
            elif isinstance(message, Gap):
                self._waiting.append(_Turn(seq=message.until, gap=message))
        if self._waiting or seq != self._seq:
            self._gathering().seq = seq
            self._lane.wake()

    def _gathering(self) -> _Turn:
        """The turn that takes what is heard now."""
        if not self._waiting or self._waiting[-1].gap is not None:
            self._waiting.append(_Turn(since=perf_counter()))
        return self._waiting[-1]

    # --- turns (`live/budget.Source`) --------------------------------------------------------

    def begin(self) -> Iterator[Write]:
        """Route the next turn.

        The only place where messages are routed. What must be awaited before a turn is routed has
        to be awaited before the lane is woken for it, so that turns keep their order.
        """
        turn = self._turn = self._waiting.popleft()
        if turn.gap is not None:
            self._begin_gap()
        self._seq = turn.seq
        writes: Iterator[Write] = iter(())
        if len(self._streams) and turn.messages:
            writes = self._routing.route(turn.messages)
            if self._documents is not None:
                writes = chain(writes, self._documents.writes(turn.messages))
        for reader in [each for each in self._streams.joining if not each.is_replaying]:
            self._let_live(reader)
        return writes

    def end(self) -> bool:
        """The last write of the turn has been made; whether there is another turn."""
        if len(self._streams) and self._turn.messages:
            self.lag.observe(perf_counter() - self._turn.since)
        return bool(self._waiting)

    def fail(self) -> None:
        """Who may not have heard of a change must not go on as if there had been none."""
        for reader in self._streams:
            self._streams.close(reader, INTERNAL, "internal error", "failure")

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
                        self._streams.close(reader, POLICY, "session ended", "session")
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
                    self._streams.close(reader, TRY_AGAIN, "resync required", "gap")
