"""Reads and writes the ledger: what was done to the schema, and what the engine made of it.

`_pylon_schema_history` has a row for each change (`store/evolution/ledger.py`). `_pylon_meta` holds
the recorded state and a fingerprint that tells a running server when somebody else has changed its
schema.
"""

from __future__ import annotations

import hashlib
from typing import Any

import apsw
import msgspec

from pylon.clock import iso_seconds
from pylon.codec import decode_trusted, encode
from pylon.schema.model import Manifest
from pylon.store.evolution.ledger import HistoryEntry, RanMigration
from pylon.store.evolution.model import Plan, Recorded, SqlMigration
from pylon.store.sqlite.evolution.introspect import fetch

FINGERPRINT = "SELECT value FROM _pylon_meta WHERE key = 'schema_fingerprint'"

_SAVE = (
    "INSERT INTO _pylon_meta (key, value) VALUES (?, ?)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value"
)


# --- the recorded state ----------------------------------------------------------------------


def read_recorded(connection: apsw.Connection) -> Recorded | None:
    """What the engine made of this database; None when it never touched it."""
    found = _meta(connection, "schema_state")
    return None if found is None else msgspec.json.decode(found, type=Recorded)


def save_recorded(connection: apsw.Connection, recorded: Recorded) -> None:
    connection.execute(_SAVE, ("schema_state", encode(recorded).decode()))


def read_fingerprint(connection: apsw.Connection) -> str | None:
    """The fingerprint of the schema that the database has now."""
    found: str | None = _meta(connection, "schema_fingerprint")
    return found


def save_fingerprint(connection: apsw.Connection, manifest: Manifest, generation: str) -> None:
    """`generation` is the history entry that last changed what readers see."""
    entities = {entity.name: entity.to_wire() for entity in manifest.entities}
    for wire in entities.values():
        wire.pop("relations", None)
    digest = hashlib.sha256(encode(sorted(entities.items()))).hexdigest()[:32]
    connection.execute(_SAVE, ("schema_fingerprint", f"{digest}:{generation}"))


def read_generation(connection: apsw.Connection) -> str:
    """The generation of the present fingerprint."""
    return (read_fingerprint(connection) or "").partition(":")[2]


def _meta(connection: apsw.Connection, key: str) -> Any:
    found = fetch(connection, "SELECT value FROM _pylon_meta WHERE key = ?", (key,))
    return found[0][0] if found else None


# --- history ---------------------------------------------------------------------------------


def append_history(
    connection: apsw.Connection,
    plan: Plan,
    manifest: Manifest,
    *,
    baseline: str,
    migrations: tuple[SqlMigration, ...],
    now: float,
) -> str:
    """Write the entry of a plan that was applied; its id."""
    history_id = _new_id(connection, now)
    done = [
        {"number": each.number, "name": each.name, "checksum": each.checksum} for each in migrations
    ]
    plan_wire = {"operations": [each.to_wire() for each in plan.steps]}
    connection.execute(
        "INSERT INTO _pylon_schema_history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            history_id,
            manifest.manifest_version,
            manifest.version,
            iso_seconds(now),
            len(plan.steps) + len(done),
            baseline,
            encode(plan_wire).decode(),
            encode(manifest.to_wire()).decode(),
            encode(done).decode() if done else None,
        ),
    )
    return history_id


def _new_id(connection: apsw.Connection, now: float) -> str:
    """`<seconds>.<nanoseconds>`, above every earlier one even when the clock went back."""
    nanoseconds = int(now * 1_000_000_000)
    found = fetch(connection, "SELECT max(id) FROM _pylon_schema_history")[0][0]
    if found is not None:
        seconds, _, rest = found.partition(".")
        nanoseconds = max(nanoseconds, int(seconds) * 1_000_000_000 + int(rest) + 1)
    return f"{nanoseconds // 1_000_000_000}.{nanoseconds % 1_000_000_000:09}"


def read_history(
    connection: apsw.Connection, *, limit: int | None = None, entry_id: str | None = None
) -> list[HistoryEntry]:
    """Entries, the newest first; none for a database that has no ledger."""
    if not has_history(connection):
        return []
    where, params = ("", [])
    if entry_id is not None:
        where, params = (" WHERE id = ?", [entry_id])
    found = fetch(
        connection,
        "SELECT id, manifest_version, app_version, applied_at, operation_count, baseline,"
        f" plan_json, manifest_json, migrations_json FROM _pylon_schema_history{where}"
        " ORDER BY id DESC LIMIT ?",
        (*params, -1 if limit is None else limit),
    )
    return [
        HistoryEntry(
            id=row[0],
            manifest_version=row[1],
            app_version=row[2],
            applied_at=row[3],
            operation_count=row[4],
            baseline=row[5],
            plan_json=row[6],
            manifest_json=row[7],
            migrations=() if row[8] is None else tuple(decode_trusted(row[8])),
        )
        for row in found
    ]


def has_history(connection: apsw.Connection) -> bool:
    """Whether there is a ledger."""
    found = fetch(
        connection,
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '_pylon_schema_history'",
    )
    return bool(found)


def applied_migrations(connection: apsw.Connection) -> dict[int, RanMigration]:
    """Hand-written migrations in the ledger, by number."""
    if not has_history(connection):
        return {}
    found = fetch(
        connection,
        "SELECT migrations_json, applied_at FROM _pylon_schema_history"
        " WHERE migrations_json IS NOT NULL ORDER BY id",
    )
    return {
        each["number"]: RanMigration(**each, applied_at=applied_at)
        for text, applied_at in found
        for each in decode_trusted(text)
    }
