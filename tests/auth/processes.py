"""Sessions as one process has them, told of commits by a feed: two on one store, two processes."""

from __future__ import annotations

from typing import Any

from pylon.auth.sessions import Sessions
from pylon.changes.facts import SessionChanged, SessionEnded
from pylon.changes.feed import Feed
from pylon.clock import Clock
from pylon.store.base import Store


def sessions_on(store: Store, clock: Clock, **more: Any) -> Sessions:
    sessions = Sessions(store, clock, **more)
    Feed(store).subscribe("sessions", sessions.hear, Sessions.HEARS)
    return sessions


def ends_of(store: Store) -> list[bytes]:
    """A list that fills with the sessions of which it is told that they are over."""
    ended: list[bytes] = []
    Feed(store).subscribe(
        "ends",
        lambda news, _: ended.extend(n.session_id for n in news if isinstance(n, SessionEnded)),
    )
    return ended


def changes_of(store: Store) -> list[SessionChanged]:
    """The same with those that mean another caller."""
    changed: list[SessionChanged] = []
    Feed(store).subscribe(
        "changes", lambda news, _: changed.extend(n for n in news if isinstance(n, SessionChanged))
    )
    return changed
