"""What readers see of rows on whose entities a read filter of the app listens.

Policies decide which rows a reader sees; a filter decides what stands in some fields of them. Such
rows are taken apart here at every read, and nobody but administrators may ask by those fields:
filters, orders, sums and searches go by what is stored. Called by `door.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pylon.changes.model import RowData
from pylon.data.table import Table
from pylon.hooks import ReadFilter
from pylon.identity import Identity


def filtered_fields(filters: Sequence[ReadFilter]) -> frozenset[str]:
    """The fields that filters decide about."""
    return frozenset().union(*(each.fields for each in filters))


class Shown:
    """Rows of one entity as one caller sees them; takes them with all their fields."""

    __slots__ = ("_filters", "_identity", "_table")

    def __init__(self, table: Table, filters: Sequence[ReadFilter], identity: Identity) -> None:
        self._table = table
        self._filters = filters
        self._identity = identity

    def __call__(self, row: RowData) -> RowData:
        """The row as it is shown: a field that a filter leaves out is left out."""
        shown = {name: value for name, value in row.items() if name not in self._table.private}
        for each in self._filters:
            # Of a copy, so that no filter sees what another has done, nor changes other fields.
            answer = each.run(self._identity, self._table.name, dict(row))
            for field in each.fields:
                if field in answer:
                    shown[field] = answer[field]
                else:
                    shown.pop(field, None)
        return shown
