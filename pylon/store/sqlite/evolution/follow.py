"""What must follow when the schema changes: the change log and every other system table.

A migration changes rows without a change of their own in the log, so readers' cursors are made to
start anew: the next start of the log sees other read rules than it saved (`ChangeLog.start`) and
takes a position above all of them.
"""

from __future__ import annotations

import apsw

from pylon.store.naming import quote

LOG = "_pylon_changes"


def restart_cursors(connection: apsw.Connection, reason: str) -> None:
    """Make every cursor start anew from the next start of the log. A log without read rules has
    not been started yet and has no cursors."""
    connection.execute(
        "UPDATE _pylon_meta SET value = ? WHERE key = 'read_rules' AND value <> ''",
        (f"changed by the schema change {reason}",),
    )
    if has_log(connection):
        # Their field names may be gone; no cursor will ask for them again.
        connection.execute(f"UPDATE {LOG} SET audiences = NULL WHERE audiences IS NOT NULL")


def has_log(connection: apsw.Connection) -> bool:
    """Whether the change log exists."""
    found = connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (LOG,)
    ).fetchall()
    return bool(found)


def rename_in_system_tables(connection: apsw.Connection, old: str, new: str) -> None:
    """Carry log entries, documents and whatever else is kept by entity to the new name."""
    for table in _tables_by_entity(connection):
        connection.execute(f"DELETE FROM {table} WHERE entity = ?", (new,))
        connection.execute(f"UPDATE {table} SET entity = ? WHERE entity = ?", (new, old))


def forget_in_system_tables(connection: apsw.Connection, entity: str) -> None:
    """Drop what is kept for a removed entity."""
    for table in _tables_by_entity(connection):
        connection.execute(f"DELETE FROM {table} WHERE entity = ?", (entity,))


def forget_documents(connection: apsw.Connection, entity: str) -> None:
    """Drop the documents of rows whose fields were changed beside them; each is made anew from its
    row when it is next wanted."""
    for table in _tables_by_entity(connection):
        if table.startswith('"_pylon_crdt_'):
            connection.execute(f"DELETE FROM {table} WHERE entity = ?", (entity,))


def _tables_by_entity(connection: apsw.Connection) -> list[str]:
    """System tables that have a column `entity`."""
    found = connection.execute(
        "SELECT l.name FROM pragma_table_list l JOIN pragma_table_info(l.name) c"
        r" WHERE l.schema = 'main' AND l.type = 'table' AND l.name LIKE '\_pylon%' ESCAPE '\'"
        " AND c.name = 'entity'"
    ).fetchall()
    return [quote(str(name)) for (name,) in found]


def reconcile_log(connection: apsw.Connection, entity: str, now: float) -> None:
    """Give rows that came without the log (hand-written SQL, a restored table) an entry, and drop
    the entries of rows that went without it."""
    if not has_log(connection):
        return
    table = quote(entity)
    missing = f"FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM {LOG} c"
    missing += " WHERE c.entity = ?1 AND c.row_id = t.id AND c.kind <> 'delete')"
    connection.execute(
        f"DELETE FROM {LOG} WHERE entity = ?1 AND NOT EXISTS"
        f" (SELECT 1 FROM {table} t WHERE t.id = {LOG}.row_id)",
        (entity,),
    )
    connection.execute(
        f"DELETE FROM {LOG} WHERE entity = ?1 AND kind = 'delete' AND row_id IN"
        f" (SELECT id FROM {table})",
        (entity,),
    )
    connection.execute(
        f"INSERT INTO {LOG} (seq, entity, row_id, kind, born, at)"
        " SELECT m.seq + r.number, ?1, r.id, 'insert', m.seq + r.number, ?2"
        f" FROM (SELECT t.id, row_number() OVER (ORDER BY t.id) number {missing}) r,"
        f" (SELECT max(value, coalesce((SELECT max(seq) FROM {LOG}), 0)) seq"
        " FROM _pylon_meta WHERE key = 'seq') m",
        (entity, int(now)),
    )
    connection.execute(
        f"UPDATE _pylon_meta SET value = max(value, (SELECT coalesce(max(seq), 0) FROM {LOG}))"
        " WHERE key = 'seq'"
    )
