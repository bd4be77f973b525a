"""Which sessions one browser shows, so that no stream goes on for a user who has left the page.

The official client reads its token anew for each pull, but keeps its socket: after another token
was put in its place without a sign-out, the page holds the new user's rows and hears the old user's
changes. Nothing it sends says so. What the server can see is a session that starts from 0 where
another one has a stream: at the same address, with the same `User-Agent`. Such streams are ended,
and their clients come back as whoever they are by then (`whereabouts.py`). In memory, bounded,
beside `positions.py`. An address where many sessions look like one browser is left alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

from msgspec import Struct, field

BROWSERS_MAX = 20_000
"""Browsers remembered; the stalest goes first."""

SESSIONS_MAX = 8
"""Sessions of one browser; where more look like one, it is a crowd behind one address."""

SEEN_SECONDS = 60.0
"""How long a session without a stream counts as one of the browser's."""

SESSIONS_KEPT_MAX = 64
"""Sessions of a crowd that are kept; of one there, nothing is decided."""


def browser_key(address: str, agent: str | None) -> bytes:
    """What requests and sockets of one browser have in common; empty for programs that do not say
    what they are, which are left alone."""
    if not agent:
        return b""
    return sha256(f"{address}\n{agent}".encode("utf-8", "surrogatepass")).digest()[:16]


class _Session(Struct):
    """One of a browser's: at which tick it pulled last, and began from 0 last."""

    pulled: int = 0
    started: int = 0
    seen_at: float = 0.0
    streams: int = 0


class _Browser(Struct):
    sessions: dict[bytes, _Session] = field(default_factory=dict)

    def session(self, caller: bytes, now: float) -> _Session:
        found = self.sessions.get(caller)
        if found is None:
            self._drop_old(now)
            found = self.sessions[caller] = _Session()
        found.seen_at = now
        return found

    def _drop_old(self, now: float) -> None:
        if len(self.sessions) < SESSIONS_MAX:
            return
        old = [
            caller
            for caller, each in self.sessions.items()
            if not each.streams and now - each.seen_at > SEEN_SECONDS
        ]
        for caller in old:
            del self.sessions[caller]
        if len(self.sessions) >= SESSIONS_KEPT_MAX:
            del self.sessions[next(iter(self.sessions))]

    @property
    def is_crowd(self) -> bool:
        return len(self.sessions) > SESSIONS_MAX


class Browsers:
    """The browsers whose sockets say nothing of a position, by `browser_key`."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` gives monotonic seconds."""
        self._now = now
        self._tick = 0
        self._browsers: OrderedDict[bytes, _Browser] = OrderedDict()

    def pulled(self, key: bytes, caller: bytes, *, is_start: bool) -> list[bytes]:
        """Note that a session pulls there; the other sessions with streams there, where it begins
        from 0."""
        browser, now = self._browser(key), self._now()
        self._tick += 1
        session = browser.session(caller, now)
        session.pulled = self._tick
        if not is_start:
            return []
        session.started = self._tick
        if browser.is_crowd:
            return []
        return [name for name, each in browser.sessions.items() if each.streams and name != caller]

    def opened(self, key: bytes, caller: bytes) -> bool:
        """Note a stream of a session. False where it must not begin, since another session has
        begun from 0 there after this one pulled: its client may have come to be that one."""
        browser = self._browser(key)
        session = browser.session(caller, self._now())
        if session.pulled and not browser.is_crowd:
            for each in browser.sessions.values():
                if each is not session and each.started > session.pulled:
                    return False
        session.streams += 1
        return True

    def closed(self, key: bytes, caller: bytes) -> None:
        """Such a stream has ended."""
        browser = self._browsers.get(key)
        session = None if browser is None else browser.sessions.get(caller)
        if session is not None and session.streams:
            session.streams -= 1

    def _browser(self, key: bytes) -> _Browser:
        browser = self._browsers.get(key)
        if browser is None:
            browser = self._browsers[key] = _Browser()
            if len(self._browsers) > BROWSERS_MAX:
                self._browsers.popitem(last=False)
        else:
            self._browsers.move_to_end(key)
        return browser
