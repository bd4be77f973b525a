"""One entity as the data core uses it: its columns, its statements, its values in and out.

Compiled once from the manifest. Not here: policies (`rows.py`), the steps of a write
(`write.py`), DDL (each store's own).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from pylon import limits
from pylon.changes.model import RowData
from pylon.codec import decode_trusted, encode
from pylon.crdt.values import json_checker
from pylon.data.faults import NOT_ALLOWED, UNKNOWN, WRONG_TYPE, FieldFault, missing_value, refusal
from pylon.data.fields import Checker, constrained, type_checker, value_checker
from pylon.data.json_size import least_size
from pylon.data.references import references_of
from pylon.errors import PylonError
from pylon.hooks import EntityHooks
from pylon.identity import Identity
from pylon.listing import listed
from pylon.moments import moment_column, shown_column, with_keys
from pylon.schema.constraints import Fault, constraint
from pylon.schema.diagnostics import did_you_mean
from pylon.schema.model import AuthDefault, EntitySpec, FieldSpec, JsonDefault, NowDefault
from pylon.store.base import Row, Value
from pylon.store.naming import quote
from pylon.store.tables import time_fields, wanted_indexes


class Where(Protocol):
    """The part of `policy.engine.Where` that statements are made of."""

    @property
    def sql(self) -> str | None: ...


class Table:
    """An entity's columns and statements."""

    def __init__(self, spec: EntitySpec) -> None:
        self.spec = spec
        self.hooks = EntityHooks()
        """The hooks that its rows meet; set by the `Context`."""
        self.name = spec.name
        self.fields: dict[str, FieldSpec] = dict(spec.fields_by_name)
        self.blank: RowData = dict.fromkeys(self.fields)
        """Every field, in their order, without a value."""
        self.private = frozenset(f.name for f in spec.fields if f.is_private)
        self.folded = frozenset(f.name for f in spec.fields if f.folds)
        """Fields in which A to Z in either case are one value."""
        self.references = {f.name: f.target for f in spec.fields if f.target is not None}
        """Fields that hold ids of rows, with the entity of these."""
        self.stamps = frozenset(f.name for f in spec.fields if f.stamp is not None)
        """Fields that the server sets; what clients send for them is passed over."""
        self._updated = tuple(f.name for f in spec.fields if f.stamp == "updated")
        self._readonly = frozenset(f.name for f in spec.fields if f.readonly) - self.stamps
        self._known = frozenset((*self.fields, "id"))
        self._patchable = self._known - self.private
        self._insertable = self._patchable - self._readonly
        kept = references_of(spec)
        self.references.update({each.field: each.target for each in kept})
        self.checked = tuple(each for each in kept if each.is_checked)
        """Keys that must name a row that is there; empty for most entities."""
        self.follows = tuple(each for each in kept if each.on_delete is not None)
        """Keys whose rows follow when the row goes that they name."""
        self._fixed = self._readonly | {f.name for f in spec.fields if f.writeOnce}
        self._checkers: dict[str, Checker] = {f.name: _checker(spec, f) for f in spec.fields}
        self._json = frozenset(f.name for f in spec.fields if f.kind in ("json", "list"))
        largest = len(self._json) * limits.JSON_FIELD_BYTES_MAX
        self.summed = self._json if largest > limits.JSON_ROW_BYTES_MAX else frozenset()
        """Fields whose values are bounded together, where their own bounds do not see to it."""
        times = time_fields(spec)
        self._times = tuple(name for name in self.fields if name in times)
        self._required = tuple(f.name for f in spec.fields if not f.optional)
        self.defaults = tuple(_Default(f) for f in spec.fields if f.default is not None)
        names = ("id", *self.fields)
        self.columns = ", ".join(f"t.{quote(name)}" for name in names)
        self.source = f"{quote(self.name)} t"
        self.decode = _row_decoder(spec.fields, hidden=frozenset())
        self.decode_public = (
            _row_decoder(spec.fields, hidden=self.private) if self.private else self.decode
        )
        self.select_one = f"SELECT {self.columns} FROM {self.source} WHERE t.id = ?"
        written = (*names, *map(moment_column, self._times))
        marks = ", ".join("?" * len(written))
        # Of `written`, of a whole row in the order of its fields.
        self.insert = (
            f"INSERT INTO {quote(self.name)} ({', '.join(map(quote, written))}) VALUES ({marks})"
        )
        self.delete = f"DELETE FROM {quote(self.name)} WHERE id = ?"
        self._updates: dict[tuple[str, ...], str] = {}
        self._selections: dict[tuple[str, ...], tuple[str, Callable[[Row], RowData]]] = {}

    def fields_of_index(self, name: str) -> list[str]:
        """The fields of one of the entity's indexes, as the database calls it."""
        for index in wanted_indexes(self.spec):
            if index.name == name:
                return list(map(shown_column, index.fields))
        return []

    def written(self, values: RowData) -> RowData:
        """The columns that are written to set these fields, with their values."""
        return with_keys(values, self._times) if self._times else values

    def update(self, names: tuple[str, ...]) -> str:
        """The statement that sets these columns of one row."""
        statement = self._updates.get(names)
        if statement is None:
            assignments = ", ".join(f"{quote(name)} = ?" for name in names)
            statement = f"UPDATE {quote(self.name)} SET {assignments} WHERE id = ?"
            self._updates[names] = statement
        return statement

    def bind(self, values: RowData) -> tuple[Value, ...]:
        """The values as columns hold them, in the same order."""
        if not self._json:
            return tuple(values.values())
        return tuple(
            encode(value).decode() if name in self._json and value is not None else value
            for name, value in values.items()
        )

    def columns_of(self, row: RowData) -> tuple[Value, ...]:
        """What `insert` writes of a whole row."""
        if not (self._times or self._json):
            return tuple(row.values())
        return self.bind(self.written(row))

    def selection(self, names: tuple[str, ...]) -> tuple[str, Callable[[Row], RowData]]:
        """The columns of the id and these fields as SQL, and what makes rows of their tuples."""
        found = self._selections.get(names)
        if found is None:
            fields = [self.fields[name] for name in names if name != "id"]
            columns = ", ".join(f"t.{quote(name)}" for name in ("id", *(f.name for f in fields)))
            found = columns, _row_decoder(fields, hidden=frozenset())
            if len(self._selections) >= limits.SELECTIONS_KEPT:
                self._selections.clear()
            self._selections[names] = found
        return found

    # --- values in ---------------------------------------------------------------------------

    def check_keys(
        self, data: Any, *, trusted: bool, is_insert: bool = False, sees_private: bool = True
    ) -> None:
        """Refuse what is not an object (`INVALID_DATA`) or names no writable field, with all else
        that is wrong with it. Private fields do not exist for those who may not see them, in what
        they are told either."""
        if not isinstance(data, dict):
            raise PylonError(400, "INVALID_DATA", "The data must be a JSON object.")
        if trusted:
            allowed = self._known
        else:
            allowed = self._insertable if is_insert else self._patchable
        if self.summed:
            self.check_size(data, sees_private=sees_private and trusted)
        if data.keys() <= allowed:
            return
        sees_private = sees_private and trusted
        wrong = [key for key in data if key not in allowed]
        found = [
            self._server_only(key)
            if key in self._readonly
            else self._unknown(key, sees_private, is_first=key == wrong[0])
            for key in wrong[: limits.FIELD_FAULTS_MAX]  # a body may have any number
        ]
        rest = {key: value for key, value in data.items() if key in allowed}
        answer = "INSERT_FAILED" if is_insert else "UPDATE_FAILED"
        found += self._faults(rest, answer, sees_private=sees_private)
        if is_insert and not self.hooks.before_insert:  # which may fill them in
            found += self._lacking(data, answer, sees_private=sees_private)
        untold = max(len(wrong) - limits.FIELD_FAULTS_MAX, 0)
        raise refusal(found, self.name, untold=untold)

    def check_size(self, values: Mapping[str, Any], *, sees_private: bool) -> None:
        """Refuse `json` and `list` values that are too large together, before any is looked at."""
        most = left = limits.JSON_ROW_BYTES_MAX
        for name in values:
            if name in self.summed:
                left -= least_size(values[name], left)
                if left < 0:
                    raise self._too_large(self.told(name, sees_private=sees_private), most)

    def _too_large(self, name: str, most: int) -> PylonError:
        message = f"is too large: all JSON and lists of a row have at most {most} bytes together"
        fault = FieldFault(
            field=name,
            code="TOO_LARGE",
            message=message,
            sentence=f"{self.name}.{name} {message}.",
            answer=NOT_ALLOWED,
        )
        return refusal([fault], self.name)

    def check_fixed(self, patch: Mapping[str, Any], stored: RowData) -> None:
        """Refuse a client's change of a field that is `readonly` or `writeOnce`.

        The value that stands there already is no change: some clients send whole rows.
        """
        changed = [n for n in self._fixed.intersection(patch) if patch[n] != stored[n]]
        if changed:
            found = [
                self._server_only(name) if name in self._readonly else self._written_once(name)
                for name in sorted(changed, key=list(patch).index)
            ]
            rest = {name: value for name, value in patch.items() if name not in changed}
            found += self._faults(rest, "UPDATE_FAILED", sees_private=False)
            raise refusal(found, self.name)

    def _server_only(self, key: str) -> FieldFault:
        return FieldFault(
            field=key,
            code="SERVER_SET",
            message="is set by the server only",
            sentence=f'"{key}" of {self.name} is set by the server only.',
            answer=UNKNOWN,
        )

    def _written_once(self, key: str) -> FieldFault:
        return FieldFault(
            field=key,
            code="WRITE_ONCE",
            message="is given at insert and cannot be changed",
            sentence=f'"{key}" of {self.name} is given at insert and cannot be changed.',
            answer=UNKNOWN,
        )

    def _unknown(self, key: str, sees_private: bool, *, is_first: bool) -> FieldFault:
        """The hint is the costly part, and only that of the first fault is told."""
        known = [name for name in self.fields if sees_private or name not in self.private]
        shown = key[:100]
        return FieldFault(
            field=shown,
            code="UNKNOWN_FIELD",
            message=f"is no field of {self.name}",
            sentence=f'{self.name} has no field "{shown}". Its fields: {listed(known)}.',
            answer=UNKNOWN,
            hint=(did_you_mean(key, known, "") or None) if is_first else None,
        )

    def told(self, name: str, *, sees_private: bool) -> str:
        """What a field is called in errors to somebody who may, or may not, know private ones."""
        return name if sees_private or name not in self.private else "a field that is not yours"

    def check_values(
        self, data: Mapping[str, Any], *, sees_private: bool = True, is_insert: bool = False
    ) -> RowData:
        """The given fields as they are stored. A wrong type is `INVALID_DATA`, a value that the
        field's constraints do not allow `INVALID_VALUE`; with all else that is wrong."""
        checked: RowData = {}
        for key, value in data.items():
            if key == "id":
                continue
            if value is None:
                checked[key] = None
                continue
            try:
                checked[key] = self._checkers[key](value)
            except ValueError:
                answer = "INSERT_FAILED" if is_insert else "UPDATE_FAILED"
                found = self._faults(data, answer, sees_private=sees_private)
                if is_insert:
                    found += self._lacking(data, answer, sees_private=sees_private)
                raise refusal(found, self.name) from None
        return checked

    def _faults(
        self, data: Mapping[str, Any], answer: str, *, sees_private: bool
    ) -> list[FieldFault]:
        """What is wrong with the values of fields that may be written; wrong types first, then what
        is not allowed, then what is null and must not be."""
        types: list[FieldFault] = []
        constraints: list[FieldFault] = []
        nulls: list[FieldFault] = []
        for key, value in data.items():
            if key == "id":
                continue
            name = self.told(key, sees_private=sees_private)
            if value is None:
                if key in self._required and answer == "UPDATE_FAILED":
                    nulls.append(missing_value(name, answer))
                continue
            try:
                self._checkers[key](value)
            except ValueError as expected:
                is_constraint = isinstance(expected, Fault)
                fault = FieldFault(
                    field=name,
                    code=expected.code if isinstance(expected, Fault) else "WRONG_TYPE",
                    message=f"must be {expected}",
                    sentence=f"{self.name}.{name} must be {expected}.",
                    answer=NOT_ALLOWED if is_constraint else WRONG_TYPE,
                )
                (constraints if is_constraint else types).append(fault)
        return [*types, *constraints, *nulls]

    def _lacking(
        self, data: Mapping[str, Any], answer: str, *, sees_private: bool
    ) -> list[FieldFault]:
        """The required fields that an insert gives no value, and no default does."""
        filled = {default.name for default in self.defaults if default.name not in data}
        return [
            missing_value(self.told(name, sees_private=sees_private), answer)
            for name in self._required
            if data.get(name) is None and name not in filled
        ]

    # --- what the server fills in --------------------------------------------------------------

    def without_stamps(self, data: Mapping[str, Any]) -> RowData:
        """The data without what only the server sets, for callers who are not trusted."""
        return {name: value for name, value in data.items() if name not in self.stamps}

    def stamped(self, values: RowData, before: RowData, now_iso: str) -> RowData:
        """The values of an update with the time of it; one that somebody trusted gives is kept."""
        if not self._updated:
            return values
        given = {n for n in self._updated if n in values and values[n] != before[n]}
        return {**values, **{name: now_iso for name in self._updated if name not in given}}

    def fill_defaults(self, data: RowData, identity: Identity, now_iso: str) -> None:
        """Put in the defaults of fields that the caller left out."""
        for default in self.defaults:
            if default.name not in data:
                data[default.name] = default.value(identity, now_iso)

    def check_required(
        self, data: Mapping[str, Any], code: str, *, sees_private: bool = True
    ) -> None:
        """Refuse a row that lacks a required field; `code` as the route's (spec 02 2.4)."""
        for name in self._required:
            if data.get(name) is None:
                break
        else:
            return
        missing = [name for name in self._required if data.get(name) is None]
        told = [self.told(name, sees_private=sees_private) for name in missing]
        raise refusal([missing_value(name, code) for name in told], self.name)


def _checker(spec: EntitySpec, field: FieldSpec) -> Checker:
    """What takes a value of the field: lists and trees of documents have their own."""
    merged = json_checker(spec, field)
    if merged is None:
        return value_checker(field)
    allowed = constraint(field)
    return merged if allowed is None else constrained(merged, allowed)


class _Default:
    """What a field gets where an insert leaves it out."""

    __slots__ = ("_default", "_is_day", "_literal", "_text", "name")

    def __init__(self, field: FieldSpec) -> None:
        self.name = field.name
        self._default = default = field.default
        self._is_day = field.kind == "date"
        self._literal: Any = default
        self._text: str | None = None
        if isinstance(default, JsonDefault):
            self._text = default.text
        elif field.kind == "decimal" and not isinstance(default, AuthDefault | NowDefault):
            self._literal = type_checker(field)(default)

    def value(self, identity: Identity, now_iso: str) -> Any:
        """The value for an insert by this caller at this time."""
        default = self._default
        if isinstance(default, AuthDefault):
            return identity.user_id if default.attribute == "userId" else identity.tenant_id
        if isinstance(default, NowDefault):
            return now_iso[:10] if self._is_day else now_iso
        # A new list or object for each row: hooks may change what they are given.
        return self._literal if self._text is None else decode_trusted(self._text)


def _row_decoder(
    fields: Collection[FieldSpec], *, hidden: frozenset[str]
) -> Callable[[Row], RowData]:
    """A function from a tuple of columns to a row, made as source text since it runs per row.

    Stored 1 and 0 of bool fields become true and false, the text of JSON its value. Names come from
    a checked manifest and are written with `repr`.
    """
    parts = ["'id': r[0]"]
    for position, field in enumerate(fields, 1):
        if field.name in hidden:
            continue
        value = f"r[{position}]"
        if field.kind == "bool":
            value = f"None if {value} is None else {value} != 0"
        elif field.kind in ("json", "list"):
            value = f"None if {value} is None else json({value})"
        parts.append(f"{field.name!r}: {value}")
    decoder: Callable[[Row], RowData] = eval(
        f"lambda r: {{{', '.join(parts)}}}", {"json": decode_trusted}
    )
    return decoder
