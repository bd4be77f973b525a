"""The schema that a database really has, as values; the room of each database reads it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from pylon.moments import shown_column
from pylon.store.tables import IndexShape


class LiveColumn(Struct, frozen=True, kw_only=True):
    name: str
    type: str
    is_required: bool
    is_key: bool


class LiveTable(Struct, frozen=True, kw_only=True):
    """A table; `indexes` are those made by a statement, not those SQLite makes by itself."""

    name: str
    columns: dict[str, LiveColumn]
    indexes: dict[str, IndexShape]

    @property
    def shown_columns(self) -> list[LiveColumn]:
        """The columns that people know, without those of keys (`pylon/moments.py`)."""
        return [each for each in self.columns.values() if shown_column(each.name) == each.name]

    def to_wire(self) -> dict[str, Any]:
        """The JSON object of `schema inspect` (spec 05 section 9.5)."""
        return {
            "name": self.name,
            "columns": [
                {
                    "name": each.name,
                    "column_type": each.type,
                    "notnull": each.is_required,
                    "primary_key": each.is_key,
                }
                for each in self.shown_columns
            ],
            "indexes": [
                {
                    "name": each.name,
                    "columns": list(map(shown_column, each.fields)),
                    "unique": each.unique,
                    **({} if each.where is None else {"where": each.where}),
                    **({"case_insensitive": list(each.folded)} if each.folded else {}),
                }
                for each in self.indexes.values()
            ],
        }


class Live(Struct, frozen=True, kw_only=True):
    """Every ordinary table by name, without SQLite's and the server's own."""

    tables: dict[str, LiveTable]

    def index_owner(self, name: str) -> str | None:
        """The table that has an index of this name; SQLite folds its case."""
        for table in self.tables.values():
            if any(each.lower() == name.lower() for each in table.indexes):
                return table.name
        return None
