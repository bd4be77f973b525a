"""One entity as the data core uses it: its columns, its statements, its values in and out.

Compiled once from the manifest. Not here: policies (`rows.py`), the steps of a write
(`write.py`), DDL (each store's own).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from pylon import limits
from pylon.changes.model import RowData
from pylon.crdt.values import json_checker
from pylon.data.fields import CHECKERS, Checker
from pylon.data.references import references_of
from pylon.errors import PylonError
from pylon.hooks import EntityHooks
from pylon.identity import Identity
from pylon.moments import moment_column, with_keys
from pylon.schema.diagnostics import did_you_mean
from pylon.schema.model import AuthDefault, EntitySpec, FieldSpec, NowDefault
from pylon.store.base import Row
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
        self.private = frozenset(f.name for f in spec.fields if f.is_private)
        self.folded = frozenset(f.name for f in spec.fields if f.folds)
        """Fields in which A to Z in either case are one value."""
        self.references = {f.name: f.target for f in spec.fields if f.target is not None}
        """Fields that hold ids of rows, with the entity of these."""
        kept = references_of(spec)
        self.references.update({each.field: each.target for each in kept})
        self.checked = tuple(each for each in kept if each.is_checked)
        """Keys that must name a row that is there; empty for most entities."""
        self.follows = tuple(each for each in kept if each.on_delete is not None)
        """Keys whose rows follow when the row goes that they name."""
        self._readonly = frozenset(f.name for f in spec.fields if f.readonly)
        self._fixed = self._readonly | {f.name for f in spec.fields if f.writeOnce}
        self._checkers: dict[str, Checker] = {
            f.name: json_checker(spec, f) or CHECKERS[f.kind] for f in spec.fields
        }
        times = time_fields(spec)
        self._times = tuple(name for name in self.fields if name in times)
        self._required = tuple(f.name for f in spec.fields if not f.optional)
        self._defaults = tuple(f for f in spec.fields if f.default is not None)
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
                return list(index.fields)
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
        """Refuse what is not an object (`INVALID_DATA`) or names no writable field. Private fields
        do not exist for those who may not see them, in what they are told either."""
        if not isinstance(data, dict):
            raise PylonError(400, "INVALID_DATA", "The data must be a JSON object.")
        for key in data:
            is_hidden = key in self.private and not trusted
            if is_hidden or (key not in self.fields and key != "id"):
                raise self._unknown(key, sees_private=sees_private and trusted)
            if is_insert and not trusted and key in self._readonly:
                raise self._server_only(key)

    def check_fixed(self, patch: Mapping[str, Any], stored: RowData) -> None:
        """Refuse a client's change of a field that is `readonly` or `writeOnce`.

        The value that stands there already is no change: some clients send whole rows.
        """
        for name in self._fixed.intersection(patch):
            if patch[name] == stored[name]:
                continue
            if name in self._readonly:
                raise self._server_only(name)
            raise PylonError(
                400,
                "INVALID_COLUMN",
                f'"{name}" of {self.name} is given at insert and cannot be changed.',
            )

    def _server_only(self, key: str) -> PylonError:
        return PylonError(
            400, "INVALID_COLUMN", f'"{key}" of {self.name} is set by the server only.'
        )

    def _unknown(self, key: str, *, sees_private: bool) -> PylonError:
        known = [name for name in self.fields if sees_private or name not in self.private]
        return PylonError(
            400,
            "INVALID_COLUMN",
            f'{self.name} has no field "{key[:100]}". Its fields: {", ".join(known)}.',
            did_you_mean(key, known, "") or None,
        )

    def told(self, name: str, *, sees_private: bool) -> str:
        """What a field is called in errors to somebody who may, or may not, know private ones."""
        return name if sees_private or name not in self.private else "a field that is not yours"

    def check_values(self, data: Mapping[str, Any], *, sees_private: bool = True) -> RowData:
        """The given fields as they are stored; a wrong type is `INVALID_DATA`."""
        checked: RowData = {}
        for key, value in data.items():
            if key == "id":
                continue
            if value is None:
                checked[key] = None
                continue
            try:
                checked[key] = self._checkers[key](value)
            except ValueError as expected:
                name = self.told(key, sees_private=sees_private)
                raise PylonError(
                    400, "INVALID_DATA", f"{self.name}.{name} must be {expected}."
                ) from None
        return checked

    def fill_defaults(self, data: RowData, identity: Identity, now_iso: str) -> None:
        """Put in the defaults of fields that the caller left out."""
        for spec in self._defaults:
            if spec.name in data:
                continue
            default = spec.default
            if isinstance(default, AuthDefault):
                user = default.attribute == "userId"
                data[spec.name] = identity.user_id if user else identity.tenant_id
            elif isinstance(default, NowDefault):
                data[spec.name] = now_iso
            else:
                data[spec.name] = default

    def check_required(
        self, data: Mapping[str, Any], code: str, *, sees_private: bool = True
    ) -> None:
        """Refuse a row that lacks a required field; `code` as the route's (spec 02 2.4)."""
        missing = [name for name in self._required if data.get(name) is None]
        if missing:
            names = ", ".join(
                dict.fromkeys(self.told(name, sees_private=sees_private) for name in missing)
            )
            raise PylonError(400, code, f"{self.name} needs a value for: {names}.")


def _row_decoder(
    fields: Collection[FieldSpec], *, hidden: frozenset[str]
) -> Callable[[Row], RowData]:
    """A function from a tuple of columns to a row, made as source text since it runs per row.

    Stored 1 and 0 of bool fields become true and false. Names come from a checked manifest and
    are written with `repr`.
    """
    parts = ["'id': r[0]"]
    for position, field in enumerate(fields, 1):
        if field.name in hidden:
            continue
        value = f"r[{position}]"
        if field.kind == "bool":
            value = f"None if {value} is None else {value} != 0"
        parts.append(f"{field.name!r}: {value}")
    decoder: Callable[[Row], RowData] = eval(f"lambda r: {{{', '.join(parts)}}}")
    return decoder
