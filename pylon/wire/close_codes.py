"""The codes with which the server ends a stream (RFC 6455 section 7.4; spec 03 section 4.1).

What a client is to do after each is told in `docs/sync-protocol.md`. What the transport ends by
itself (a broken frame, a message too large) is in `http/websocket.py`.
"""

from __future__ import annotations

from typing import Final

GOING_AWAY: Final = 1001
"""The server stops; come back to the next one."""

POLICY: Final = 1008
"""Nobody is signed in, or the session is over."""

INTERNAL: Final = 1011
"""Something failed here."""

TRY_AGAIN: Final = 1013
"""The stream cannot be continued: pull, and come back."""
