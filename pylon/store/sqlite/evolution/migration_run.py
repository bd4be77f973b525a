"""Runs a hand-written migration inside the transaction of the evolution.

Finding and reading the files is `store/evolution/migration_files.py`. Called by `engine`.
"""

from __future__ import annotations

from typing import Any, Final

import apsw

from pylon.store.evolution.model import EvolutionError, SqlMigration

_LEDGER: Final = frozenset({"_pylon_meta", "_pylon_schema_history"})

_READING_PRAGMAS: Final = frozenset(
    {
        # A full-text table asks it of every write, and so does each write of a searched entity.
        "data_version",
        "foreign_key_check",
        "foreign_key_list",
        "index_info",
        "index_list",
        "index_xinfo",
        "table_info",
        "table_list",
        "table_xinfo",
    }
)

_WRITES: Final = frozenset(
    {apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE, apsw.SQLITE_DROP_TABLE}
)
"""Actions whose first word is the table."""

_CHANGES: Final = frozenset(
    {apsw.SQLITE_ALTER_TABLE, apsw.SQLITE_CREATE_TRIGGER, apsw.SQLITE_CREATE_TEMP_TRIGGER}
)
"""Actions whose second word is the table."""


def run_migration(connection: apsw.Connection, migration: SqlMigration) -> None:
    """Run the UP part. Transactions and other files are not its to open."""
    refused: list[str] = []

    def authorize(action: int, first: str | None, second: str | None, _3: Any, _4: Any) -> int:
        reason = _why_not(action, first, second)
        if reason is None:
            return apsw.SQLITE_OK
        refused.append(reason)
        return apsw.SQLITE_DENY

    connection.authorizer = authorize
    try:
        # `execute` runs every statement of the text; the rows of a query must be asked for.
        connection.execute(migration.up).fetchall()
    except apsw.Error as error:
        if refused:
            raise EvolutionError(
                "MIGRATION_NOT_ALLOWED",
                f"{migration.label} has {refused[0]}, which is not for a migration.",
                "It runs inside one transaction, with the rest of the change of the schema; leave"
                " that out.",
            ) from error
        raise EvolutionError("MIGRATION_FAILED", f"{migration.label}: {error}.") from error
    finally:
        connection.authorizer = None


def _why_not(action: int, first: str | None, second: str | None) -> str | None:
    """What a statement does that it may not do. SQLite asks this of each, and of those that its
    triggers and virtual tables run; what those need is allowed to all."""
    match action:
        case apsw.SQLITE_TRANSACTION:
            return f"{first} of a transaction"
        case apsw.SQLITE_ATTACH | apsw.SQLITE_DETACH:
            return "an attached file"
        case apsw.SQLITE_PRAGMA:
            return None if first in _READING_PRAGMAS else f"PRAGMA {first}"
    table = first if action in _WRITES else second if action in _CHANGES else None
    return f"a change of {table}" if table in _LEDGER else None
