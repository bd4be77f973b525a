"""What the operator is told when a database cannot be opened, or not be closed in one file.

One line, with the file, the reason and what to do; failures of single reads and writes are in
`failures`. Called by `store` and `database`.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Final

import apsw

from pylon import limits
from pylon.errors import ConfigError
from pylon.store.sqlite.lock import DatabaseHeld

_NOT_WRITABLE: Final = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_SPACE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_WRITE_FAULTS: Final = {
    apsw.SQLITE_IOERR_WRITE,
    apsw.SQLITE_IOERR_FSYNC,
    apsw.SQLITE_IOERR_DIR_FSYNC,
    apsw.SQLITE_IOERR_TRUNCATE,
    # The index of the log, `<database>-shm`, which each start makes.
    apsw.SQLITE_IOERR_SHMOPEN,
    apsw.SQLITE_IOERR_SHMSIZE,
    apsw.SQLITE_IOERR_SHMMAP,
}


def translate_open(error: apsw.Error | OSError, path: str, *, copies: bool = False) -> ConfigError:
    """`STORE_OPEN_FAILED`: why the database at `path` cannot be opened. `copies`: there has to be
    room for a copy of it too."""
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        reason, hint = "is not a database or is damaged", "Restore a backup, or choose another file"
    elif isinstance(error, apsw.ReadOnlyError) or _errno(error) in _NOT_WRITABLE:
        reason, hint = "cannot be written", "Check the owner and mode of the file and its folder"
    elif isinstance(error, apsw.BusyError | BlockingIOError):
        pid = error.pid if isinstance(error, DatabaseHeld) else None
        who = "another process" if pid is None else f"another process (pid {pid})"
        reason, hint = f"is in use by {who}", "Stop the other process first"
    elif _is_full(error, path):
        reason = "cannot be set up: the disk is full"
        space = needed(path) + (_size(Path(path)) if copies else 0)
        hint = f"Free at least {_megabytes(space)} on {Path(path).absolute().parent}"
    elif isinstance(error, apsw.IOError) and _extended_code(error) in _WRITE_FAULTS:
        reason = f"or a file beside it cannot be written ({error})"
        hint = "Check the disk, its quota and the size limit of files"
    else:
        reason, hint = f"cannot be opened ({error})", "Check the path and its folder"
    return ConfigError("STORE_OPEN_FAILED", f"The database {path} {reason}.", hint)


def translate_close(error: apsw.Error, path: Path) -> ConfigError:
    """`STORE_CLOSE_FAILED`: why what is in the log could not be brought into the file at `path`.
    Nothing is lost by that; the next start goes on from both."""
    hint = f"Keep {path.name} and {path.name}-wal together, and start again."
    if _is_full(error, str(path)):
        space = _megabytes(needed(str(path)))
        hint = f"Free at least {space} on {path.absolute().parent}. {hint}"
    return ConfigError(
        "STORE_CLOSE_FAILED",
        f"The database {path} was closed, but its log could not be folded into it:"
        f" {reason_of(error, path)}. Nothing that was answered is lost.",
        hint,
    )


def refuse_second_name(path: Path) -> None:
    """`ConfigError` for a file with several names, each of which would have a log of its own: what
    is in the log of one is missing by the other."""
    if path.exists() and path.stat().st_nlink > 1:
        raise ConfigError(
            "STORE_OPEN_FAILED",
            f"The database {path} has another name (a hard link), by which it would be damaged.",
            "Remove the other name; make copies with `pylon backup`.",
        )


def needed(path: str) -> int:
    """Bytes that a start may write: the log folded into the file, and steps of its own."""
    return _size(Path(f"{path}-wal")) + limits.START_FREE_BYTES


def reason_of(error: apsw.Error, path: Path) -> str:
    """In a few words, why the database at `path` could not be read or written as a whole."""
    return "the disk is full" if _is_full(error, str(path)) else str(error)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_full(error: apsw.Error | OSError, path: str) -> bool:
    if isinstance(error, apsw.FullError) or _errno(error) in _NO_SPACE:
        return True
    if not isinstance(error, apsw.IOError) or _extended_code(error) not in _WRITE_FAULTS:
        return False
    return shutil.disk_usage(Path(path).absolute().parent).free < limits.START_FREE_BYTES


def _megabytes(count: int) -> str:
    return f"{max(count / 1_000_000, 0.1):.1f} MB"


def _errno(error: Exception) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _extended_code(error: apsw.Error) -> int:
    code: int = getattr(error, "extendedresult", 0)  # apsw's stubs do not know it
    return code
