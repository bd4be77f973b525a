"""Import: rows with their ids, written some hundreds to a unit, each counted and none lost.

A unit that a row refuses is undone and its rows are written one by one, so a bad row costs its
neighbours nothing. Reading and counting happen where the text arrives, units are written where the
database is (`ImportUnits`). Called by `api/transfer.py`; reading the text is
`wire/export_format.py`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import Struct, field

from pylon import limits
from pylon.calls import Call, Calls, Refused
from pylon.canonical import is_same
from pylon.changes.model import RowData
from pylon.codec import decode_trusted, encode
from pylon.data.conditions import column_sql
from pylon.data.door import ReadDoor
from pylon.data.import_held import Held, HeldRow, name_of
from pylon.data.operators import compared_column
from pylon.data.query import Queries
from pylon.data.references import NOT_THERE
from pylon.data.rows import Rows
from pylon.data.write import Transaction
from pylon.errors import PylonError
from pylon.identity import ADMIN, Identity
from pylon.letters import small
from pylon.moments import moment_column, shown_column
from pylon.schema.diagnostics import did_you_mean
from pylon.store.tables import wanted_indexes

Mode: TypeAlias = Literal["skip", "upsert", "keep", "insert"]
"""What happens to a row that exists, by its id or the import's key. Equal rows are passed over but
in `insert`.

`skip` reports a row that differs, `upsert` writes what differs, `keep` passes over it, `insert`
reports any.
"""

MODES: Final[tuple[str, ...]] = get_args(Mode)

Done: TypeAlias = Literal["inserted", "updated", "skipped"]

OTHERS: Final = "(others)"
"""Where the counts of rows go once too many unknown names of entities have been counted."""

UNREADABLE: Final = "(unreadable)"
"""Where rows are counted whose entity could not be read."""


class Counts(Struct, kw_only=True):
    """What became of the rows of one entity."""

    inserted: int = 0
    updated: int = 0
    skipped: int = 0
    failed: int = 0


class Failure(Struct, kw_only=True):
    """Why one row was not imported; `number` as in the text that it came from."""

    number: int
    entity: str
    id: str | None
    error: PylonError


class Report(Struct, kw_only=True):
    """What became of an import so far. `failures` has at most `limits.IMPORT_ERRORS_MAX`."""

    by_entity: dict[str, Counts] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    rows: int = 0
    failed: int = 0

    def total(self, done: Done) -> int:
        """Rows of all entities that were `done`."""
        return sum(getattr(counts, done) for counts in self.by_entity.values())

    def counts(self, entity: str) -> Counts:
        """The counts of an entity, made when it is met first."""
        name = entity[: limits.NAME_CHARACTERS_MAX]
        if name not in self.by_entity and len(self.by_entity) >= limits.ENTITIES_MAX:
            name = OTHERS
        return self.by_entity.setdefault(name, Counts())


class ImportRow(msgspec.Struct, frozen=True, array_like=True):
    """A row that is to be written, with its place in the text."""

    number: int
    entity: str
    row: dict[str, Any]

    @property
    def id(self) -> str | None:
        row_id = self.row.get("id")
        return row_id if isinstance(row_id, str) else None


class Key(msgspec.Struct, frozen=True, array_like=True):
    """Fields whose values tell rows of an entity apart: an import finds by them what exists. Of
    `folded` ones A to Z in either case are one value to the index."""

    entity: str
    fields: tuple[str, ...]
    folded: tuple[str, ...] = ()


class ImportUnit(msgspec.Struct, frozen=True, array_like=True):
    """Rows that are written together, in a transaction where that can be."""

    mode: Mode
    rows: list[ImportRow]
    key: Key | None = None


Outcome: TypeAlias = Done | Refused
"""What became of a row."""


class _Unpaid(Exception):
    """Rows of a unit name rows that have not come; by their places in it."""

    def __init__(self, refused: dict[int, PylonError]) -> None:
        super().__init__(len(refused))
        self.refused = refused


_TRIES_TOGETHER: Final = 4
"""Times that a unit is tried without the rows that had to be left out of it; then one by one."""


class ImportUnits:
    """Writes the units of imports; a call, since it belongs where the database is."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.call: Call[ImportUnit, list[Outcome]] = Call(
            name="rows.import",
            takes=ImportUnit,
            gives=list[Outcome],
            run=self.write,
            is_json=True,
        )

    async def write(self, identity: Identity, unit: ImportUnit) -> list[Outcome]:
        """What became of each row, in order. Failures of the server (5xx) are raised."""
        refused: dict[int, Outcome] = {}
        for _ in range(_TRIES_TOGETHER):
            places = [place for place in range(len(unit.rows)) if place not in refused]
            rows = [unit.rows[place] for place in places]
            try:
                done = await self._rows.write(identity, partial(self._all, unit, rows))
            except _Unpaid as unpaid:
                refused |= {places[at]: Refused.of(why) for at, why in unpaid.refused.items()}
            except PylonError as error:
                if error.status >= 500:
                    raise
                break
            else:
                outcomes = {**refused, **dict(zip(places, done, strict=True))}
                return [outcomes[place] for place in range(len(unit.rows))]
        alone = [self._alone(identity, unit, each) for each in unit.rows]
        return list(await asyncio.gather(*alone))

    async def _all(
        self, unit: ImportUnit, rows: Sequence[ImportRow], tx: Transaction
    ) -> list[Outcome]:
        """All rows, in whose order those that they name may come later."""
        debts = tx.defer_keys()
        outcomes: list[Outcome] = []
        queries = self._queries(tx)
        for number, each in enumerate(rows):
            debts.part = number
            outcomes.append(await self._one(tx, unit, each, queries))
        if unpaid := await tx.unpaid():
            raise _Unpaid(dict(unpaid))
        return outcomes

    def _queries(self, tx: Transaction) -> Queries:
        """What is there as the transaction has left it."""
        return Queries(ReadDoor(self._rows, fetch=tx.tx.fetch, trusted=True))

    async def _alone(self, identity: Identity, unit: ImportUnit, each: ImportRow) -> Outcome:
        try:
            return await self._rows.write(
                identity, lambda tx: self._one(tx, unit, each, self._queries(tx))
            )
        except PylonError as error:
            if error.status >= 500:
                raise
            return Refused.of(error)

    async def _one(
        self, tx: Transaction, unit: ImportUnit, each: ImportRow, queries: Queries
    ) -> Outcome:
        """Write one row. A clash is returned, since it leaves no trace; what fails raises."""
        mode, name = unit.mode, "id"
        stored = None if each.id is None else await tx.get(each.entity, each.id)
        if stored is None and unit.key is not None and unit.key.entity == each.entity:
            stored, name = await self._by_key(tx, queries, unit.key, each), "key"
            if stored is not None and each.id not in (None, stored["id"]):
                return _conflict("A row with this key exists under another id.")
        if stored is None:
            # A database that somebody else made has ids of any form, and relations to them.
            await tx.insert(each.entity, each.row, row_id=each.id)
            return "inserted"
        if mode == "insert":
            taken = f"A row of {each.entity} with this {name} exists."
            return Refused.of(PylonError(409, "ID_TAKEN", taken))
        if mode == "keep":
            return "skipped"
        values = self._rows.table(each.entity).check_values(each.row)
        differing = {
            name: value for name, value in values.items() if not is_same(stored[name], value)
        }
        if not differing:
            return "skipped"
        if mode == "skip":
            return _conflict(
                f"A row with this {name} exists and differs in: {', '.join(differing)}.",
                "Import with mode=upsert to overwrite it.",
            )
        await tx.update(each.entity, stored["id"], differing)
        return "updated"

    async def _by_key(
        self, tx: Transaction, queries: Queries, key: Key, each: ImportRow
    ) -> RowData | None:
        """The row that has the key's values, as filters compare them, or as the index does."""
        table = self._rows.table(key.entity)
        values = table.check_values({name: each.row[name] for name in key.fields})
        question = {name: {"$eq": value} for name, value in values.items()}
        found = await queries.find(ADMIN, key.entity, {**question, "$limit": 1})
        if found or not key.folded:
            return found[0] if found else None
        kinds = {name: table.fields[name].kind for name in values}
        columns = [column_sql(compared_column(n, kinds[n]), n in key.folded) for n in values]
        condition = " AND ".join(f"{column} = ?" for column in columns)
        keyed = table.written(values)
        wanted = [
            small(each) if name in key.folded else keyed.get(moment_column(name), each)
            for name, each in values.items()
        ]
        sql = f"SELECT {table.columns} FROM {table.source} WHERE {condition} LIMIT 1"
        rows = await tx.tx.fetch(sql, wanted)
        return table.decode(rows[0]) if rows else None


def _conflict(message: str, hint: str | None = None) -> Refused:
    return Refused.of(PylonError(409, "IMPORT_CONFLICT", message, hint))


def key_of(rows: Rows, entity: str, fields: Sequence[str]) -> Key:
    """A key; 400 where these fields do not tell rows apart: two that are alike could be there, and
    which of them was meant would be chance."""
    table = rows.table(entity)
    for name in fields:
        if name not in table.fields:
            known = [*table.fields]
            message = f'{entity} has no field "{name[:100]}".'
            raise PylonError(400, "INVALID_COLUMN", message, did_you_mean(name, known))
    unique = [{name} for name, field in table.fields.items() if field.unique]
    unique += [{*each.fields} for each in table.spec.indexes if each.unique and each.where is None]
    if set(fields) not in unique:
        names = ", ".join(fields)
        quoted = ", ".join(f'"{name}"' for name in fields)
        raise PylonError(
            400,
            "INVALID_QUERY",
            f"Nothing makes {names} unique among the rows of {entity}, so it is no key.",
            f"Declare index({quoted}, unique=True), or field(unique=True).",
        )
    shapes = [
        each
        for each in wanted_indexes(table.spec)
        if {*map(shown_column, each.fields)} == {*fields}
    ]
    folded = next(each.folded for each in shapes if each.unique and each.where is None)
    return Key(entity, tuple(dict.fromkeys(fields)), folded)


class Import:
    """One import by one caller, who must be an administrator.

    Give it every row with `add`, then `finish`. Failures of the server (5xx) are raised from
    either; what was written until then stays and stands in `report`.
    """

    def __init__(
        self,
        rows: Rows,
        identity: Identity,
        *,
        units: ImportUnits,
        calls: Calls,
        mode: Mode = "skip",
        key: Key | None = None,
    ) -> None:
        self.report = Report()
        self._rows = rows
        self._identity = identity
        self._units = units
        self._calls = calls
        self._mode: Mode = mode
        self._key = key
        self._pending: deque[tuple[ImportRow, int]] = deque()
        self._size = 0
        self._held = Held()

    async def add(self, number: int, entity: str, row: Any, *, size: int = 0) -> None:
        """Take one row; `size` is about its bytes. Waits while a unit is written."""
        self.report.rows += 1
        try:
            checked = self._checked(number, entity, row)
        except PylonError as error:
            self._count_failure(number, entity, row, error)
            return
        self._put(checked, size)
        if len(self._pending) >= limits.IMPORT_UNIT_ROWS or self._size >= limits.IMPORT_UNIT_BYTES:
            await self._flush()

    def refuse(self, number: int, error: PylonError) -> None:
        """Count a row that could not even be read."""
        self.report.rows += 1
        self._count_failure(number, UNREADABLE, None, error)

    async def finish(self) -> Report:
        """Write what is left, and of what was kept for rows to come as much as can be."""
        await self._flush()
        while self._held:
            for encoded, error in self._held.take_hopeless():
                row = _read(encoded)
                self._count_failure(row.number, row.entity, row.row, error)
            if self._held:
                await self._write_circle()
        return self.report

    # --- parts -------------------------------------------------------------------------------

    def _checked(self, number: int, entity: str, row: Any) -> ImportRow:
        """Refuse before the transaction what can be known to fail."""
        table = self._rows.table(entity)
        if isinstance(row, dict):
            row.pop("__internal__", None)  # the reference's exports may carry it
        table.check_keys(row, trusted=True)
        row_id = row.get("id")
        is_text = isinstance(row_id, str) and 0 < len(row_id) <= limits.ROW_ID_CHARACTERS_MAX
        if row_id is not None and not is_text:
            most = limits.ROW_ID_CHARACTERS_MAX
            raise PylonError(400, "INVALID_ID", f"The id must be a text of 1 to {most} characters.")
        if self._key is not None and self._key.entity == entity:
            for name in self._key.fields:
                if row.get(name) is None:
                    message = f'The row has no value of its key "{name}".'
                    raise PylonError(400, "INVALID_DATA", message)
        return ImportRow(number=number, entity=entity, row=row)

    def _put(self, row: ImportRow, size: int) -> None:
        self._pending.append((row, size))
        self._size += size

    async def _flush(self) -> None:
        """Write what has come, and what waited for it."""
        while self._pending:
            rows: list[ImportRow] = []
            until = self._size - limits.IMPORT_UNIT_BYTES
            while self._pending and len(rows) < limits.IMPORT_UNIT_ROWS and self._size > until:
                row, size = self._pending.popleft()
                self._size -= size
                rows.append(row)
            outcomes = await self._write(rows)
            for row, outcome in zip(rows, outcomes, strict=True):
                self._settle(row, outcome)

    async def _write_circle(self) -> None:
        """Write a row with all those that it leads to; it has failed if that cannot be."""
        taken = self._held.take_circle()
        rows = [_read(encoded) for encoded, _ in taken]
        outcomes = await self._write(rows)
        if isinstance(outcomes[0], Refused):
            self._count_failure(rows[0].number, rows[0].entity, rows[0].row, taken[0][1])
            rows, outcomes = rows[1:], outcomes[1:]
        for row, outcome in zip(rows, outcomes, strict=True):
            self._settle(row, outcome)
        await self._flush()

    async def _write(self, rows: list[ImportRow]) -> list[Outcome]:
        unit = ImportUnit(self._mode, rows, self._key)
        return await self._calls.ask(self._units.call, self._identity, unit)

    def _settle(self, row: ImportRow, outcome: Outcome) -> None:
        """Count a row that is written or refused; one that names what may yet come is kept."""
        if isinstance(outcome, Refused):
            error = outcome.to_error()
            if not (error.code == NOT_THERE and self._hold(row, error)):
                self._count_failure(row.number, row.entity, row.row, error)
            return
        counts = self.report.counts(row.entity)
        setattr(counts, outcome, getattr(counts, outcome) + 1)
        if row.id is not None and self._held:
            for encoded in self._held.woken_by(name_of(row.entity, row.id)):
                self._put(_read(encoded), len(encoded))

    def _hold(self, row: ImportRow, error: PylonError) -> bool:
        named = [(each.target, row.row.get(each.field)) for each in self._rows.checked(row.entity)]
        names = tuple(name_of(target, key) for target, key in named if isinstance(key, str))
        own = None if row.id is None else name_of(row.entity, row.id)
        return self._held.keep(row.number, HeldRow(encode(row), own, names, error))

    def _count_failure(self, number: int, entity: str, row: Any, error: PylonError) -> None:
        self.report.failed += 1
        self.report.counts(entity).failed += 1
        if len(self.report.failures) < limits.IMPORT_ERRORS_MAX:
            row_id = row.get("id") if isinstance(row, dict) else None
            self.report.failures.append(
                Failure(
                    number=number,
                    entity=entity[: limits.NAME_CHARACTERS_MAX],
                    id=row_id[:100] if isinstance(row_id, str) else None,
                    error=error,
                )
            )


def _read(encoded: bytes) -> ImportRow:
    """A row that was kept."""
    return ImportRow(*decode_trusted(encoded))
