"""Hand-written migrations: `migrations/NNNN_name.sql` with an UP and a DOWN part.

Found, read and compared with the ledger here; each database runs UP in its own way, once, in order
of the numbers, inside the transaction of the evolution and before the steps that the engine finds.
DOWN is for people: nothing runs it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pylon.store.evolution.ledger import RanMigration
from pylon.store.evolution.model import EvolutionError, SqlMigration

FOLDER = "migrations"

_FILE = re.compile(r"(\d{4,9})_([A-Za-z0-9_]+)\.sql")
_UP = re.compile(r"^--\s*UP\s*$", re.MULTILINE | re.IGNORECASE)
_DOWN = re.compile(r"^--\s*DOWN\s*$", re.MULTILINE | re.IGNORECASE)

TEMPLATE = """\
-- UP
-- Write the SQL here; `pylon migrate apply` runs it once, in one transaction, before it fits the
-- tables to the app.

-- DOWN
-- What would take it back, for people; nothing runs it.
"""


def read_migrations(folder: Path) -> list[SqlMigration]:
    """Every migration of an app in order; none without a folder. Two of one number are an error."""
    found: dict[int, SqlMigration] = {}
    for file in sorted(folder.glob("*.sql")) if folder.is_dir() else []:
        matched = _FILE.fullmatch(file.name)
        if matched is None:
            raise EvolutionError(
                "MIGRATION_NAME_INVALID",
                f"{file} is not called NNNN_name.sql.",
                "Use `pylon migrate create NAME`, or move the file elsewhere.",
            )
        migration = _read(file, int(matched[1]), matched[2])
        if migration.number in found:
            first = found[migration.number].label
            raise EvolutionError(
                "MIGRATION_NUMBER_CLASH",
                f"{first} and {migration.label} have the same number.",
                "Give the later one the next number.",
            )
        found[migration.number] = migration
    return [found[number] for number in sorted(found)]


def _read(file: Path, number: int, name: str) -> SqlMigration:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise EvolutionError("MIGRATION_READ_FAILED", f"cannot read {file}: {problem}") from problem
    up = _UP.search(text)
    if up is None:
        raise EvolutionError(
            "MIGRATION_INVALID", f"{file} has no line `-- UP`.", "Put it before the SQL to run."
        )
    down = _DOWN.search(text, up.end())
    body = text[up.end() : down.start() if down else len(text)].strip()
    checksum = hashlib.sha256(body.encode()).hexdigest()
    return SqlMigration(number=number, name=name, up=body, checksum=checksum)


def pending(
    migrations: Iterable[SqlMigration], applied: Mapping[int, RanMigration]
) -> tuple[SqlMigration, ...]:
    """Those that have not run. One that ran and was edited since is an error, and so is one that
    comes before one that ran."""
    waiting: list[SqlMigration] = []
    for migration in migrations:
        ran = applied.get(migration.number)
        if ran is None:
            waiting.append(migration)
        elif ran.checksum != migration.checksum:
            raise EvolutionError(
                "MIGRATION_CHANGED",
                f"{migration.label} was changed after it ran ({ran.applied_at}).",
                "Put it back as it was, and write a new migration.",
            )
    newest = max(applied, default=0)
    late = [each.label for each in waiting if each.number < newest]
    if late:
        raise EvolutionError(
            "MIGRATION_OUT_OF_ORDER",
            f"{', '.join(late)} comes before a migration that has run already.",
            "Give it the next number.",
        )
    return tuple(waiting)


def next_file(folder: Path, name: str) -> Path:
    """Where a new migration goes: one above the highest number."""
    newest = max((each.number for each in read_migrations(folder)), default=0)
    return folder / f"{newest + 1:04}_{name}.sql"
