"""The open streams of the hub: one `Reader` each, found by outlet and by caller, and how they end.

Knows nothing of changes; `hub.py` says who joins, `routing.py` what each is written.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from time import perf_counter
from typing import TypeAlias

from pylon.changes.epochs import subjects_of
from pylon.http.close_codes import CLOSE_INTERNAL, CLOSE_TRY_AGAIN
from pylon.identity import Identity, caller_key
from pylon.live.outlet import Event, Outlet
from pylon.live.slow import SlowReaders
from pylon.live.sockets import FramesOutlet, write_to_all
from pylon.policy.lookup import Lookup
from pylon.sync.audience import Audiences, Group
from pylon.sync.documents import DocumentHub

log = logging.getLogger("pylon.sync")

HubWrite: TypeAlias = tuple[Outlet | list[FramesOutlet], bytes, int]
"""A stream or some WebSockets, the bytes of one write to each, and how many messages they are."""

TURNED_MAX = 10_000
"""Callers remembered that had to pull."""

TURNED_SECONDS = 60.0
"""How long: a stream that was allowed before has opened by then."""


class Reader:
    """One open stream and where it is in the log.

    joining (`is_replaying`, events are queued) -> waiting (they are written at once) -> live (in a
    group). A gap in the feed takes it back to joining.
    """

    __slots__ = (
        "_give_up",
        "caller",
        "floor",
        "group",
        "identity",
        "is_replaying",
        "lookup",
        "outlet",
        "queued",
        "shows_all",
        "subjects",
    )

    def __init__(
        self,
        identity: Identity,
        outlet: Outlet,
        *,
        lookup: Lookup,
        shows_all: bool,
        caller: bytes | None,
        give_up: Callable[[Reader, str], None],
    ) -> None:
        self.identity = identity
        self.lookup = lookup
        """What it belongs to; its group's once it is live."""
        self.shows_all = shows_all
        """False: the client may see more than this stream shows; see `Hub.join`."""
        self.caller = caller
        """Whose stream it is: `identity.caller_key`, or the address of nobody by name that goes on
        past what it may not show (`positions.caller_at`); None where neither matters."""
        self.subjects = subjects_of(identity)
        self.outlet = outlet
        self.group: Group | None = None
        """Those that it hears changes with once it is live."""
        self.is_replaying = True
        self.floor = 0
        """Events up to this position have been replayed and are not sent again."""
        self.queued: list[Event] = []
        """Live events that came during its replay."""
        self._give_up = give_up

    def kept_bytes(self) -> int:
        """Bytes of the events that wait for the end of its replay."""
        return sum(len(payload) for _, payload in self.queued)

    def shared_with(self) -> Hashable:
        """Equal for readers that are written the same bytes."""
        return self if self.group is None else (self.group, self.outlet.encoding)

    def give_up(self, reason: str) -> None:
        """It takes too little: end it."""
        self._give_up(self, reason)


class Streams:
    """All of them. Runs on the loop."""

    def __init__(
        self, audiences: Audiences, slow: SlowReaders, documents: DocumentHub | None
    ) -> None:
        self._audiences = audiences
        self._slow = slow
        self._documents = documents
        self._readers: dict[Outlet, Reader] = {}
        self.find: Callable[[Outlet], Reader | None] = self._readers.get
        """The open stream of an outlet. Asked for every write, so not a method of ours."""
        self._by_caller: dict[bytes, set[Reader]] = {}
        self._turned: OrderedDict[bytes, float] = OrderedDict()
        self.joining: set[Reader] = set()
        """Those that are not live yet."""
        self.partial: set[Reader] = set()
        """Those that do not show all that their clients may see."""
        self.deliveries = 0
        """Events written."""
        self.closes: dict[str, int] = {}
        """Streams that have ended, by reason; `docs/operating-sync.md` lists the reasons."""

    def __len__(self) -> int:
        return len(self._readers)

    def __iter__(self) -> Iterator[Reader]:
        """Over those that are open now; they may be closed meanwhile."""
        return iter(list(self._readers.values()))

    @property
    def backlog_bytes(self) -> int:
        """Bytes that all readers together have still to take."""
        return sum(outlet.backlog() for outlet in self._readers)

    def is_open(self, reader: Reader) -> bool:
        """Whether it has not ended meanwhile."""
        return self._readers.get(reader.outlet) is reader

    def of_caller(self, caller: bytes) -> Collection[Reader]:
        """The streams of one client (`Reader.caller`)."""
        return self._by_caller.get(caller, ())

    # --- they come and go --------------------------------------------------------------------

    def open(
        self, identity: Identity, outlet: Outlet, *, shows_all: bool, address: bytes | None = None
    ) -> Reader:
        """A stream that is not live yet; `address` as in `Hub.join`."""
        reader = Reader(
            identity,
            outlet,
            lookup=self._audiences.lookup(identity),
            shows_all=shows_all,
            caller=caller_key(identity) or address,
            give_up=self._give_up,
        )
        self._readers[outlet] = reader
        self.joining.add(reader)
        if reader.caller is not None:
            self._by_caller.setdefault(reader.caller, set()).add(reader)
        if not shows_all:
            self.partial.add(reader)
        self._slow.add(reader)
        return reader

    def go_live(self, reader: Reader) -> None:
        """From now on it hears changes with its group."""
        self.joining.discard(reader)
        reader.is_replaying = False
        reader.group = self._audiences.join(reader.identity, reader.outlet, reader.lookup)
        reader.lookup = reader.group.lookup

    def suspend(self, reader: Reader, position: int) -> None:
        """Back to joining, from this position on."""
        if reader.group is not None:
            self._audiences.leave(reader.group, reader.outlet)
            reader.group = None
        reader.is_replaying = True
        reader.floor = position
        self.joining.add(reader)

    def close(self, reader: Reader, code: int, reason: str, why: str) -> None:
        """End an open stream; `why` is the word that it is counted under."""
        self.count_close(why)
        self._remove(reader)
        reader.outlet.close(code, reason)

    def leave(self, outlet: Outlet, why: str) -> None:
        """Its client has ended the stream, if it has not been ended here before."""
        reader = self._readers.get(outlet)
        if reader is not None:
            self.count_close(why)
            self._remove(reader)

    def count_close(self, why: str) -> None:
        """Count the end of a stream."""
        self.closes[why] = self.closes.get(why, 0) + 1

    def _give_up(self, reader: Reader, reason: str) -> None:
        self.close(reader, CLOSE_TRY_AGAIN, reason, "slow")

    def _remove(self, reader: Reader) -> None:
        outlet = reader.outlet
        del self._readers[outlet]
        self._slow.discard(reader)
        if self._documents is not None:
            self._documents.leave(outlet)
        self.joining.discard(reader)
        self.partial.discard(reader)
        if reader.caller is not None:
            of_caller = self._by_caller[reader.caller]
            of_caller.discard(reader)
            if not of_caller:
                del self._by_caller[reader.caller]
        if reader.group is not None:
            self._audiences.leave(reader.group, outlet)

    # --- callers that must pull --------------------------------------------------------------

    def must_pull(self, caller: bytes) -> None:
        """End the streams of a caller, and, where it is an address, those that are about to open:
        another process may have allowed them before this was heard."""
        self._turned[caller] = perf_counter()
        if len(self._turned) > TURNED_MAX:
            self._turned.popitem(last=False)
        for reader in list(self.of_caller(caller)):
            self.close(reader, CLOSE_TRY_AGAIN, "pull required", "pull")

    def may_open(self, address: bytes | None, caller: bytes | None, began: float | None) -> bool:
        """Whether a stream may open that was allowed before: one of nobody by name goes on past
        what it may not show, and any caller may have had to pull since it `began`."""
        if not self._turned:
            return True
        turned = None if address is None else self._turned.get(address)
        if turned is not None and perf_counter() - turned <= TURNED_SECONDS:
            return False
        turned = None if caller is None or began is None else self._turned.get(caller)
        return turned is None or began is None or turned < began

    # --- they are written to -----------------------------------------------------------------

    def write(self, outlet: Outlet, data: bytes, count: int) -> None:
        """Write to a stream, if it is still open; one that fails is closed."""
        self._write(outlet, outlet.write, data, count)

    def write_to_all(self, outlets: Sequence[FramesOutlet], data: bytes, count: int) -> None:
        """The same for each of several WebSockets."""

        def write_rest(outlet: FramesOutlet, rest: bytes) -> None:
            self._write(outlet, outlet.write_rest, rest, count)

        # In two steps: `write_rest` counts as well, and `+=` reads before it calls.
        taken = write_to_all(outlets, data, write_rest)
        self.deliveries += count * taken

    def _write(
        self, outlet: Outlet, write: Callable[[bytes], None], data: bytes, count: int
    ) -> None:
        if outlet not in self._readers:
            return
        try:
            write(data)
        except Exception:
            log.exception("a stream could not be written and is closed")
            self.close(self._readers[outlet], CLOSE_INTERNAL, "internal error", "failure")
            return
        self.deliveries += count

    def write_events(self, reader: Reader, events: Sequence[Event]) -> None:
        """Write events to one reader alone."""
        self.write(reader.outlet, reader.outlet.encoding.join(events), len(events))

    def queue(self, reader: Reader, event: Event) -> None:
        """Keep an event for a reader that is not live yet, or write it where its replay is over."""
        if event[0] <= reader.floor:
            return
        if reader.is_replaying:
            reader.queued.append(event)
        else:
            self.write_events(reader, [event])
