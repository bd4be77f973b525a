"""Who the work of a task is for, so that what is scarce can be shared out among callers.

The pipeline says it once a request, and what is awaited there can look it up without being handed
it through every call. It decides who waits, never who may do what: that is `Identity`.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

ASKING: Final[ContextVar[str | None]] = ContextVar("asking", default=None)
"""The user, or the address of a guest or of nobody known; None: the server itself."""
