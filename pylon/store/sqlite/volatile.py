"""Folders for databases that live in memory: private, made anew, removed at close.

A process that is killed cannot remove its folder, so the next one that makes a folder does. One is
in use as long as its database's lock is held. Why these are files: `docs/decisions/0004`.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pylon.store.sqlite.lock import DatabaseLock

PREFIX = "pylon-volatile-"
DATABASE = "volatile.db"

_MEMORY = Path("/dev/shm")


def make_volatile_path() -> Path:
    """A path for a database in a folder of its own; folders left by killed processes go."""
    parent = _MEMORY if _MEMORY.is_dir() else Path(tempfile.gettempdir())
    for folder in parent.glob(f"{PREFIX}*"):
        _remove_if_left(folder)
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)) / DATABASE


def remove_volatile(path: Path) -> None:
    """Remove the database and its folder."""
    shutil.rmtree(path.parent, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    path = folder / DATABASE
    try:
        # Without a database its maker may be at it this moment; then it is no left-over.
        if path.stat():
            DatabaseLock(path).release()
            remove_volatile(path)
    except OSError:
        return  # Somebody else's, in use, or gone.
