"""Runs a hand-written migration inside the transaction of the evolution.

Finding and reading the files is `store/evolution/migration_files.py`. Called by `engine`.
"""

from __future__ import annotations

from typing import Any

import apsw

from pylon.store.evolution.model import EvolutionError, SqlMigration


def run_migration(connection: apsw.Connection, migration: SqlMigration) -> None:
    """Run the UP part. Transactions and other files are not its to open."""
    connection.authorizer = _authorize
    try:
        # `execute` runs every statement of the text; the rows of a query must be asked for.
        connection.execute(migration.up).fetchall()
    except apsw.AuthError as error:
        raise EvolutionError(
            "MIGRATION_NOT_ALLOWED",
            f"{migration.label} begins or ends a transaction, attaches a file or changes the"
            " server's own ledger.",
            "A migration runs inside one transaction already; leave that out.",
        ) from error
    except apsw.Error as error:
        raise EvolutionError("MIGRATION_FAILED", f"{migration.label}: {error}.") from error
    finally:
        connection.authorizer = None


_LEDGER = frozenset({"_pylon_meta", "_pylon_schema_history"})


def _authorize(action: int, first: str | None, _2: Any, _3: Any, _4: Any) -> int:
    forbidden = action in (
        apsw.SQLITE_TRANSACTION,
        apsw.SQLITE_ATTACH,
        apsw.SQLITE_DETACH,
        apsw.SQLITE_PRAGMA,
    )
    writes = action in (
        apsw.SQLITE_INSERT,
        apsw.SQLITE_UPDATE,
        apsw.SQLITE_DELETE,
        apsw.SQLITE_DROP_TABLE,
        apsw.SQLITE_ALTER_TABLE,
    )
    if forbidden or (writes and first in _LEDGER):
        return apsw.SQLITE_DENY
    return apsw.SQLITE_OK
