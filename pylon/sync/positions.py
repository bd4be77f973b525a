"""Where each client's pulls have got to, so that a live stream can start just there.

The official client pulls, then connects, and says nothing of its cursor; what is written between
the two would be lost. So the hub replays from the lowest position that the client's pulls (one a
tab) have lately been given. In memory, bounded; a client of whom nothing is known any more is
sent back to pull, so forgetting never costs an event. In two processes: kept by the owner of the
database alone, and asked for by the others (`whereabouts.py`).

The same memory tells a cursor that is not its client's: one above all that this client's pulls and
streams were ever given has come from somebody else, by a stream that showed less or by a sign-in
before, and rows of its own may lie below it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, TypeAlias

from msgspec import Struct, field

from pylon.clock import Clock

RECENT_SECONDS = 60.0
"""A tab that connects later than this after its pull counts only if no tab has pulled since."""

LOST_SECONDS = 600.0
"""How long a lost stream counts: its client may connect again although its pull was lost too."""

CALLERS_MAX = 20_000
"""Callers remembered; the stalest goes first."""

TABS_MAX = 32
"""Pulls remembered per caller; of more, the two oldest become one."""


StreamKind: TypeAlias = Literal["own", "passing", "public"]
"""What a stream's positions are worth: to its own client, which is shown all that it may see or is
sent to pull; or to nobody but the public, by what is known or by what its client says."""

_ADDRESS = b"\xff@"
"""How the keys of addresses begin; no user's id in UTF-8 does."""


def caller_at(address: str) -> bytes:
    """The caller that a client address is: all who are there, and those of whom no more is known.

    (By the whole address; what is shared out goes by `asking.address_key`.)"""
    return _ADDRESS + address.encode("utf-8", "surrogatepass")


class _Given(Struct):
    """What streams were given: everything up to `until`, and without end while one is open. The
    first began when the log was at `since`."""

    open: int = 0
    since: int = 0
    until: int = 0

    def begin(self, position: int) -> None:
        if not (self.open or self.until):
            self.since = position
        self.open += 1

    def end(self, position: int) -> None:
        self.open = max(0, self.open - 1)
        self.until = max(self.until, position)

    def covers(self, position: int) -> bool:
        return self.open > 0 or position <= self.until

    def moved(self, position: int) -> bool:
        """Whether this may be where one of them has moved a cursor."""
        return self.since < position and self.covers(position)


class _Caller(Struct):
    """What is known of a session, or of an address."""

    pulls: list[_Pull] = field(default_factory=list)
    is_named: bool = False
    """Whether somebody with an identity has pulled."""
    pulled_to: int = 0
    """The highest position that its pulls were given; of an address, those of nobody by name."""
    named_to: int = 0
    """Of an address: the highest that callers with an identity were given there."""
    streams: _Given = field(default_factory=_Given)
    """Those that end before what they may not show; of a session, all."""
    passing: _Given = field(default_factory=_Given)
    """Of an address: those that go on past what they may not show, for all that is known."""
    turned_at: int = 0
    """Of an address: where those have ended, because somebody by name has come to pull there."""
    public: _Given = field(default_factory=_Given)
    """Those that do because their clients say that they pull as nobody."""
    void_to: int = 0
    """No cursor up to here is good, but for ends of pages that are not in doubt (`doubt`)."""
    doubts: int = 0
    """Starts from 0 that are in doubt and have not been given a page yet."""
    renewals: int = 0
    """Starts from 0 that are to come since a cursor in doubt was refused."""

    def given(self, kind: StreamKind) -> _Given:
        if kind == "own":
            return self.streams
        return self.passing if kind == "passing" else self.public

    @property
    def highest(self) -> int:
        streams = max(self.streams.until, self.passing.until, self.public.until)
        return max(self.pulled_to, self.named_to, streams)


class _Pull(Struct):
    """One tab: the position that its last page ended at, or that its lost stream started from."""

    until: int
    at: float
    whole_from: int = 0
    has_more: bool = False
    is_lost: bool = False
    is_spent: bool = False
    """Whether a stream has been opened on it."""
    is_void: bool = False
    """Whether it lies too far back for a stream to start there."""
    is_awaited: bool = False
    """Whether it became void before its stream was opened, so that its tab has to pull again."""
    is_doubtful: bool = False
    """Whether another user's stream may have written to its tab meanwhile (`Positions.doubt`)."""

    def is_recent(self, now: float) -> bool:
        return now - self.at <= (LOST_SECONDS if self.is_lost else RECENT_SECONDS)


class Positions:
    """The latest pulls by caller: a session, or a client address (`pulls.py` says which)."""

    def __init__(self, clock: Clock, *, floor: int = 0) -> None:
        """`floor` is where the log was when this began: who was given what below it is unknown."""
        self.now = clock.monotonic
        self._started = clock.monotonic()
        self._floor = floor
        self._by_caller: OrderedDict[bytes, _Caller] = OrderedDict()

    @property
    def is_young(self) -> bool:
        """Whether clients that pulled before this was started may still come to connect."""
        return self.now() - self._started < RECENT_SECONDS

    def __len__(self) -> int:
        return len(self._by_caller)

    def pulled(
        self,
        caller: bytes,
        *,
        since: int,
        until: int,
        whole_from: int = 0,
        named: bool = True,
        has_more: bool = False,
    ) -> None:
        """A pull of this caller moved from `since` to `until`; one that failed stayed there.

        `whole_from` and `has_more` are what `PullPage` says, `named` whether it was anybody's but
        the public's.
        """
        known = self._known(caller)
        known.is_named = known.is_named or named
        if until > since:  # else nothing was given: `since` is what the client says
            if named and caller.startswith(_ADDRESS):
                known.named_to = max(known.named_to, until)
            else:
                known.pulled_to = max(known.pulled_to, until)
        pulls = known.pulls
        arrived = self._arrived(pulls, since, until)
        is_doubtful = False
        if arrived is not None:
            pulls.remove(arrived)
            is_doubtful = arrived.is_doubtful
        elif known.doubts and not since and named != caller.startswith(_ADDRESS):
            known.doubts -= 1
            is_doubtful = True
        behind = [each for each in pulls if each.is_lost and each.is_void]
        if behind:
            pulls.remove(behind[-1])
        pulls.append(_Pull(until, self.now(), whole_from, has_more, is_doubtful=is_doubtful))
        _bound(pulls)

    def _known(self, caller: bytes) -> _Caller:
        """What is known of a caller, who has just been heard of."""
        known = self._by_caller.get(caller)
        if known is None:
            known = self._by_caller[caller] = _Caller()
            if len(self._by_caller) > CALLERS_MAX:
                _, gone = self._by_caller.popitem(last=False)
                self._floor = max(self._floor, gone.highest)
        else:
            self._by_caller.move_to_end(caller)
        return known

    def _pulls(self, caller: bytes) -> list[_Pull]:
        known = self._by_caller.get(caller)
        return [] if known is None else known.pulls

    def _arrived(self, pulls: list[_Pull], since: int, until: int) -> _Pull | None:
        """The tab that presents this position: the one that was given it, else one whose stream
        has ended. It may have been any of these, so the lowest are kept.

        Every new tab presents 0, so moving on from there is no sign that another one has.
        """
        if not since and until:
            return None
        given = [each for each in pulls if each.until == since and not each.is_lost]
        if given:
            # Another tab at this position may have pulled: a word that one has to stays longest.
            return min(given, key=lambda each: each.is_awaited)
        lost = [each for each in pulls if each.is_lost and not each.is_void and each.until <= since]
        return max(lost, key=lambda each: each.until, default=None)

    def lost(self, caller: bytes, start: int) -> None:
        """A stream that had started at `start` has ended; how much of it arrived is unknown."""
        pulls = self._pulls(caller)
        if pulls:
            pulls.append(_Pull(start, self.now(), is_lost=True))
            _bound(pulls)

    def whole_from(self, caller: bytes, position: int) -> int:
        """From where on the history behind this position is complete, if it was given out by a
        pull that started at 0; else 0."""
        pulls = self._pulls(caller)
        return max((each.whole_from for each in pulls if each.until == position), default=0)

    def take_start(self, caller: bytes) -> int | None:
        """The position from which a new stream of this caller must start; None if unknown.

        Each pull pays for one stream. A stream without one belongs to a tab whose pull never
        arrived: nobody knows where that tab is, so it starts at 0.
        """
        pulls = self._pulls(caller)
        unspent = [each for each in pulls if not (each.is_lost or each.is_spent)]
        if unspent:
            # A tab in doubt rather pulls again: its pull is used up last, and stays in doubt, since
            # nobody knows which one has opened this stream.
            min(unspent, key=lambda each: each.is_doubtful).is_spent = True
            return self.start_of(caller)
        return 0 if pulls else None

    def start_of(self, caller: bytes) -> int | None:
        """The lowest position that any tab of this caller may be at; None if unknown."""
        pulls = [each for each in self._pulls(caller) if not each.is_void]
        if not pulls:
            return None
        now = self.now()
        recent = [each.until for each in pulls if each.is_recent(now)]
        if not recent:
            # Tabs of a machine that slept all pulled long ago, but at about the same time.
            newest = pulls[-1].at
            recent = [each.until for each in pulls if each.is_recent(newest)]
        return min(recent)

    def is_named(self, caller: bytes) -> bool:
        """Whether somebody with an identity has pulled as this caller."""
        known = self._by_caller.get(caller)
        return known is not None and known.is_named

    def forget(self, caller: bytes, position: int) -> None:
        """A stream could not start at this position: it lies too far back, and whoever is there or
        below has to pull."""
        pulls = self._pulls(caller)
        if not pulls:
            return
        for each in pulls:
            if each.until <= position:
                each.is_awaited = each.is_awaited or not (each.is_lost or each.is_spent)
                each.is_void = each.is_spent = True
        pulls.append(_Pull(position, self.now(), is_lost=True, is_void=True))
        _bound(pulls)

    def is_behind(self, caller: bytes) -> bool:
        """Whether some tab has to pull before a stream of this caller can start: each that was too
        far back, once. Nobody can tell which tab it is that opens a stream."""
        now = self.now()
        return any(
            (each.is_awaited or (each.is_lost and each.is_void)) and each.is_recent(now)
            for each in self._pulls(caller)
        )

    # --- whose cursor it is ------------------------------------------------------------------

    def name(self, address: bytes) -> None:
        """Somebody with an identity is about to pull there."""
        self._known(address).is_named = True

    def opened(self, caller: bytes, kind: StreamKind, position: int) -> bool:
        """A stream of this caller begins, and gives what comes after `position`. False where it
        must not: somebody has come to pull by name while it was being opened."""
        known = self._known(caller)
        if kind == "passing" and known.is_named:
            return False
        known.given(kind).begin(position)
        return True

    def closed(self, caller: bytes, kind: StreamKind, position: int) -> None:
        """It has ended, while the log was at `position`."""
        known = self._by_caller.get(caller)
        if known is None:
            self._floor = max(self._floor, position)
            return
        if kind == "passing" and known.turned_at:
            position = min(position, known.turned_at - 1)
        known.given(kind).end(position)

    def must_turn(self, address: bytes) -> bool:
        """Whether streams there have gone on past what they may not show, and may be those of
        somebody who has now come to pull by name."""
        known = self._by_caller.get(address)
        if known is None or known.turned_at:
            return False
        return known.passing.open > 0 or known.passing.until > 0

    def turn(self, address: bytes, position: int) -> None:
        """Such streams have ended before `position`, which no cursor from them can reach."""
        known = self._by_caller.get(address)
        if known is not None and not known.turned_at:
            known.turned_at = position
            known.passing.open, known.passing.until = 0, position - 1

    def is_given(self, caller: bytes, address: bytes, position: int) -> bool:
        """Whether this caller may have been given this position, as far as is known.

        A session: by its pulls, its streams, or those of its address that end before what they may
        not show; where others may have moved its cursor, only by a page that others follow.
        An address: not if only callers by name have been given it there.
        """
        if position <= self._floor:
            return True
        known, here = self._by_caller.get(caller), self._by_caller.get(address)
        if caller == address:
            return (
                here is None
                or not here.pulled_to < position <= here.named_to
                or here.streams.covers(position)
                or here.passing.covers(position)
                or here.public.covers(position)
            )
        if here is not None and here.passing.moved(position):
            given = () if known is None else known.pulls
            return any(each.until == position and each.has_more for each in given)
        if here is not None and here.streams.covers(position):
            return True
        return known is not None and (position <= known.pulled_to or known.streams.covers(position))

    def doubt(self, caller: bytes, position: int) -> None:
        """This caller begins from 0 where streams of others were open, which have ended before
        `position`. Its tab may be one that has heard them, and have moved its cursor by them, or
        got rows from them while its pages were on their way.

        When it pulls again, it has to begin anew (`is_void`): by then it has heard the end of the
        other stream. One that opens a stream next is another, and goes on.
        """
        known = self._known(caller)
        known.void_to = max(known.void_to, position)
        known.doubts += 1

    def is_void(self, caller: bytes, position: int) -> bool:
        """Whether a cursor may be that of a tab in doubt; it begins anew then."""
        known = self._by_caller.get(caller)
        if known is None or not known.void_to:
            return False
        here = [each for each in known.pulls if each.until == position and not each.is_lost]
        for each in here:
            if each.is_doubtful:
                if not each.has_more:
                    known.pulls.remove(each)
                    known.renewals += 1
                return not each.has_more
        if position > known.void_to or here:
            return False
        known.doubts += 1
        return True

    def renews(self, caller: bytes) -> bool:
        """Whether a start from 0 is one that a refused cursor has led to: its tab's other stream
        has ended."""
        known = self._by_caller.get(caller)
        if known is None or not known.renewals:
            return False
        known.renewals -= 1
        return True

    def restart(self, caller: bytes) -> None:
        """It means another reader from now on: what it was given before is somebody else's."""
        known = self._by_caller.get(caller)
        if known is not None:
            known.pulls.clear()
            known.pulled_to = known.streams.until = 0


def _bound(pulls: list[_Pull]) -> None:
    """Of too many, make the two oldest one."""
    if len(pulls) > TABS_MAX:
        lower, upper = pulls.pop(0), pulls[0]
        if lower.until < upper.until and not lower.is_void:
            upper.until, upper.whole_from = lower.until, 0
            upper.is_doubtful = upper.is_doubtful or lower.is_doubtful
