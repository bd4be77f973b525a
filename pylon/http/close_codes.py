"""Why a WebSocket ends, as a number (RFC 6455 section 7.4): the codes that this server sends or
hears, in one place.

Used by whoever closes a stream (`sync`, `api/live`) and by `pylon.http.websocket`. What clients do
at each is in docs/sync-protocol.md.
"""

from __future__ import annotations

from typing import Final

CLOSE_NORMAL: Final = 1000
"""The app has nothing more to say."""

CLOSE_GOING_AWAY: Final = 1001
"""The server stops."""

CLOSE_PROTOCOL: Final = 1002
"""The client's bytes are not WebSocket frames."""

CLOSE_LOST: Final = 1006
"""Never sent: the connection ended without a close frame."""

CLOSE_NOT_UTF8: Final = 1007
"""A text that is none."""

CLOSE_POLICY: Final = 1008
"""Who asks may not listen: no token, or one that has ended."""

CLOSE_TOO_LARGE: Final = 1009
"""A message beyond its bound."""

CLOSE_INTERNAL: Final = 1011
"""The server failed, or gives up on a client that gives no sign of life."""

CLOSE_TRY_AGAIN: Final = 1013
"""Too slow, too far behind, or a pull is needed: pull, then reconnect."""
