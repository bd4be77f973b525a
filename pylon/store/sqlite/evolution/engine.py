"""The one engine of schema evolution: plan and apply, in one transaction, with a ledger.

`dev`, `start`, `pylon schema push` and `pylon migrate apply` are spellings of `evolve`; `preview`
is the same up to the point where something would be written. Synchronous, on a connection that
nobody else uses meanwhile: before a server serves, or in a command.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import apsw
import msgspec
from msgspec.structs import replace

from pylon.schema.model import EntitySpec, Manifest
from pylon.store.evolution.live import Live
from pylon.store.evolution.model import (
    AddIndex,
    CreateSearchIndex,
    EvolutionError,
    Outcome,
    Plan,
    Planned,
    Progress,
    Recorded,
    RecordedEntity,
    RecordedField,
    RemoveEntity,
    RemoveField,
    RemoveIndex,
    RenameEntity,
    RenameField,
    RestoreEntity,
    constraints_of,
    no_progress,
)
from pylon.store.evolution.plan import diff, kept_references
from pylon.store.evolution.searched import disturbed_by, rewritten_by
from pylon.store.evolution.wish import Wish, as_wished, blockers
from pylon.store.sqlite.evolution import history
from pylon.store.sqlite.evolution.apply import Apply
from pylon.store.sqlite.evolution.follow import forget_documents, reconcile_log, restart_cursors
from pylon.store.sqlite.evolution.introspect import introspect
from pylon.store.sqlite.evolution.migration_run import run_migration
from pylon.store.sqlite.evolution.survey import survey
from pylon.store.sqlite.file_copy import copy_database, part_of
from pylon.store.tables import wanted_indexes


class SearchIndexes(Protocol):
    """Whoever keeps full-text indexes. Both run inside the transaction of the evolution, on its
    connection."""

    def remove(self, connection: apsw.Connection, entity: str) -> None:
        """Drop every table, trigger and index that serves the search of `entity`; none is fine.
        Called before its table is renamed, changed or dropped."""
        ...

    def build(
        self,
        connection: apsw.Connection,
        manifest: Manifest,
        entity: EntitySpec,
        progress: Progress,
    ) -> None:
        """Make the indexes of `entity.search` and fill them from the rows."""
        ...


def preview(
    connection: apsw.Connection,
    manifest: Manifest,
    wish: Wish,
    *,
    now: float,
    search: SearchIndexes | None = None,
    progress: Progress = no_progress,
) -> Plan:
    """The plan as `evolve` would find it; nothing is changed. Pending hand-written migrations are
    run and undone, since the rest depends on what they do."""
    run = _Run(connection, manifest, wish, now=now, search=search, progress=progress)
    with _transaction(connection, keep=False, immediate=bool(wish.migrations)):
        return run.plan()


def evolve(
    connection: apsw.Connection,
    manifest: Manifest,
    wish: Wish,
    *,
    now: float,
    search: SearchIndexes | None = None,
    progress: Progress = no_progress,
    backup_from: Path | None = None,
) -> Outcome:
    """Bring the database to the manifest, all or nothing.

    `backup_from` is the file that is copied before something is lost (None: no copy, for a volatile
    database). Raises `EvolutionError` with the plan: `SCHEMA_REFUSED` when the rows do not allow a
    step, `SCHEMA_BLOCKED` when a step is above `wish.allow`, `RENAME_UNCONFIRMED`.
    """
    run = _Run(
        connection,
        manifest,
        wish,
        now=now,
        search=search,
        progress=progress,
        backup_from=backup_from,
    )
    with _transaction(connection, keep=True, immediate=True):
        return run.apply()


@contextlib.contextmanager
def _transaction(connection: apsw.Connection, *, keep: bool, immediate: bool) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE" if immediate else "BEGIN")
    try:
        yield
        connection.execute("COMMIT" if keep else "ROLLBACK")
    except apsw.ConstraintError as error:
        raise EvolutionError(
            "SCHEMA_REFUSED", f"The rows do not fit the new schema: {error}."
        ) from error
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


class _Run:
    """One evolution, inside its transaction."""

    def __init__(
        self,
        connection: apsw.Connection,
        manifest: Manifest,
        wish: Wish,
        *,
        now: float,
        search: SearchIndexes | None,
        progress: Progress,
        backup_from: Path | None = None,
    ) -> None:
        self._connection = connection
        self._manifest = manifest
        self._wish = wish
        self._now = now
        self._search = search
        self._progress = progress
        self._backup_from = backup_from
        self._live = Live(tables={})
        self._recorded: Recorded | None = None
        self._entity_before: dict[str, str] = {}
        self._fields_renamed: set[tuple[str, str]] = set()

    def plan(self) -> Plan:
        """Run what is hand-written, then compare and survey."""
        for migration in self._wish.migrations:
            self._progress(f"running {migration.label}", 0, 1)
            run_migration(self._connection, migration)
        self._live = introspect(self._connection)
        self._recorded = history.read_recorded(self._connection)
        found = diff(
            self._live,
            self._recorded,
            self._manifest,
            self._wish.hints,
            with_search=self._search is not None,
            is_migrated=bool(self._wish.migrations),
        )
        for step in found.steps:
            if isinstance(step, RenameEntity):
                self._entity_before[step.new_name] = step.name
            elif isinstance(step, RenameField):
                self._fields_renamed.add((step.entity, step.name))
        steps = survey(self._connection, self._live, found.steps, self._progress)
        steps = tuple(map(self._with_visibility, steps))
        notices = tuple(each.notice for each in steps if each.notice is not None)
        steps = self._without_what_is_there(steps)
        losing = [each.step for each in steps if each.rows]
        return Plan(
            steps=steps,
            suggestions=tuple(each for each in found.suggestions if each.removed in losing),
            migrations=tuple(each.label for each in self._wish.migrations),
            notices=notices,
        )

    def _without_what_is_there(self, steps: tuple[Planned, ...]) -> tuple[Planned, ...]:
        """Without the indexes that would be made as they are already, for want of better rows."""
        kept = set()
        for planned in steps:
            step = planned.step
            if planned.notice is not None and isinstance(step, AddIndex):
                before = self._entity_before.get(step.entity, step.entity)
                table = self._live.tables.get(before)
                if table is not None and table.indexes.get(step.name) == step.index:
                    kept.add((step.entity, step.name))
        return tuple(
            each
            for each in steps
            if not (
                isinstance(each.step, AddIndex | RemoveIndex)
                and (each.step.entity, each.step.name) in kept
            )
        )

    def apply(self) -> Outcome:
        plan = self.plan()
        self._check(plan)
        steps = as_wished(plan, self._wish).steps
        done = Plan(steps=steps, migrations=plan.migrations, notices=plan.notices)
        backup = self._back_up(done)
        disturbed = self._take_search_down(steps)
        Apply(self._connection, now=self._now, progress=self._progress).run(steps)
        self._put_search_up(steps, disturbed)
        history_id = self._record(done)
        return Outcome(plan=done, history_id=history_id, backup=backup)

    def _with_visibility(self, planned: Planned) -> Planned:
        """Nobody sees it when something goes that the app has not had for a while."""
        step = planned.step
        was_kept = False
        if isinstance(step, RemoveEntity) and self._recorded is not None:
            was_kept = self._recorded.entities[step.name].kept
        elif isinstance(step, RemoveField):
            fields = self._fields_before(step.entity)
            was_kept = step.name in fields and fields[step.name].kept
        return replace(planned, is_visible=False) if was_kept else planned

    # --- may it be done ----------------------------------------------------------------------

    def _check(self, plan: Plan) -> None:
        if plan.refused:
            raise EvolutionError(
                "SCHEMA_REFUSED",
                "The rows in the database do not allow this schema.",
                "Change the rows or the app; nothing was changed.",
                plan=plan,
            )
        if blockers(plan, self._wish):
            raise EvolutionError(
                "SCHEMA_BLOCKED",
                f"The schema needs steps beyond {self._wish.allow} ones.",
                plan=plan,
            )
        if self._wish.confirm_renames and plan.suggestions:
            raise EvolutionError(
                "RENAME_UNCONFIRMED",
                " ".join(each.message for each in plan.suggestions),
                plan=plan,
            )

    def _back_up(self, plan: Plan) -> str | None:
        """Copy the file as it was before this transaction, when something is about to be lost."""
        source = self._backup_from
        if source is None or not (plan.at("destructive") or plan.migrations):
            return None
        # Only one evolves a database at a time: these were killed.
        for left in source.parent.glob(part_of(source.with_name(f"{source.name}.*.backup")).name):
            left.unlink(missing_ok=True)
        stamp = datetime.fromtimestamp(self._now, UTC).strftime("%Y%m%dT%H%M%SZ")
        target = source.with_name(f"{source.name}.{stamp}.backup")
        number = 1
        while target.exists():
            number += 1
            target = source.with_name(f"{source.name}.{stamp}-{number}.backup")
        copy_database(source, target)
        return str(target)

    # --- search ------------------------------------------------------------------------------

    def _take_search_down(self, steps: Sequence[Planned]) -> set[str]:
        """Drop the search indexes of entities whose rows or tables change; their present names."""
        if self._search is None or self._recorded is None:
            return set()
        disturbed = disturbed_by(steps)
        for name in sorted(disturbed):
            before = self._entity_before.get(name, name)
            was = self._recorded.entities.get(before)
            if was is not None and was.search:
                self._search.remove(self._connection, before)
        return disturbed

    def _put_search_up(self, steps: Sequence[Planned], disturbed: set[str]) -> None:
        """Build them anew, with those that are new or have another configuration."""
        if self._search is None:
            return
        new = {each.step.entity for each in steps if isinstance(each.step, CreateSearchIndex)}
        for entity in self._manifest.entities:
            if entity.name in disturbed | new and entity.search:
                self._search.build(self._connection, self._manifest, entity, self._progress)

    # --- the ledger --------------------------------------------------------------------------

    def _record(self, plan: Plan) -> str | None:
        connection, wish = self._connection, self._wish
        history.save_recorded(connection, self._new_state())
        generation = history.read_generation(connection)
        history_id = None
        if not plan.is_empty:
            history_id = history.append_history(
                connection,
                plan,
                self._manifest,
                baseline=wish.baseline,
                migrations=wish.migrations,
                now=self._now,
            )
            self._follow(plan, history_id)
            if plan.migrations or any(each.is_visible for each in plan.steps):
                generation = history_id
        history.save_fingerprint(connection, self._manifest, generation)
        return history_id

    def _follow(self, plan: Plan, history_id: str) -> None:
        if plan.migrations or any(each.is_visible for each in plan.steps):
            restart_cursors(self._connection, history_id)
        rewritten = rewritten_by(plan.steps)
        restored = {each.step.name for each in plan.steps if isinstance(each.step, RestoreEntity)}
        for entity in self._manifest.entities:
            if plan.migrations or entity.name in rewritten:
                forget_documents(self._connection, entity.name)
            if plan.migrations or entity.name in restored:
                reconcile_log(self._connection, entity.name, self._now)

    def _new_state(self) -> Recorded:
        """The manifest's entities, and what is ours and still there."""
        entities = {
            entity.name: RecordedEntity(
                fields={
                    **self._kept_fields(entity.name),
                    **{
                        field.name: RecordedField(
                            type=field.type,
                            optional=field.optional,
                            private=field.is_private,
                            moments=field.kind == "datetime",
                            constraints=constraints_of(field),
                        )
                        for field in entity.fields
                    },
                },
                indexes=tuple(each.name for each in wanted_indexes(entity)),
                search=entity.search if self._search is not None else None,
                references=kept_references(entity),
            )
            for entity in self._manifest.entities
        }
        if self._wish.keep_removed and self._recorded is not None:
            renamed = set(self._entity_before.values())
            for name, was in self._recorded.entities.items():
                if name not in entities and name not in renamed and name in self._live.tables:
                    entities[name] = msgspec.structs.replace(was, kept=True, search=None)
        return Recorded(entities=entities)

    def _kept_fields(self, entity: str) -> dict[str, RecordedField]:
        if not self._wish.keep_removed:
            return {}
        return {
            name: msgspec.structs.replace(field, kept=True)
            for name, field in self._fields_before(entity).items()
            if (entity, name) not in self._fields_renamed and self._is_live(entity, name)
        }

    def _fields_before(self, entity: str) -> dict[str, RecordedField]:
        """The recorded fields of an entity that may have had another name."""
        if self._recorded is None:
            return {}
        was = self._recorded.entities.get(self._entity_before.get(entity, entity))
        return {} if was is None else was.fields

    def _is_live(self, entity: str, field: str) -> bool:
        table = self._live.tables.get(self._entity_before.get(entity, entity))
        return table is not None and field in table.columns
