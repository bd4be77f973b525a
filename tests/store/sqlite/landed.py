"""Makes a database as commit 4fdaf1c made it, the last before system tables had versions.

The statements and the values of `_pylon_meta` and of the ledger are copied from there, not taken
from the program: they stay as they are whatever becomes of it. Every table has rows.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import apsw

TOKEN = "pylon_" + "5e" * 32
"""The token of the session in it, which never ends."""

ROW_ID = "000000000000000018ec259aba928a55e18058f8"

DDL = (
    "CREATE TABLE IF NOT EXISTS _pylon_meta (key TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID",
    "INSERT OR IGNORE INTO _pylon_meta (key, value) VALUES ('seq', 0)",
    """CREATE TABLE IF NOT EXISTS _pylon_changes (
    seq INTEGER PRIMARY KEY NOT NULL,
    entity TEXT NOT NULL,
    row_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    born INTEGER NOT NULL,
    audiences TEXT,
    at INTEGER NOT NULL,
    UNIQUE (entity, row_id)
)""",
    "INSERT OR IGNORE INTO _pylon_meta (key, value) VALUES ('oldest_seq', 0), ('read_rules', '')",
    """CREATE TABLE IF NOT EXISTS _pylon_epochs (
    subject TEXT PRIMARY KEY NOT NULL,
    seq INTEGER NOT NULL
) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS _pylon_epochs_by_seq ON _pylon_epochs (seq)",
    """CREATE TABLE IF NOT EXISTS _pylon_sessions (
    token_hash BLOB PRIMARY KEY NOT NULL,
    session_id BLOB NOT NULL,
    token_prefix TEXT NOT NULL,
    user_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    tenant_id TEXT,
    device TEXT,
    successor_salt BLOB
) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS _pylon_sessions_user_idx ON _pylon_sessions (user_id)",
    "CREATE INDEX IF NOT EXISTS _pylon_sessions_exp_idx ON _pylon_sessions (expires_at)",
    "CREATE INDEX IF NOT EXISTS _pylon_sessions_id_idx ON _pylon_sessions (session_id)",
    """CREATE TABLE IF NOT EXISTS _pylon_op_ids (
    user_id TEXT NOT NULL,
    op_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (user_id, op_id)
) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS _pylon_op_ids_by_age ON _pylon_op_ids (at)",
    """CREATE TABLE IF NOT EXISTS _pylon_temporary_rows (
    seq INTEGER PRIMARY KEY NOT NULL,
    reader BLOB NOT NULL,
    user_id TEXT NOT NULL,
    entity TEXT NOT NULL,
    temporary_id TEXT NOT NULL,
    row_id TEXT NOT NULL,
    at INTEGER NOT NULL
)""",
    """CREATE INDEX IF NOT EXISTS _pylon_temporary_rows_by_user
ON _pylon_temporary_rows (user_id, temporary_id)""",
    "CREATE INDEX IF NOT EXISTS _pylon_temporary_rows_by_reader"
    " ON _pylon_temporary_rows (reader, seq)",
    "CREATE INDEX IF NOT EXISTS _pylon_temporary_rows_by_age ON _pylon_temporary_rows (at)",
    """CREATE TABLE IF NOT EXISTS _pylon_sync_readers (
    reader BLOB PRIMARY KEY NOT NULL,
    audience BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS _pylon_sync_readers_by_age ON _pylon_sync_readers (at)",
    """CREATE TABLE IF NOT EXISTS _pylon_crdt_snapshots (
    entity TEXT NOT NULL,
    row_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    updated_at TEXT NOT NULL,
    snapshot BLOB NOT NULL,
    PRIMARY KEY (entity, row_id)
)""",
    """CREATE TABLE IF NOT EXISTS _pylon_crdt_updates (
    entity TEXT NOT NULL,
    row_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (entity, row_id, n)
) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS _pylon_schema_history ("
    " id TEXT PRIMARY KEY NOT NULL,"
    " manifest_version INTEGER NOT NULL,"
    " app_version TEXT NOT NULL,"
    " applied_at TEXT NOT NULL,"
    " operation_count INTEGER NOT NULL,"
    " baseline TEXT NOT NULL,"
    " plan_json TEXT NOT NULL,"
    " manifest_json TEXT NOT NULL,"
    " migrations_json TEXT)",
    'CREATE TABLE "Note" (id TEXT PRIMARY KEY NOT NULL, "title" TEXT)',
)

ROWS: dict[str, list[tuple[Any, ...]]] = {
    "Note": [(ROW_ID, "kept")],
    "_pylon_meta": [
        ("oldest_seq", 0),
        ("read_rules", "(False, [('Note', '', 'true')], [])"),
        ("schema_fingerprint", "ed02a0140bbf52adf12697dd123372ff:"),
        ("schema_state", '{"entities":{"Note":{"fields":{"title":{"type":"string"}}}}}'),
        ("seq", 4),
    ],
    "_pylon_schema_history": [
        (
            "1795851695.421047040",
            1,
            "1.0.0",
            "2026-11-28T07:41:35Z",
            1,
            "start",
            '{"operations":[{"op":"create_entity","name":"Note","fields":[{"name":"title",'
            '"field_type":"string","optional":false,"unique":false}],"level":"additive","rows":0}]}',
            '{"manifest_version":1,"name":"notes","version":"1.0.0","entities":[{"name":"Note",'
            '"fields":[{"name":"title","type":"string","optional":false,"unique":false}],'
            '"indexes":[],"crdt":true}],"routes":[],"queries":[],"actions":[],"policies":[{"name":'
            '"Note","entity":"Note","allowRead":"true","allowInsert":"true","allowUpdate":"true",'
            '"allowDelete":"true"}]}',
            None,
        )
    ],
    "_pylon_changes": [
        (2, "Note", ROW_ID, "insert", 2, None, 1795851697),
        (3, "Note", "gone", "delete", 1, "[[3,{}]]", 1795851698),
    ],
    "_pylon_epochs": [("userId:ann", 4)],
    "_pylon_sessions": [
        (
            hashlib.sha256(TOKEN.encode()).digest(),
            b"a sign-in of 16.",
            TOKEN[:8],
            "ann",
            1795851695,
            0,
            1795851695,
            None,
            None,
            None,
        )
    ],
    "_pylon_op_ids": [("ann", "op-1", 1795851697)],
    "_pylon_temporary_rows": [(1, b"reader", "ann", "Note", "_pending_1", ROW_ID, 1795851697)],
    "_pylon_sync_readers": [(b"reader", b"audience", 0, 1795851697)],
    "_pylon_crdt_snapshots": [("Note", "other", 1, "2026-11-28T07:41:35Z", b"snapshot")],
    "_pylon_crdt_updates": [("Note", "other", 2, b"update")],
}


def make(path: Path, *, without: str | None = None) -> None:
    """The database at `path`. `without` names a column, `table.column`, that it lacks."""
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    for statement in DDL:
        connection.execute(statement)
    for table, rows in ROWS.items():
        for row in rows:
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)
    if without is not None:
        table, _, column = without.partition(".")
        connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    connection.close()
