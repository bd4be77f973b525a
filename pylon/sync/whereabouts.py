"""Where clients are in the log, as asked by whichever process serves them.

A client may pull in one process and open its stream in another, and says nothing of its cursor.
So all that is known of it (`positions.py`) is kept in one place, the owner of the database, and
asked for by calls: `Here` is that process, `Asked` any other. Used by `pulls.py`, which says what
follows. A process that cannot reach the owner knows nothing, and says so: who wants a stream is
sent to pull (docs/decisions/0012).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from pylon.calls import Call, Calls
from pylon.changes.facts import Fact, MustPull
from pylon.errors import PylonError
from pylon.identity import ANONYMOUS
from pylon.sync.browsers import Browsers
from pylon.sync.positions import Positions, StreamKind
from pylon.tasks import Tasks


class Pulled(msgspec.Struct, frozen=True, array_like=True):
    """A pull has moved this caller on; the fields are those of `Positions.pulled`."""

    caller: bytes
    since: int
    until: int
    whole_from: int
    named: bool
    has_more: bool = False


class Known(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a caller that wants a stream.

    `position` is where it may start, None if unknown. `is_behind`: some tab of it has to pull
    first. `is_named`: somebody with an identity has lately pulled as this caller. `is_young`: where
    this is kept has just been started, so that nothing may mean that all was forgotten.
    """

    position: int | None
    is_behind: bool
    is_named: bool
    is_young: bool


UNREACHED = Known(position=None, is_behind=True, is_named=True, is_young=True)
"""What to assume where nobody can be asked."""


class Presented(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a cursor that a caller presents.

    `whole_from` as `Positions.whole_from` says; `is_given` as `Positions.is_given`.
    """

    whole_from: int
    is_given: bool


class _Place(msgspec.Struct, frozen=True, array_like=True):
    caller: bytes
    address: bytes
    position: int
    browser: bytes


class _Stream(msgspec.Struct, frozen=True, array_like=True):
    caller: bytes
    kind: StreamKind
    position: int
    browser: bytes
    has_ended: bool


class _Wish(msgspec.Struct, frozen=True, array_like=True):
    caller: bytes
    takes: bool


class _Ended(msgspec.Struct, frozen=True, array_like=True):
    caller: bytes
    position: int
    too_far: bool


class Whereabouts(Protocol):
    """What `Pulls` needs. Nothing here raises."""

    @property
    def remembered(self) -> int:
        """Callers of which something is known in this process."""
        ...

    async def pulled(self, pulls: Sequence[Pulled]) -> None:
        """Note pulls; to be awaited before the client is answered, since it connects then."""
        ...

    async def presented(
        self, caller: bytes, address: bytes, position: int, browser: bytes = b""
    ) -> Presented:
        """What is known of a cursor with which `caller` pulls from `address` (the same for nobody
        by name), or opens a stream.

        Streams of that address that go on past what they may not show are ended where the caller is
        somebody: they may be its own, and move its cursor. So are those of others in its `browser`
        (`browsers.browser_key`; empty: none) where it begins from 0.
        """
        ...

    async def opened(
        self, caller: bytes, kind: StreamKind, position: int, browser: bytes = b""
    ) -> bool:
        """See `Positions.opened` and `Browsers.opened`; to be awaited before anything is sent on
        the stream."""
        ...

    def closed(self, caller: bytes, kind: StreamKind, position: int, browser: bytes = b"") -> None:
        """See `Positions.closed`; with what `opened` was given."""
        ...

    async def restart(self, caller: bytes) -> None:
        """See `Positions.restart`."""
        ...

    async def of(self, caller: bytes, *, takes: bool) -> Known:
        """What is known; with `takes` a pull is used up for a stream (`Positions.take_start`)."""
        ...

    async def too_far(self, caller: bytes, position: int) -> None:
        """See `Positions.forget`; to be awaited before the stream is closed."""
        ...

    def lost(self, caller: bytes, position: int) -> None:
        """See `Positions.lost`. If it is not heard of, the client's next stream starts at 0, or it
        is sent to pull."""
        ...


class Here:
    """This process keeps them, and is asked by others.

    `publish` commits a fact with a position of the log, which it gives back; None where all is one
    client's.
    """

    def __init__(
        self, positions: Positions, publish: Callable[[Fact], Awaitable[int]] | None = None
    ) -> None:
        self._positions = positions
        self._browsers = Browsers(positions.now)
        self._publish = publish

    @property
    def remembered(self) -> int:
        return len(self._positions)

    async def pulled(self, pulls: Sequence[Pulled]) -> None:
        for each in pulls:
            self._positions.pulled(
                each.caller,
                since=each.since,
                until=each.until,
                whole_from=each.whole_from,
                named=each.named,
                has_more=each.has_more,
            )

    async def presented(
        self, caller: bytes, address: bytes, position: int, browser: bytes = b""
    ) -> Presented:
        positions = self._positions
        if caller != address:
            positions.name(address)  # first, so that no other such stream begins meanwhile
            if self._publish is not None and positions.must_turn(address):
                positions.turn(address, await self._publish(MustPull(caller=address)))
        if browser:
            await self._part(browser, caller, is_start=not position)
        if position and positions.is_void(caller, position):
            return Presented(0, is_given=False)
        return Presented(
            positions.whole_from(caller, position) if position else 0,
            positions.is_given(caller, address, position),
        )

    async def _part(self, browser: bytes, caller: bytes, *, is_start: bool) -> None:
        """End the streams of others in this browser, where the caller begins there."""
        others = self._browsers.pulled(browser, caller, is_start=is_start)
        if not is_start or self._positions.renews(caller) or self._publish is None:
            return
        for other in others:
            self._positions.doubt(caller, await self._publish(MustPull(caller=other)))

    async def opened(
        self, caller: bytes, kind: StreamKind, position: int, browser: bytes = b""
    ) -> bool:
        if browser and not self._browsers.opened(browser, caller):
            return False
        return self._positions.opened(caller, kind, position)

    def closed(self, caller: bytes, kind: StreamKind, position: int, browser: bytes = b"") -> None:
        if browser:
            self._browsers.closed(browser, caller)
        self._positions.closed(caller, kind, position)

    async def restart(self, caller: bytes) -> None:
        self._positions.restart(caller)

    async def of(self, caller: bytes, *, takes: bool) -> Known:
        positions = self._positions
        is_named = positions.is_named(caller)
        position = positions.take_start(caller) if takes else positions.start_of(caller)
        return Known(position, positions.is_behind(caller), is_named, positions.is_young)

    async def too_far(self, caller: bytes, position: int) -> None:
        self._positions.forget(caller, position)

    def lost(self, caller: bytes, position: int) -> None:
        self._positions.lost(caller, position)


class WhereaboutsCalls:
    """The same as calls: what the owner answers, and others ask."""

    def __init__(self, here: Here) -> None:
        self.pulled: Call[list[Pulled], None] = Call(
            name="positions.pulled",
            takes=list[Pulled],
            gives=None,
            run=lambda _, pulls: here.pulled(pulls),
        )
        self.presented: Call[_Place, Presented] = Call(
            name="positions.presented",
            takes=_Place,
            gives=Presented,
            run=lambda _, place: here.presented(
                place.caller, place.address, place.position, place.browser
            ),
        )
        self.restart: Call[bytes, None] = Call(
            name="positions.restart",
            takes=bytes,
            gives=None,
            run=lambda _, caller: here.restart(caller),
        )

        async def note_stream(_: object, stream: _Stream) -> bool:
            if not stream.has_ended:
                return await here.opened(
                    stream.caller, stream.kind, stream.position, stream.browser
                )
            here.closed(stream.caller, stream.kind, stream.position, stream.browser)
            return True

        self.stream: Call[_Stream, bool] = Call(
            name="positions.stream", takes=_Stream, gives=bool, run=note_stream
        )
        self.of: Call[_Wish, Known] = Call(
            name="positions.of",
            takes=_Wish,
            gives=Known,
            run=lambda _, wish: here.of(wish.caller, takes=wish.takes),
        )

        async def end(_: object, ended: _Ended) -> None:
            if ended.too_far:
                await here.too_far(ended.caller, ended.position)
            else:
                here.lost(ended.caller, ended.position)

        self.ended: Call[_Ended, None] = Call(
            name="positions.ended", takes=_Ended, gives=None, run=end
        )

    def all(self) -> tuple[Call[Any, Any], ...]:
        """What the owner has to answer."""
        return (self.pulled, self.presented, self.stream, self.restart, self.of, self.ended)


class Asked:
    """Another process keeps them. Where it cannot be asked, what is known is `UNREACHED`."""

    remembered = 0

    def __init__(self, ask: WhereaboutsCalls, calls: Calls, tasks: Tasks) -> None:
        self._ask = ask
        self._calls = calls
        self._tasks = tasks

    async def pulled(self, pulls: Sequence[Pulled]) -> None:
        """A note that does not arrive is as a pull that has not: a stream of this tab starts at 0,
        or as the client's other tabs, or the client is sent to pull again."""
        try:
            await self._calls.ask(self._ask.pulled, ANONYMOUS, list(pulls))
        except PylonError:
            return

    async def presented(
        self, caller: bytes, address: bytes, position: int, browser: bytes = b""
    ) -> Presented:
        """Where the owner cannot be asked, the cursor is taken for good: pulls go on without it,
        and a stream is not opened there (`UNREACHED`)."""
        try:
            return await self._calls.ask(
                self._ask.presented, ANONYMOUS, _Place(caller, address, position, browser)
            )
        except PylonError:
            return Presented(whole_from=0, is_given=True)

    async def opened(
        self, caller: bytes, kind: StreamKind, position: int, browser: bytes = b""
    ) -> bool:
        return await self._stream(_Stream(caller, kind, position, browser, has_ended=False))

    def closed(self, caller: bytes, kind: StreamKind, position: int, browser: bytes = b"") -> None:
        work = self._stream(_Stream(caller, kind, position, browser, has_ended=True))
        self._tasks.start("a stream has ended", work)

    async def _stream(self, stream: _Stream) -> bool:
        """One that is not heard of may cost its client a pull from 0."""
        try:
            return await self._calls.ask(self._ask.stream, ANONYMOUS, stream)
        except PylonError:
            return stream.kind != "passing"

    async def restart(self, caller: bytes) -> None:
        try:
            await self._calls.ask(self._ask.restart, ANONYMOUS, caller)
        except PylonError:
            return

    async def of(self, caller: bytes, *, takes: bool) -> Known:
        try:
            return await self._calls.ask(self._ask.of, ANONYMOUS, _Wish(caller, takes))
        except PylonError:
            return UNREACHED

    async def too_far(self, caller: bytes, position: int) -> None:
        await self._end(_Ended(caller, position, too_far=True))

    def lost(self, caller: bytes, position: int) -> None:
        ended = _Ended(caller, position, too_far=False)
        self._tasks.start("a stream was lost", self._end(ended))

    async def _end(self, ended: _Ended) -> None:
        try:
            await self._calls.ask(self._ask.ended, ANONYMOUS, ended)
        except PylonError:
            return
