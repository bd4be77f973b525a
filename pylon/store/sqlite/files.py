"""The files of an open database: whether they are still those at its path, and have room.

A file that was removed or replaced is still open here, and SQLite goes on writing to it; what is
written so is gone with the process. Asked after each commit by `writer.py`, and by `store.py`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, TypeAlias

from pylon import limits

_Which: TypeAlias = tuple[int, int]
"""Device and inode: no other file has them while this one is open."""

_State: TypeAlias = tuple[int, int, int, int]
"""Of a folder: device, inode, and when it was last changed, in nanoseconds."""

_TICK_NANOSECONDS: Final = 50_000_000
"""Longer than the steps in which systems count the times of their files: what has changed within
one may change again without a sign."""

SUFFIXES: Final = ("", "-wal", "-shm")
"""What SQLite keeps open beside the database, for as long as a connection lives."""


class Files:
    """Of a database that is open, made when its tables have been read: by then all are there."""

    __slots__ = ("_database", "_folder", "_index", "_is_plain", "_log", "_seen")

    def __init__(self, path: Path) -> None:
        self._folder = str(path.parent)
        # Behind a symbolic link there are more folders than one.
        self._is_plain = os.path.realpath(path) == os.path.abspath(path)
        self._seen: _State | None = None
        self._database, self._log, self._index = [
            (name, _which(name)) for name in (f"{path}{suffix}" for suffix in SUFFIXES)
        ]

    def hold_commits(self) -> bool:
        """Whether the two that a commit is in still stand at their paths; a microsecond, while
        nothing is made, removed or renamed in their folder.

        They themselves are only asked when it has changed: on a file whose times were asked for,
        Linux notes the next write exactly, which costs more than all the rest of a small commit.
        """
        try:
            state = _state(self._folder)
            if state is not None and state == self._seen:
                return True
            are_there = _which(self._database[0]) == self._database[1] and (
                _which(self._log[0]) == self._log[1]
            )
        except OSError:
            return True  # Nobody can tell; that a folder may not be read loses nothing.
        is_new = state is None or time.time_ns() - max(state[2:]) <= _TICK_NANOSECONDS
        self._seen = None if is_new or not (are_there and self._is_plain) else state
        return are_there

    def are_there(self) -> bool:
        """Whether all of them do. Without the third, other processes go on beside this one."""
        try:
            return self.hold_commits() and _which(self._index[0]) == self._index[1]
        except OSError:
            return True

    def have_long_log(self) -> bool:
        """Whether the log is so long that checkpoints must have been kept from shortening it."""
        try:
            return os.stat(self._log[0]).st_size > limits.WAL_BYTES_LONG
        except OSError:
            return False

    def have_room(self) -> bool:
        """Whether the disk has so much room that more than the smallest writes fit."""
        if not hasattr(os, "statvfs"):  # Not on Windows.
            return True
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return False
        return found.f_bavail * found.f_frsize >= limits.DISK_FREE_BYTES_MIN


def _state(folder: str) -> _State | None:
    """How the folder is; None: there is none."""
    try:
        found = os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _which(name: str) -> _Which | None:
    """Which file stands there; None: none."""
    try:
        found = os.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
