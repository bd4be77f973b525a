"""What each step means for the rows that there are: how many it touches, what is lost, whether it
can be done at all. Reads only; called inside the transaction that then applies the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import apsw
import msgspec

from pylon.codec import decode_trusted, encode
from pylon.moments import shown_column
from pylon.schema.constraints import Check, Fault, constraint, decimal_text
from pylon.schema.index_condition import named_fields, read_condition
from pylon.schema.model import AuthDefault, FieldSpec, JsonDefault, NowDefault
from pylon.store.evolution.convert import (
    Converted,
    changes_shape,
    convert,
    is_always_lossless,
    kind_of,
    needs_rewrite,
)
from pylon.store.evolution.live import Live
from pylon.store.evolution.model import (
    AddField,
    AddIndex,
    AddMoments,
    ConstrainField,
    CreateEntity,
    CreateSearchIndex,
    KeepReference,
    Planned,
    Progress,
    RelaxField,
    RemoveEntity,
    RemoveField,
    RemoveIndex,
    RemoveSearchIndex,
    RenameEntity,
    RenameField,
    RequireField,
    RestoreEntity,
    RestoreField,
    RetypeField,
    SetPrivate,
    Step,
)
from pylon.store.naming import quote
from pylon.store.sqlite.evolution.introspect import fetch
from pylon.store.sqlite.evolution.times import KEY_OF_TIME, keys_of_times

READ_AHEAD = 10_000
"""Rows looked at between two reports of progress."""


def survey(
    connection: apsw.Connection, live: Live, steps: Sequence[Step], progress: Progress
) -> tuple[Planned, ...]:
    """Every step with its level, its rows and why it may be refused."""
    with keys_of_times(connection):
        return tuple(_Survey(connection, live, steps, progress).planned())


def backfill_value(field: FieldSpec, now_iso: str) -> str | int | float | None:
    """What rows without a value get when `field` is required; None when the app does not say."""
    default = field.default
    if isinstance(default, NowDefault):
        return now_iso[:10] if field.kind == "date" else now_iso
    if isinstance(default, JsonDefault):
        return default.text
    if field.kind == "decimal" and isinstance(default, str | int | float):
        return decimal_text(default, field.scale)
    if field.kind in ("json", "list") and default is not None:
        return None if isinstance(default, AuthDefault) else encode(default).decode()
    if default is None or isinstance(default, AuthDefault):
        return None
    return int(default) if isinstance(default, bool) else default


class _Survey:
    """Looks at the database as it was before the first step, so names are turned back."""

    def __init__(
        self,
        connection: apsw.Connection,
        live: Live,
        steps: Sequence[Step],
        progress: Progress,
    ) -> None:
        self._connection = connection
        self._live = live
        self._steps = steps
        self._progress = progress
        self._tables = {
            each.new_name: each.name for each in steps if isinstance(each, RenameEntity)
        }
        self._columns = {
            (each.entity, each.new_name): each.name
            for each in steps
            if isinstance(each, RenameField)
        }
        self._counts: dict[str, int] = {}
        self._rules: dict[type[Step], Callable[[Any], Planned]] = {
            RenameEntity: self._rename_entity,
            RestoreEntity: self._restore_entity,
            RemoveEntity: self._remove_entity,
            AddField: self._add_field,
            RenameField: self._rename_field,
            RestoreField: self._restore_field,
            RetypeField: self._retype,
            RequireField: self._require,
            RemoveField: self._remove_field,
            ConstrainField: self._constrain,
            SetPrivate: lambda step: Planned(step=step, is_visible=True),
            AddIndex: self._add_index,
            KeepReference: self._keep_reference,
        }

    def planned(self) -> Iterable[Planned]:
        plain = (
            *(AddMoments, CreateEntity, RelaxField),
            *(RemoveIndex, CreateSearchIndex, RemoveSearchIndex),
        )
        for step in self._steps:
            rule = self._rules.get(type(step))
            assert rule is not None or isinstance(step, plain), step
            yield Planned(step=step) if rule is None else rule(step)

    # --- entities ----------------------------------------------------------------------------

    def _rename_entity(self, step: RenameEntity) -> Planned:
        in_the_way = self._count_of_table(step.new_name) if step.replaces else 0
        refused = None
        if in_the_way:
            refused = f"{step.new_name} exists already and has {_rows(in_the_way)}"
        return Planned(
            step=step,
            level="careful",
            rows=self._count_of_table(step.name),
            refused=refused,
            is_visible=True,
        )

    def _restore_entity(self, step: RestoreEntity) -> Planned:
        rows = self._count(step.name)
        return Planned(
            step=step, rows=rows, note=f"its {_rows(rows)} can be seen again", is_visible=True
        )

    def _remove_entity(self, step: RemoveEntity) -> Planned:
        rows = self._count(step.name)
        return _lost(step, rows, "row")

    # --- fields ------------------------------------------------------------------------------

    def _add_field(self, step: AddField) -> Planned:
        field, rows = step.field, self._count(step.entity)
        if field.optional or not rows:
            return Planned(step=step)
        value = backfill_value(field, "the time of the migration")
        if value is None:
            return Planned(step=step, rows=rows, refused=f"{_rows(rows)} would lack a value")
        shown = _shown(field, value)
        if field.unique and rows > 1:
            return Planned(
                step=step, rows=rows, refused=f"{_rows(rows)} would all have the value {shown}"
            )
        return Planned(step=step, rows=rows, note=f"filled with {shown}", is_visible=True)

    def _rename_field(self, step: RenameField) -> Planned:
        table, old = self._sql(step.entity, step.name)
        rows = self._scalar(f"SELECT count({old}) FROM {table}")
        refused = note = None
        if step.merges:
            new = quote(step.new_name)
            differ = self._scalar(
                f"SELECT count(*) FROM {table} WHERE {old} IS NOT NULL AND {new} IS NOT NULL"
                f" AND {old} IS NOT {new}"
            )
            live = self._live.tables[self._tables.get(step.entity, step.entity)]
            same_type = live.columns[step.name].type == live.columns[step.new_name].type
            has_new = self._scalar(f"SELECT count({new}) FROM {table}")
            if differ:
                refused = f"{_rows(differ)} have another value in {step.new_name} already"
            elif has_new and not same_type:
                refused = f"{_rows(has_new)} have a value in {step.new_name} of another type"
            else:
                note = f"moved into the column {step.new_name} that exists already"
        return Planned(
            step=step, level="careful", rows=rows, note=note, refused=refused, is_visible=True
        )

    def _restore_field(self, step: RestoreField) -> Planned:
        table, column = self._sql(step.entity, step.name)
        rows = self._scalar(f"SELECT count({column}) FROM {table}")
        note = f"{_rows(rows)} have a value from before" if rows else None
        return Planned(step=step, rows=rows, note=note, is_visible=bool(rows))

    def _retype(self, step: RetypeField) -> Planned:
        old, new = kind_of(step.from_type), step.field.kind
        table, column = self._sql(step.entity, step.field.name)
        total = self._scalar(f"SELECT count({column}) FROM {table}")
        other_shape = changes_shape(step.from_type, step.field.type)
        if not total or is_always_lossless(step.from_type, step.field.type):
            visible = bool(total) and ({old, new} == {"bool", "int"} or other_shape)
            return Planned(
                step=step,
                level="careful" if visible or step.foreign else "additive",
                rows=total if visible else 0,
                is_visible=visible,
            )
        lossy, empty, example = self._try_conversion(step, total)
        if not lossy:
            rewritten = needs_rewrite(step.from_type, step.field.type) or other_shape
            rewritten = rewritten or {old, new} == {"bool", "int"}
            return Planned(
                step=step,
                level="careful" if rewritten else "additive",
                rows=total if rewritten else 0,
                note="every value converts without loss",
                is_visible=rewritten,
            )
        note = f"{lossy} of {total} values do not convert without loss, for example {example}"
        default = backfill_value(step.field, "")
        required = not step.field.optional
        refused = None
        if empty and required and default is None:
            refused = f"{note}; {empty} of them would be left without a value"
        elif empty:
            kept = f"{default!r}" if required else "null"
            note += f"; {empty} become {kept}"
        return Planned(
            step=step, level="destructive", rows=lossy, note=note, refused=refused, is_visible=True
        )

    def _try_conversion(self, step: RetypeField, total: int) -> tuple[int, int, str]:
        """How many values lose something, how many of them have no successor, and one of them."""
        lossy = empty = 0
        example = ""
        for value, (converted, is_lossless) in self._conversions(step, total):
            if not is_lossless:
                lossy += 1
                empty += converted is None
                example = example or repr(value)[:60]
        return lossy, empty, example

    def _require(self, step: RequireField) -> Planned:
        table, column = self._sql(step.entity, step.field.name)
        lacking = self._scalar(f"SELECT count(*) FROM {table} WHERE {column} IS NULL")
        if not lacking:
            return Planned(step=step)
        value = backfill_value(step.field, "the time of the migration")
        if value is None:
            total = self._count(step.entity)
            return Planned(
                step=step,
                rows=lacking,
                level="careful",
                refused=f"{lacking} of {_rows(total)} lack a value",
            )
        return Planned(
            step=step,
            level="careful",
            rows=lacking,
            note=f"those without a value get {value!r}",
            is_visible=True,
        )

    def _constrain(self, step: ConstrainField) -> Planned:
        """Rows that break the constraint stay as they are until somebody writes the field."""
        allows, total = constraint(step.field), self._count(step.entity)
        if allows is None or not total:
            return Planned(step=step)
        broken, example = self._broken(step, allows, total)
        if not broken:
            return Planned(step=step)
        note = (
            f"{_rows(broken)} of {total} do not fit, for example {example}; they stay as they are,"
            " and are refused at the next write of the field"
        )
        return Planned(step=step, level="careful", rows=broken, note=note)

    def _broken(self, step: ConstrainField, allows: Check, total: int) -> tuple[int, str]:
        """How many values the field will not allow, and one of them."""
        broken, example = 0, ""
        for value, (kept, _) in self._conversions(step, total):
            if kept is None:
                continue  # The conversion tells of it.
            try:
                allows(decode_trusted(kept) if step.field.kind == "list" else kept)
            except Fault:
                broken += 1
                example = example or repr(value)[:60]
        return broken, example

    def _conversions(
        self, step: RetypeField | ConstrainField, total: int
    ) -> Iterator[tuple[Any, Converted]]:
        """The values of a field, and what becomes of each."""
        table, column = self._sql(step.entity, step.field.name)
        found = self._connection.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL")
        for seen, (value,) in enumerate(found, 1):
            if seen % READ_AHEAD == 0:
                self._progress(f"checking {step.entity}.{step.field.name}", seen, total)
            yield value, convert(value, step.from_type, step.field.type)

    def _remove_field(self, step: RemoveField) -> Planned:
        table, column = self._sql(step.entity, step.name)
        rows = self._scalar(f"SELECT count({column}) FROM {table}")
        return _lost(step, rows, "value")

    # --- indexes -----------------------------------------------------------------------------

    def _add_index(self, step: AddIndex) -> Planned:
        owner = self._live.index_owner(step.name)
        entity_before = self._tables.get(step.entity, step.entity)
        if owner is not None and owner != entity_before:
            return Planned(step=step, refused=f"{owner} has an index of that name")
        if not step.unique or entity_before not in self._live.tables:
            return Planned(step=step)
        asked = () if step.where is None else named_fields(read_condition(step.where))
        terms = {name: self._term(step.entity, name) for name in (*step.fields, *asked)}
        if any(terms[name] == "NULL" for name in step.fields):
            return Planned(step=step)
        shared = self._shared(step, terms)
        if shared is None:
            return Planned(step=step)
        groups, rows, example = shared
        if step.tells_apart:
            note = f"{_rows(rows)} are of a moment that another has; they stay"
            return Planned(step=step, rows=rows, note=note)
        values = "value is" if groups == 1 else "values are"
        refused = f"{groups} {values} shared by {_rows(rows)}, for example {example!r:.60}"
        exact = msgspec.structs.replace(step, folded=())
        if not step.folded or self._shared(exact, terms) is not None:
            return Planned(step=step, rows=rows, refused=refused)
        # What differs in case only was two values until now: nobody's rows are lost for it.
        return Planned(
            step=exact,
            notice=f"{step.entity}({', '.join(step.fields)}) is to be unique in either case, but"
            f" {refused}; until they are changed, only values that are equal to the letter are"
            " refused, and looking for one goes through all rows",
        )

    def _shared(self, step: AddIndex, terms: Mapping[str, str]) -> tuple[int, int, object] | None:
        """How many values of a unique index more than one row has, how many rows, and one value."""
        table, _ = self._sql(step.entity, "id")
        index, first = step.index, quote(step.fields[0])
        inner = ", ".join(f"{term} {quote(name)}" for name, term in terms.items())
        found = fetch(
            self._connection,
            f"SELECT count(*), sum(_pylon_rows), max(_pylon_value)"
            f" FROM (SELECT count(*) _pylon_rows, max({first}) _pylon_value"
            f" FROM (SELECT {inner} FROM {table}) WHERE {index.present}"
            f" GROUP BY {index.columns} HAVING count(*) > 1)",
        )
        groups, rows, example = found[0]
        return (groups, rows, example) if groups else None

    def _keep_reference(self, step: KeepReference) -> Planned:
        """Rows that name none stay as they are, and are counted."""
        table, name = self._sql(step.entity, step.name)
        target, key = self._tables.get(step.target, step.target), f"_pylon_row.{name}"
        lacking = ""
        if target in self._live.tables:
            is_there = f"SELECT 1 FROM {quote(target)} _pylon_named WHERE _pylon_named.id = {key}"
            lacking = f" AND NOT EXISTS ({is_there})"
        rows = self._scalar(
            f"SELECT count(*) FROM {table} _pylon_row WHERE {key} IS NOT NULL{lacking}"
        )
        note = (
            f"{_rows(rows)} name{'s' if rows == 1 else ''} none, and stay{'s' if rows == 1 else ''}"
        )
        return Planned(step=step, rows=rows, note=f"{note} as before" if rows else None)

    def _term(self, entity: str, field: str) -> str:
        """A column as it will be when the index is made: backfilled, or still empty."""
        name = shown_column(field)
        found = self._value_term(entity, name)
        return found if name == field or found == "NULL" else f"{KEY_OF_TIME}({found})"

    def _value_term(self, entity: str, field: str) -> str:
        for step in self._steps:
            if isinstance(step, AddField | RequireField) and (step.entity, step.field.name) == (
                entity,
                field,
            ):
                value = None
                if not step.field.optional:
                    value = backfill_value(step.field, "now")
                literal = "NULL" if value is None else _literal(value)
                if isinstance(step, AddField):
                    return literal
                return f"coalesce({self._sql(entity, field)[1]}, {literal})"
        return self._sql(entity, field)[1]

    # --- asking ------------------------------------------------------------------------------

    def _sql(self, entity: str, field: str) -> tuple[str, str]:
        """Table and column as they are called now, quoted."""
        table = self._tables.get(entity, entity)
        return quote(table), quote(self._columns.get((entity, field), field))

    def _count(self, entity: str) -> int:
        return self._count_of_table(self._tables.get(entity, entity))

    def _count_of_table(self, table: str) -> int:
        if table not in self._live.tables:
            return 0
        if table not in self._counts:
            self._counts[table] = self._scalar(f"SELECT count(*) FROM {quote(table)}")
        return self._counts[table]

    def _scalar(self, sql: str) -> int:
        return int(fetch(self._connection, sql)[0][0])


def _literal(value: str | int | float) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def _lost(step: Step, count: int, what: str) -> Planned:
    note = f"1 {what} is lost" if count == 1 else f"{count} {what}s are lost"
    return Planned(step=step, level="destructive", rows=count, note=note, is_visible=True)


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _shown(field: FieldSpec, value: object) -> str:
    """A value that rows are filled with, for people."""
    if field.kind == "bool":
        return "true" if value else "false"
    return str(value) if isinstance(field.default, NowDefault) else repr(value)
