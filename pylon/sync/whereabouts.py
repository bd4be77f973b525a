"""Where clients are in the log, as asked by whichever process serves them.

A client may pull in one process and open its stream in another, and says nothing of its cursor.
So all that is known of it (`positions.py`) is kept in one place, the owner of the database, and
asked for by calls: `Here` is that process, `Asked` any other. Used by `pulls.py`, which says what
follows. A process that cannot reach the owner knows nothing, and says so: who wants a stream is
sent to pull (docs/decisions/0012).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from pylon.calls import Call, Calls
from pylon.errors import PylonError
from pylon.identity import ANONYMOUS
from pylon.sync.positions import Positions
from pylon.tasks import Tasks


class Pulled(msgspec.Struct, frozen=True, array_like=True):
    """A pull has moved this caller on; the fields are those of `Positions.pulled`."""

    caller: bytes
    since: int
    until: int
    whole_from: int
    named: bool


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


class _Place(msgspec.Struct, frozen=True, array_like=True):
    caller: bytes
    position: int


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

    async def whole_from(self, caller: bytes, position: int) -> int:
        """See `Positions.whole_from`."""
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
    """This process keeps them; `calls` are what others ask."""

    def __init__(self, positions: Positions) -> None:
        self._positions = positions

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
            )

    async def whole_from(self, caller: bytes, position: int) -> int:
        return self._positions.whole_from(caller, position)

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
        self.whole_from: Call[_Place, int] = Call(
            name="positions.whole_from",
            takes=_Place,
            gives=int,
            run=lambda _, place: here.whole_from(place.caller, place.position),
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

    def all(
        self,
    ) -> tuple[
        Call[list[Pulled], None] | Call[_Place, int] | Call[_Wish, Known] | Call[_Ended, None], ...
    ]:
        """What the owner has to answer."""
        return (self.pulled, self.whole_from, self.of, self.ended)


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

    async def whole_from(self, caller: bytes, position: int) -> int:
        try:
            return await self._calls.ask(self._ask.whole_from, ANONYMOUS, _Place(caller, position))
        except PylonError:
            return 0

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
