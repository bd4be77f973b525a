"""Refuses a SQLite that is too old, before a database is touched.

Until 3.51.3 a WAL that is reset while two connections commit can be corrupted, and every wheel of
apsw that we ask for has a newer one; a build against the system's library may not.
"""

from __future__ import annotations

from typing import Final

import apsw

from pylon.errors import ConfigError

OLDEST: Final = (3, 51, 3)


def refuse_old_version(version: str | None = None) -> None:
    """`ConfigError` `SQLITE_TOO_OLD` for the SQLite that is loaded, or for the one given."""
    version = version or apsw.sqlite_lib_version()
    if tuple(map(int, version.split("."))) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise ConfigError(
            "SQLITE_TOO_OLD",
            f"This Python has SQLite {version}; Pylon needs {wanted} or newer.",
            f"Run: pip install --upgrade --only-binary apsw 'apsw>={wanted}.0'",
        )
