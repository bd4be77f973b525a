"""The files of an open database: whether they are still those at its path, and have room.

A file that was removed or replaced is still open here, and SQLite goes on writing to it; what is
written so is gone with the process. Asked after each commit by `committer.py`, and by `store.py`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, TypeAlias

from pylon import limits

_Which: TypeAlias = tuple[int, int]
"""Device and inode: no other file has them while this one is open."""

SUFFIXES: Final = ("", "-wal", "-shm")
"""What SQLite keeps open beside the database, for as long as a connection lives."""


class Files:
    """Of a database that is open, made when its tables have been read: by then all are there."""

    __slots__ = ("_folder", "_known")

    def __init__(self, path: Path) -> None:
        self._folder = str(path.parent)
        names = [f"{path}{suffix}" for suffix in SUFFIXES]
        self._known = [(name, _which(name)) for name in names]

    def are_there(self) -> bool:
        """Whether each of them still stands at its path; on any thread, some microseconds."""
        try:
            for name, known in self._known:  # a loop, since this is asked at each commit
                if _which(name) != known:
                    return False
        except OSError:
            pass  # Nobody can tell; that a folder may not be read loses nothing.
        return True

    def have_room(self) -> bool:
        """Whether the disk has so much room that more than the smallest writes fit."""
        if not hasattr(os, "statvfs"):  # Not on Windows.
            return True
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return False
        return found.f_bavail * found.f_frsize >= limits.DISK_FREE_BYTES_MIN


def _which(name: str) -> _Which | None:
    """Which file stands there; None: none."""
    try:
        found = os.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
