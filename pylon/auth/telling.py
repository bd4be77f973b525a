"""Tells the app's hooks of sessions what became of them: `app.hooks.on_session`.

It hears the facts of the feed, keeps them in a bounded queue and calls the hooks from there, one
event after another, each once. Nothing is stored: what waits when the process dies is not told. A
worker of the process that owns the database; connected by `assembly/identity.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

from pylon import limits
from pylon.changes.facts import SessionChanged, SessionEnded, SessionStarted
from pylon.changes.feed import Message
from pylon.hooks import SessionEvent, SessionHook
from pylon.identity import GUEST_PREFIX
from pylon.part import Stopping
from pylon.tasks import Tasks

log = logging.getLogger("pylon.hooks")

KINDS: Final[dict[type, Literal["started", "changed", "ended"]]] = {
    SessionStarted: "started",
    SessionChanged: "changed",
    SessionEnded: "ended",
}


class SessionTeller:
    """Tells all hooks of sessions."""

    HEARS = (SessionStarted, SessionChanged, SessionEnded)

    def __init__(self, hooks: Sequence[SessionHook]) -> None:
        self._hooks = hooks
        self._events: deque[SessionEvent] = deque()
        self._wake = asyncio.Event()
        self.failures = 0
        """Calls that raised or took too long."""
        self.lost = 0
        """Events that were not told because too many were waiting."""

    @property
    def waiting(self) -> int:
        """Events that are still to be told."""
        return len(self._events)

    def hear(self, messages: Sequence[Message], _seq: int) -> None:
        """Take what a commit made of sessions (a listener of the feed)."""
        for message in messages:
            if isinstance(message, SessionStarted | SessionChanged | SessionEnded):
                self._put(_event(message))

    def _put(self, event: SessionEvent) -> None:
        if len(self._events) >= limits.SESSION_HOOK_EVENTS_MAX:
            self.lost += 1
            if self.lost == 1:
                log.error("hooks of sessions are too slow: events are lost from now on")
            return
        self._events.append(event)
        self._wake.set()

    async def run(self, stopping: Stopping) -> None:
        """Tell what comes until the service stops, then what still waits."""
        tasks = Tasks()
        telling = tasks.start("hooks of sessions", self._tell_all(stopping))
        try:
            await stopping.wait()
            self._wake.set()
            await telling
        finally:
            await tasks.stop()

    async def _tell_all(self, stopping: Stopping) -> None:
        while self._events or not stopping.is_set():
            while self._events:
                event = self._events.popleft()
                for hook in self._hooks:
                    await self._tell(hook, event)
            self._wake.clear()
            if not stopping.is_set():
                await self._wake.wait()

    async def _tell(self, hook: SessionHook, event: SessionEvent) -> None:
        try:
            async with asyncio.timeout(limits.SESSION_HOOK_SECONDS_MAX):
                await hook(event)
        except Exception:  # of the app's own code, whatever it is
            self.failures += 1
            log.exception("a hook failed with a session that %s", event.kind)


def _event(fact: SessionStarted | SessionChanged | SessionEnded) -> SessionEvent:
    return SessionEvent(
        kind=KINDS[type(fact)],
        session_id=fact.session_id,
        user_id=fact.user_id,
        tenant_id=fact.tenant_id,
        is_guest=fact.user_id.startswith(GUEST_PREFIX),
    )
