"""Notices that another process changed the schema under a running server.

Asked by the writer at the beginning of each batch, where nobody else can write, by a task every
few seconds for servers that are only read, and by the store when the database refuses a read.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import apsw

from pylon.errors import PylonError
from pylon.store.base import Row, Store
from pylon.store.sqlite.evolution.history import FINGERPRINT
from pylon.store.sqlite.evolution.introspect import fetch

log = logging.getLogger("pylon.schema")


class SchemaWatch:
    """Compares the fingerprint in the database with the one that this server began with."""

    def __init__(self, fingerprint: str | None) -> None:
        self._fingerprint = fingerprint
        self._data_version: int | None = None
        self._is_current = True

    @property
    def is_current(self) -> bool:
        """Whether the database still has the schema that this server knows."""
        return self._is_current

    def refuse(self, connection: apsw.Connection) -> PylonError | None:
        """Called inside a write transaction: why it may not go on. SQLite counts the commits of
        others, so mostly one number is compared."""
        version = fetch(connection, "PRAGMA data_version")[0][0]
        if version != self._data_version:
            self._data_version = version
            self._compare(fetch(connection, FINGERPRINT))
        return None if self._is_current else schema_changed()

    async def look(self, store: Store) -> None:
        """The same for a server that does not write."""
        self._compare(await store.read(FINGERPRINT))

    def judge(self, found: Sequence[Row]) -> PylonError | None:
        """Why reads of this server's tables may fail, given the rows of `FINGERPRINT`."""
        self._compare(found)
        return None if self._is_current else schema_changed()

    def _compare(self, found: Sequence[Row]) -> None:
        known = found[0][0] if found else None
        if known != self._fingerprint and self._is_current:
            self._is_current = False
            log.error(
                "another process has changed the schema of the database; writes are refused"
                " until this server is restarted with the app that belongs to it"
            )


def schema_changed() -> PylonError:
    return PylonError(
        503,
        "SCHEMA_CHANGED",
        "The database was migrated under this server.",
        "Restart the server with the app that belongs to the new schema.",
    )
