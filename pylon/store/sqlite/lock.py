"""One server per database file: a lock that ends with the process, however it ends.

Two servers on one file would number the change log independently of each other and so hide changes
from readers. Shells and backups do not ask for this lock and are not kept out.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


class DatabaseLock:
    """The lock on a database, held until `release` or the end of the process.

    Making one raises `BlockingIOError` where another process has it, and other `OSError`s where
    its file, `<database>-lock`, cannot be made. The file stays; its existence means nothing.
    """

    def __init__(self, path: Path) -> None:
        real = path.resolve()  # Two links to one database are one database.
        lock_path = real.with_name(f"{real.name}-lock")
        self._descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(self._descriptor)
        except OSError:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        """Let the next one have it."""
        os.close(self._descriptor)


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        return  # There SQLite's own locks are all there is.
    import fcntl  # Not on Windows.

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
