"""One server per database file: locks that end with the process, however it ends.

Two servers on one file would number the change log independently of each other and so hide changes
from readers; by two names of the file they would write two logs for it and destroy it. Shells and
backups do not ask for these locks and are not kept out. Called by `store` and `exchange`.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_BYTE: Final = 1 << 62
"""The byte of a database file that is locked: behind all that a file can have, and apart from the
bytes that SQLite locks."""

_UNSUPPORTED: Final = {errno.ENOLCK, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
"""What file systems without such locks say."""

_here: Final[set[tuple[int, int]]] = set()
"""Device and inode of the databases that this process holds. They must not be opened beside SQLite:
closing any descriptor of a file ends SQLite's own locks on it (POSIX)."""


class DatabaseHeld(BlockingIOError):
    """Somebody else holds the database; `pid` is who, where the system tells."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.pid = pid


class DatabaseLock:
    """The locks on a database, held until `release` or the end of the process.

    Two of them: of a file `<database>-lock`, which is there before and while a database is replaced
    (the file stays; its existence means nothing), and, on Linux, of the database itself, whatever
    name it is opened by and whatever became of the file beside it. Release them when SQLite has
    closed the database.

    Making one raises `DatabaseHeld` where another process, or this one, has a lock, and other
    `OSError`s where the files cannot be opened. `creates` makes an empty database where there is
    none, so that there is one to lock.
    """

    def __init__(self, path: Path, *, creates: bool = False) -> None:
        real = path.resolve()  # Two links to one database are one database.
        self._inode: tuple[int, int] | None = None
        self._descriptors: list[int] = []
        beside = real.with_name(f"{real.name}-lock")
        try:
            self._lock_beside(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            if creates:
                with suppress(FileExistsError):
                    os.close(os.open(real, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644))
            if sys.platform == "linux":
                with suppress(FileNotFoundError):
                    self._lock_database(real)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let the next one have it."""
        if self._inode is not None:
            _here.discard(self._inode)
            self._inode = None
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _lock_beside(self, descriptor: int) -> None:
        self._descriptors.append(descriptor)
        if sys.platform == "win32":
            return  # There SQLite's own locks are all there is.
        import fcntl  # Not on Windows.

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatabaseHeld(_holder(os.fstat(descriptor))) from None

    def _lock_database(self, path: Path) -> None:
        import fcntl  # Not on Windows.

        found = path.stat()
        inode = (found.st_dev, found.st_ino)
        if inode in _here:
            raise DatabaseHeld(os.getpid())
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._descriptors.append(descriptor)
        wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _BYTE, 1, 0)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise DatabaseHeld(_holder(os.fstat(descriptor))) from None
            if error.errno not in _UNSUPPORTED:
                raise
        _here.add(inode)
        self._inode = inode


def _holder(file: os.stat_result) -> int | None:
    """The process that has a lock of this file, where the system tells us (Linux, same user)."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # somebody else's, or gone
            if any(_locks(process, number, file) for number in os.listdir(process / "fd")):
                return int(process.name)
    return None


def _locks(process: Path, number: str, file: os.stat_result) -> bool:
    """Whether a descriptor of a process is one of the file with a lock."""
    try:
        if not os.path.samestat((process / "fd" / number).stat(), file):
            return False
        told = (process / "fdinfo" / number).read_text()
    except OSError:
        return False  # closed meanwhile
    return "OFDLCK" in told or "FLOCK" in told
