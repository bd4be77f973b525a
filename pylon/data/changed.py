"""Where in the log the change of a request stands, for its answer to say.

`api/changed.py` asks, `Rows.write` notes it: where it is told to, or else in `CHANGED`. The
position is the unit's own, so nobody waits for a change of somebody else's that they may not see.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final


class Changed:
    """What the writes of one request have changed: the position of the last, 0 for nothing."""

    __slots__ = ("seq",)

    def __init__(self) -> None:
        self.seq = 0


CHANGED: Final[ContextVar[Changed | None]] = ContextVar("changed", default=None)
"""What the request at hand wants to be told; None where it does not. For requests whose writes are
made by others than their handler: a variable and its wrapper cost an insert 3 %."""
