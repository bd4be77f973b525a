"""Carries out the steps of a plan inside the caller's transaction.

Backfills and conversions go through the rows in batches by id, so that progress can be told; they
are still one transaction. Not here: whether a step may be taken (`engine`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import apsw

from pylon.clock import iso_seconds
from pylon.letters import small_sql
from pylon.moments import moment_column, moment_key
from pylon.schema.model import FieldSpec
from pylon.store.evolution.convert import convert, kind_of, needs_rewrite
from pylon.store.evolution.model import (
    AddField,
    AddIndex,
    AddMoments,
    CreateEntity,
    Planned,
    Progress,
    RemoveEntity,
    RemoveField,
    RemoveIndex,
    RenameEntity,
    RenameField,
    RequireField,
    RetypeField,
    Step,
)
from pylon.store.naming import quote
from pylon.store.sqlite.evolution.follow import forget_in_system_tables, rename_in_system_tables
from pylon.store.sqlite.evolution.introspect import fetch
from pylon.store.sqlite.evolution.survey import backfill_value
from pylon.store.sqlite.evolution.times import (
    KEY_OF_TIME,
    add_column,
    has_column,
    keys_of_times,
    tell_apart,
)
from pylon.store.sqlite.tables import columns, create_index, create_table
from pylon.store.tables import column_type

BATCH_ROWS = 5_000
"""Rows written between two reports of progress."""

SPARE = "_pylon_spare"
"""A name for tables and columns on their way; no entity or field can have it."""


class Apply:
    """The steps as statements on one connection."""

    def __init__(self, connection: apsw.Connection, *, now: float, progress: Progress) -> None:
        self._connection = connection
        self._now_iso = iso_seconds(now)
        self._progress = progress
        self._actions: dict[type[Step], Callable[[Any], None]] = {
            CreateEntity: self._create_entity,
            RenameEntity: self._rename_entity,
            RemoveEntity: self._remove_entity,
            AddField: self._add_field,
            RenameField: self._rename_field,
            RetypeField: self._retype,
            RequireField: self._require,
            RemoveField: self._remove_field,
            AddMoments: self._add_moments,
            AddIndex: self._add_index,
            RemoveIndex: self._remove_index,
        }

    def run(self, steps: Sequence[Planned]) -> None:
        """Take every step in order; steps without an action change words only."""
        for planned in steps:
            action = self._actions.get(type(planned.step))
            if action is not None:
                action(planned.step)

    # --- entities ----------------------------------------------------------------------------

    def _create_entity(self, step: CreateEntity) -> None:
        self._connection.execute(create_table(step.entity))

    def _rename_entity(self, step: RenameEntity) -> None:
        if step.replaces:
            self._connection.execute(f"DROP TABLE {quote(step.new_name)}")
        # Through a spare name, since SQLite refuses a rename that changes the case only.
        self._connection.execute(f"ALTER TABLE {quote(step.name)} RENAME TO {SPARE}")
        self._connection.execute(f"ALTER TABLE {SPARE} RENAME TO {quote(step.new_name)}")
        rename_in_system_tables(self._connection, step.name, step.new_name)

    def _remove_entity(self, step: RemoveEntity) -> None:
        self._connection.execute(f"DROP TABLE {quote(step.name)}")
        forget_in_system_tables(self._connection, step.name)

    # --- fields ------------------------------------------------------------------------------

    def _add_field(self, step: AddField) -> None:
        for column in columns(step.field):
            self._connection.execute(f"ALTER TABLE {quote(step.entity)} ADD COLUMN {column}")
        self._fill(step.entity, step.field)

    def _require(self, step: RequireField) -> None:
        self._fill(step.entity, step.field)

    def _fill(self, entity: str, field: FieldSpec) -> None:
        """Give rows without a value the default of a required field."""
        value = None if field.optional else backfill_value(field, self._now_iso)
        if value is None:
            return
        name, values = quote(field.name), [value]
        assigned = f"{name} = ?3"
        if field.kind == "datetime" and has_column(self._connection, entity, field.name):
            assigned += f", {quote(moment_column(field.name))} = ?4"
            values.append(moment_key(str(value)))
        self._in_batches(
            f"filling {entity}.{field.name}",
            entity,
            f"UPDATE {quote(entity)} SET {assigned} WHERE id > ?1 AND id <= ?2 AND {name} IS NULL",
            *values,
        )

    def _rename_field(self, step: RenameField) -> None:
        table, old, new = quote(step.entity), quote(step.name), quote(step.new_name)
        if step.merges:
            self._in_batches(
                f"merging {step.entity}.{step.name} into {step.new_name}",
                step.entity,
                f"UPDATE {table} SET {old} = {new}"
                f" WHERE id > ?1 AND id <= ?2 AND {new} IS NOT NULL",
            )
            self._drop_column(step.entity, step.new_name)
        self._connection.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
        if has_column(self._connection, step.entity, step.name):
            old, new = quote(moment_column(step.name)), quote(moment_column(step.new_name))
            self._connection.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")

    def _remove_field(self, step: RemoveField) -> None:
        self._drop_column(step.entity, step.name)

    def _drop_column(self, entity: str, name: str) -> None:
        self._drop_keys(entity, name)
        self._drop_indexes_of(entity, name)
        self._connection.execute(f"ALTER TABLE {quote(entity)} DROP COLUMN {quote(name)}")

    def _drop_keys(self, entity: str, name: str) -> None:
        if has_column(self._connection, entity, name):
            self._drop_column(entity, moment_column(name))

    def _add_moments(self, step: AddMoments) -> None:
        self._read_times(step.entity, step.name)

    def _read_times(self, entity: str, name: str) -> None:
        add_column(self._connection, entity, name)
        text, key = quote(name), quote(moment_column(name))
        with keys_of_times(self._connection):
            self._in_batches(
                f"reading the times of {entity}.{name}",
                entity,
                f"UPDATE {quote(entity)} SET {key} = {KEY_OF_TIME}({text}, {key})"
                f" WHERE id > ?1 AND id <= ?2 AND {key} IS NOT {KEY_OF_TIME}({text}, {key})",
            )

    def _retype(self, step: RetypeField) -> None:
        self._drop_keys(step.entity, step.field.name)
        self._change_type(step)
        if step.field.kind == "datetime":
            self._read_times(step.entity, step.field.name)

    def _change_type(self, step: RetypeField) -> None:
        """A new column takes the converted values and then the old one's name and indexes."""
        old, new = kind_of(step.from_type), step.field.kind
        is_same = not needs_rewrite(step.from_type, step.field.type)
        if column_type(old) == column_type(new) and is_same:
            self._convert_in_place(step)
            return
        entity, name = step.entity, step.field.name
        table, source = quote(entity), quote(name)
        self._connection.execute(f"ALTER TABLE {table} ADD COLUMN {SPARE} {column_type(new)}")
        self._convert(step, source, SPARE)
        dropped = self._drop_indexes_of(entity, name)
        self._connection.execute(f"ALTER TABLE {table} DROP COLUMN {source}")
        self._connection.execute(f"ALTER TABLE {table} RENAME COLUMN {SPARE} TO {source}")
        for sql in dropped:
            self._connection.execute(sql)

    def _convert_in_place(self, step: RetypeField) -> None:
        """The column stays; only values that the new type cannot have are changed."""
        if step.field.kind in ("bool", "datetime"):
            self._convert(step, quote(step.field.name), quote(step.field.name))

    def _convert(self, step: RetypeField, source: str, target: str) -> None:
        field = step.field
        default = None if field.optional else backfill_value(field, self._now_iso)

        def converted(*values: Any) -> Any:
            (value,) = values
            found = convert(value, step.from_type, field.type)[0]
            return default if found is None and value is not None else found

        function = "_pylon_convert"
        self._connection.create_scalar_function(function, converted, 1, deterministic=True)
        try:
            self._in_batches(
                f"converting {step.entity}.{field.name}",
                step.entity,
                f"UPDATE {quote(step.entity)} SET {target} = {function}({source})"
                f" WHERE id > ?1 AND id <= ?2 AND {source} IS NOT NULL",
            )
        finally:
            self._connection.create_scalar_function(function, None, 1)

    def _in_batches(self, what: str, entity: str, sql: str, *params: Any) -> None:
        """Run `sql` for consecutive ranges of ids: ?1 is below the first, ?2 the last."""
        table = quote(entity)
        total = fetch(self._connection, f"SELECT count(*) FROM {table}")[0][0]
        after, done = "", 0
        while True:
            last, count = fetch(
                self._connection,
                f"SELECT max(id), count(*) FROM"
                f" (SELECT id FROM {table} WHERE id > ? ORDER BY id LIMIT {BATCH_ROWS})",
                (after,),
            )[0]
            if not count:
                return
            self._connection.execute(sql, (after, last, *params))
            after, done = last, done + count
            self._progress(what, done, total)

    # --- indexes -----------------------------------------------------------------------------

    def _add_index(self, step: AddIndex) -> None:
        if step.tells_apart:
            tell_apart(self._connection, step.entity, step.index)
        self._connection.execute(create_index(step.entity, step.index))

    def _remove_index(self, step: RemoveIndex) -> None:
        # It may have gone with its column already.
        self._connection.execute(f"DROP INDEX IF EXISTS {quote(step.name)}")

    def _drop_indexes_of(self, entity: str, name: str) -> list[str]:
        """Drop the indexes that use a column, in their condition too; the statements that made
        them."""
        found = fetch(
            self._connection,
            "SELECT s.name, s.sql, EXISTS"
            " (SELECT 1 FROM pragma_index_info(s.name) i WHERE i.name = ?2)"
            " FROM sqlite_schema s WHERE s.type = 'index' AND s.tbl_name = ?1"
            " AND s.sql IS NOT NULL",
            (entity, name),
        )
        statements = []
        for index, sql, is_covered in found:
            is_folded = small_sql(quote(name)) in sql
            asked = re.findall(r"\w+", sql.partition(") WHERE ")[2])
            if is_covered or is_folded or name in asked:
                self._connection.execute(f"DROP INDEX {quote(index)}")
                statements.append(sql)
        return statements
