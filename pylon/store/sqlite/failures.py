"""Translates what SQLite raises into `PylonError`, at the one place where SQLite is met.

The full text goes to the log; the caller gets a stable code and a sentence without SQL. What the
operator is told of a database as a whole is in `open_failures`.
"""

from __future__ import annotations

import logging
import re

import apsw

from pylon.errors import PylonError
from pylon.moments import shown_column
from pylon.store.base import ConstraintFailed, SumTooLarge
from pylon.store.health import GONE

log = logging.getLogger("pylon.store")

_WRITE_FAULTS = frozenset((apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_TRUNCATE))
"""Faults of a disk that refuses to take more, rather than of one that lost what it had."""

_SYNC_FAULTS = frozenset((apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC))
"""Faults of a disk that took what was written and then did not confirm it: it may be there."""

_INDEX = re.compile(r"index '(.+)'")
_CONSTRAINT = re.compile(r"(UNIQUE|NOT NULL) constraint failed: (.+)")


def translate(error: apsw.Error) -> Exception:
    """The exception that callers of the store see for `error`."""
    if isinstance(error, apsw.SQLError) and str(error) == "integer overflow":
        return SumTooLarge()
    if isinstance(error, apsw.ConstraintError):
        found = _CONSTRAINT.search(str(error))
        if found:
            index = _INDEX.fullmatch(found[2])  # one with an expression in it
            if index is not None:
                return ConstraintFailed(found[1], (), index=index[1].replace("''", "'"))
            return ConstraintFailed(found[1], tuple(map(_shown, found[2].split(", "))))
    if isinstance(error, apsw.FullError):
        return PylonError(
            507,
            "STORAGE_FULL",
            "The disk is full; nothing was written.",
            "Free some space; the server goes on by itself.",
        )
    if isinstance(error, apsw.ReadOnlyError):
        return PylonError(
            503,
            "STORAGE_READ_ONLY",
            "The database cannot be written.",
            "Check the owner and mode of the database file and its folder.",
        )
    if isinstance(error, apsw.IOError) and _extended_code(error) in _WRITE_FAULTS:
        log.error("the database file could not be written: %s", error)
        return PylonError(
            503,
            "STORAGE_READ_ONLY",
            "The database file could not be written.",
            "Check the disk, its quota and the size limit of files.",
        )
    if isinstance(error, apsw.IOError) and _extended_code(error) in _SYNC_FAULTS:
        log.error("the disk did not confirm what was written: %s", error)
        return not_durable()
    if isinstance(error, apsw.BusyError):
        return PylonError(
            503, "LOCK_FAILED", "Another process holds the database.", "Try again shortly."
        )
    log.error("database failure: %s: %s", type(error).__name__, error)
    if isinstance(error, apsw.TooBigError):
        return PylonError(413, "PAYLOAD_TOO_LARGE", "A value is too large to be stored.")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError | apsw.IOError):
        return PylonError(
            500,
            "STORAGE_DAMAGED",
            "The database file cannot be read.",
            "Stop the server and restore a backup.",
        )
    return PylonError(500, "QUERY_FAILED", "The database refused the statement.")


def _shown(column: str) -> str:
    """A column of a message as people know it."""
    table, dot, name = column.rpartition(".")
    return f"{table}{dot}{shown_column(name)}"


def not_durable() -> PylonError:
    """What the caller sees of a write whose commit failed for a reason that is not its own."""
    return PylonError(
        500,
        "TX_COMMIT_FAILED",
        "The write could not be made durable.",
        "It may be there after a restart; look, or send it again with its Idempotency-Key.",
    )


def gone() -> PylonError:
    """What the caller sees of a write to files that are gone, or of a read that would open them."""
    return PylonError(
        500,
        GONE,
        "The database was removed or replaced under the server; nothing is written any more.",
        "Stop the server; put the database back where it was, or start with a new one.",
    )


def timed_out(seconds: float) -> PylonError:
    """What the caller sees of a read that was ended after `seconds`."""
    return PylonError(
        503,
        "QUERY_TIMEOUT",
        f"The query took longer than {seconds:g} seconds.",
        "Add an index for its filter and order, or ask for less.",
    )


def _extended_code(error: apsw.Error) -> int:
    code: int = getattr(error, "extendedresult", 0)  # apsw's stubs do not know it
    return code
