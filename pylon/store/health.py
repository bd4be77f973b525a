"""How a store is, as far as its writes tell: what was tried last decides. Without I/O or clock.

    well -> (a write fails for a reason of the store) in trouble -> (a commit succeeds) well
    any -> (the files are gone) gone, for good

Told by the writer of a store, asked for readiness. Refusals of rows, such as a policy's, say
nothing of the store and never come here.
"""

from __future__ import annotations

import logging
from typing import Final

log = logging.getLogger("pylon.store")

GONE: Final = "STORAGE_GONE"
"""The trouble that does not end: only a new process opens the files that are there now."""

FULL: Final = "STORAGE_FULL"
"""The trouble that needs room to end, since the smallest writes may still fit."""

COMMIT_STUCK: Final = "COMMIT_STUCK"
"""What is said of a commit that has been under way for too long."""

CHECKPOINT_FAILED: Final = "CHECKPOINT_FAILED"
"""What is said where writes are safe in the log, which cannot be brought into the database."""

_TROUBLES: Final = frozenset(
    {FULL, GONE, "STORAGE_READ_ONLY", "STORAGE_DAMAGED", "LOCK_FAILED", "TX_COMMIT_FAILED"}
)
"""Codes of failures that are the store's own."""


class Health:
    """What the latest writes say of a store."""

    __slots__ = ("trouble",)

    def __init__(self) -> None:
        self.trouble: str | None = None
        """The code of the failure that has not been followed by a success; None: all is well."""

    @property
    def is_gone(self) -> bool:
        """Whether nothing is to be written any more."""
        return self.trouble == GONE

    def failed(self, code: str) -> None:
        """A write has failed with this code."""
        if code not in _TROUBLES or self.trouble in (code, GONE):
            return
        log.error("writes fail: %s", code)
        self.trouble = code

    def succeeded(self, *, has_room: bool) -> None:
        """A commit has succeeded; `has_room`: the disk is not nearly full."""
        if self.trouble in (None, GONE) or (self.trouble == FULL and not has_room):
            return
        log.warning("writes succeed again after %s", self.trouble)
        self.trouble = None
