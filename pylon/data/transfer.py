"""Exports and imports of one app: which entities, in which form, for administrators only.

Called by `api/transfer.py`, which has checked that the caller is one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from pylon.calls import Calls
from pylon.clock import iso_seconds
from pylon.data.csv_values import json_fields, readers
from pylon.data.exports import ExportText, Format, Part, as_csv, as_lines, as_object
from pylon.data.imports import Import, ImportUnits, Key, Mode, key_of
from pylon.data.references import named_first
from pylon.data.rows import Rows
from pylon.identity import Identity
from pylon.schema.model import Manifest
from pylon.wire.csv_format import CsvSplitter, CsvWriter


class Transfer:
    """The whole content of an app, out and in."""

    def __init__(self, rows: Rows, manifest: Manifest, units: ImportUnits, calls: Calls) -> None:
        self._rows = rows
        self._units = units
        self._calls = calls
        self._names = named_first(manifest)

    async def export(
        self,
        entity: str | None = None,
        *,
        form: Format = "json",
        is_for_spreadsheet: bool = False,
    ) -> ExportText:
        """Every row of one entity, or of all, ordered by id; private fields included.

        400 `ENTITY_NOT_FOUND`; 503 `OVERLOADED` when too many exports run. Close the result. CSV is
        of one entity; `is_for_spreadsheet` as `CsvWriter`.
        """
        parts = [self._part(name) for name in (self._names if entity is None else (entity,))]
        snapshot = await self._rows.store.snapshot()
        chunks: AsyncGenerator[bytes, None]
        if form == "csv":
            assert entity is not None, "a CSV file has rows of one entity"
            table = self._rows.table(entity)
            writer = CsvWriter(
                ("id", *table.fields),
                is_for_spreadsheet=is_for_spreadsheet,
                as_json=json_fields(table),
            )
            chunks = as_csv(snapshot, parts[0], writer)
        elif form == "ndjson":
            chunks = as_lines(snapshot, parts)
        else:
            head = {"exported_at": iso_seconds(self._rows.clock.now())}
            chunks = as_object(snapshot, parts, head=head, keep_empty=True, with_counts=True)
        return ExportText(snapshot, chunks)

    def start_import(
        self, identity: Identity, *, mode: Mode = "skip", key: Key | None = None
    ) -> Import:
        """An import that takes rows one by one."""
        return Import(
            self._rows, identity, units=self._units, calls=self._calls, mode=mode, key=key
        )

    def key(self, entity: str, fields: Sequence[str]) -> Key:
        """A key of an import, or 400."""
        return key_of(self._rows, entity, fields)

    def csv_rows(self, entity: str) -> CsvSplitter:
        """What makes rows of a CSV file; 400 `ENTITY_NOT_FOUND`."""
        table = self._rows.table(entity)
        required = frozenset(f.name for f in table.spec.fields if not f.optional)
        return CsvSplitter(entity, readers(table), required=required | {"id"})

    def _part(self, entity: str) -> Part:
        table = self._rows.table(entity)
        return Part(
            entity=entity,
            sql=f"SELECT {table.columns} FROM {table.source} ORDER BY t.id",
            params=(),
            decode=table.decode,
        )
