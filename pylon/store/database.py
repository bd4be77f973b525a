"""A database as a whole: brought to a schema, looked into, copied, put back, and opened to serve.

What commands, Studio and jobs call; while it is served it is a `ServedStore` (`base.py`). Made by
`opening.open_database`; implemented in the room of each database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from pylon.schema.model import Manifest
from pylon.store.base import Row, ServedStore, Value
from pylon.store.evolution.ledger import HistoryEntry, RanMigration
from pylon.store.evolution.live import Live
from pylon.store.evolution.model import Outcome, Plan, Progress, no_progress
from pylon.store.evolution.wish import Wish


class DatabaseFailed(Exception):
    """The database refused, or could not be read or written; the message says it in its words."""


class BackupError(Exception):
    """A backup that cannot be made or must not be used. `code` is stable."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class Reader(Protocol):
    """Reads a database and cannot change it."""

    def fetch(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """The rows of a query; `DatabaseFailed` where it is refused."""
        ...


class Replacement(Protocol):
    """A copy that was proved and lies ready, while nobody uses what it is to replace."""

    def exchange(self, stamp: str) -> Path | None:
        """Put the copy in the place of the database, durably. Until then nothing that exists is
        touched. What was there is kept under a name with `stamp`, which is given back; None where
        nothing was there."""
        ...


class Database(Protocol):
    """One database, whether somebody serves it or not.

    All of it is synchronous, for processes that serve nobody meanwhile; only `serve` needs a loop
    later. A method opens what it needs and lets go of it. Those that need the server's own tables
    make them, and the database, where they are missing. Failures are `ConfigError`s with one line
    for the operator (`STORE_OPEN_FAILED`, `DATABASE_NEWER`, `DATABASE_INCOMPLETE`), unless a method
    says otherwise.
    """

    @property
    def name(self) -> str:
        """What people call it: a path, an address without a password."""
        ...

    @property
    def adapter(self) -> str:
        """Which kind of database it is, in one word for programs."""
        ...

    def exists(self) -> bool:
        """Whether there is a database yet."""
        ...

    def is_in_use(self) -> bool:
        """Whether another process has it open, be it only to read."""
        ...

    def schema_mark(self) -> str | None:
        """Something that is another after each push, migration or start that changes the schema;
        None where there is none, or nobody can tell. Cheap, and raises nothing."""
        ...

    # --- its schema --------------------------------------------------------------------------

    def preview(self, manifest: Manifest, wish: Wish, *, progress: Progress = no_progress) -> Plan:
        """The plan as `evolve` would find it; nothing is changed."""
        ...

    def evolve(
        self, manifest: Manifest, wish: Wish, *, progress: Progress = no_progress
    ) -> Outcome:
        """Bring it to the manifest, all or nothing, also beside a server, which then stops writing.

        It is copied first where something is about to be lost. Raises `EvolutionError` with the
        plan: `SCHEMA_REFUSED`, `SCHEMA_BLOCKED`, `RENAME_UNCONFIRMED` or those of migrations.
        """
        ...

    def plan_from(self, before: Manifest | None, manifest: Manifest, wish: Wish) -> Plan:
        """The plan from an empty database of another manifest, or of none, to this one.

        Neither reads nor changes this database. Raises `EvolutionError`.
        """
        ...

    def inspect(self) -> Live:
        """The tables, columns and indexes that it really has. Changes nothing."""
        ...

    def history(
        self, *, limit: int | None = None, entry_id: str | None = None
    ) -> Sequence[HistoryEntry]:
        """What was done to its schema, the newest first; nothing for one that is not ours.
        Changes nothing."""
        ...

    def ran_migrations(self) -> Mapping[int, RanMigration]:
        """The hand-written migrations that have run, by number. Changes nothing."""
        ...

    # --- its rows ----------------------------------------------------------------------------

    def reading(self) -> AbstractContextManager[Reader]:
        """Read it as it is, also beside a server. `DatabaseFailed` where it does not answer."""
        ...

    def serve(self, manifest: Manifest, *, baseline: str, confirm_renames: bool) -> ServedStore:
        """Fit it to the manifest as far as nothing can be lost, and open it for this process alone.

        `baseline` is written into the ledger; with `confirm_renames` (production), what looks like
        a rename is not served before somebody has said whether it is one. `SCHEMA_UNREACHABLE`
        where fitting would take more.
        """
        ...

    # --- the whole ---------------------------------------------------------------------------

    def backup(self, target: Path) -> None:
        """Copy the last committed state to the new file `target`, durably, also while others write.
        `DatabaseFailed` or `OSError`; then `target` is not there."""
        ...

    def restore(self, source: Path) -> AbstractContextManager[Replacement]:
        """Lock out everybody, copy `source`, a file that `backup` made, beside, and prove the copy.

        In it every reader's cursor starts anew. Whoever leaves the block without an exchange leaves
        everything as it was. `BackupError` (`RESTORE_IN_USE`, `RESTORE_DAMAGED`,
        `RESTORE_NO_DATABASE`), `ConfigError` (`DATABASE_NEWER`), `DatabaseFailed` or `OSError`.
        """
        ...

    def integrity(self) -> Sequence[str]:
        """What the database finds wrong with itself; empty when it is sound. Takes as long as it
        takes to read it once."""
        ...
