"""What the cores of both protocols ask of the socket under them, beside bytes: how it shall end.

A core says what should be; its shell makes it so (`pylon.http.shell`). Nothing here does I/O.
"""

from __future__ import annotations

import enum
from typing import Final

NEVER: Final = float("inf")
"""A time that does not come."""


class Ending(enum.IntEnum):
    """How far a connection has come on its way out; only ever forward.

    NONE -> HALF -> CLOSE -> ABORT; any of them may be passed over
    """

    NONE = enum.auto()
    """It goes on."""

    HALF = enum.auto()
    """We have said our last word; what the client still sends is thrown away for a while. A socket
    closed with unread bytes is reset, and the reset can overtake what we said."""

    CLOSE = enum.auto()
    """Close once what is written has gone out."""

    ABORT = enum.auto()
    """Cut at once."""
