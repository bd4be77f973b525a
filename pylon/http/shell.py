"""What the shells of both protocols share: a timer, the wait for a slow client, ways to end.

A shell is the thin part that has a socket, a loop and tasks (`connection`, `websocket`); what it
does is decided by a core without any of them (`connection_state`, `websocket_state`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import formatdate

from pylon.http.ending import NEVER, Ending


class Alarm:
    """Calls back at the earliest time that was asked for, once.

    A later time is not asked for beforehand but after it rang: whoever is called asks again. So a
    deadline that moves away with every request costs no timer operation.
    """

    __slots__ = ("_call", "_loop", "_timer", "at")

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[[float], None]) -> None:
        self.at = NEVER
        """When it rings, by the loop's clock."""
        self._loop = loop
        self._call = call
        self._timer: asyncio.TimerHandle | None = None

    def by(self, when: float) -> None:
        """Ring at `when`, or earlier if that was asked for."""
        if when < self.at:
            if self._timer is not None:
                self._timer.cancel()
            self.at = when
            self._timer = self._loop.call_at(when, self._ring)

    def stop(self) -> None:
        """Ring no more, whatever is asked for, and let go of whom it would have called."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.at = -NEVER
        self._call = _nobody

    def _ring(self) -> None:
        # Loops round: their timers may fire a little early by their own clock.
        now = max(self._loop.time(), self.at)
        self._timer = None
        self.at = NEVER
        self._call(now)


def _nobody(now: float) -> None:
    """Takes the place of who is called no more."""


class Drain:
    """Whether the client is behind with taking what was written, and the wait until it is not."""

    __slots__ = ("_resumed", "is_paused")

    def __init__(self) -> None:
        self.is_paused = False
        self._resumed: asyncio.Event | None = None

    def pause(self) -> None:
        """Too much is written that the client has not taken."""
        self.is_paused = True

    def resume(self) -> None:
        """It has taken enough, or nobody need wait any more."""
        self.is_paused = False
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    async def wait(self) -> None:
        """Return when the client has taken enough, or is gone."""
        while self.is_paused:
            if self._resumed is None:
                self._resumed = asyncio.Event()
            await self._resumed.wait()


class Reading:
    """Whether more is read from the client: told to the transport where it changes."""

    __slots__ = ("is_paused",)

    def __init__(self) -> None:
        self.is_paused = False

    def follow(self, transport: asyncio.Transport, wanted: bool) -> None:
        """Read from now on, or do not; nothing where the transport is closing."""
        if wanted != self.is_paused or transport.is_closing():
            return
        self.is_paused = not wanted
        if wanted:
            transport.resume_reading()
        else:
            transport.pause_reading()


class DateLine:
    """The `Date` header of responses, made again at most once a second."""

    __slots__ = ("_line", "_until")

    def __init__(self) -> None:
        self._line = b""
        self._until = -NEVER

    def at(self, now: float) -> bytes:
        """The line, with the line break before it; `now` is the loop's time."""
        if now >= self._until:
            self._until = now + 1.0
            self._line = b"\r\ndate: " + formatdate(usegmt=True).encode()
        return self._line


def end(transport: asyncio.Transport, ending: Ending) -> None:
    """Do to a socket what its core asks for."""
    if ending is Ending.ABORT:
        transport.abort()
    elif ending is Ending.CLOSE:
        if not transport.is_closing():
            transport.close()
    elif ending is Ending.HALF and not transport.is_closing() and transport.can_write_eof():
        transport.write_eof()
