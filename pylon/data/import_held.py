"""Rows of an import that name rows which have not come yet: kept until these have, or have not.

They are kept as bytes, up to a bound. A row that has come wakes those that wait for it; at the end
are left rows that name what nobody brought, and rows that name one another in a circle. Pure;
called by `imports.py`, which writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from pylon import limits
from pylon.data.references import RowName
from pylon.errors import PylonError
from pylon.ids import other_spellings


def name_of(entity: str, row_id: str) -> RowName:
    """What a row is called however its id is written."""
    return entity, row_id.lower() if other_spellings(row_id) else row_id


class HeldRow(Struct, frozen=True):
    """A row as bytes, what it is called, what it names, and why it was refused."""

    encoded: bytes
    name: RowName | None
    names: tuple[RowName, ...]
    error: PylonError


class Held:
    """The rows that wait."""

    def __init__(self) -> None:
        self._rows: dict[int, HeldRow] = {}
        self._waiting: dict[RowName, list[int]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def keep(self, number: int, row: HeldRow) -> bool:
        """Keep a row by its number; False where there is no room for it."""
        if self._bytes + len(row.encoded) > limits.IMPORT_HELD_BYTES_MAX:
            return False
        row.error.__traceback__ = row.error.__context__ = row.error.__cause__ = None
        self._rows[number] = row
        self._bytes += len(row.encoded)
        for name in row.names:
            self._waiting.setdefault(name, []).append(number)
        return True

    def woken_by(self, name: RowName) -> Iterator[bytes]:
        """The rows that waited for this one, which are no longer kept."""
        for number in self._waiting.pop(name, ()):
            if number in self._rows:
                yield self._take(number).encoded

    def take_hopeless(self) -> list[tuple[bytes, PylonError]]:
        """The rows that wait for nothing that is kept, and those that waited for these only; they
        are no longer kept."""
        known = {row.name for row in self._rows.values()}
        taken: list[tuple[bytes, PylonError]] = []
        looked_at: Iterable[int] = list(self._rows)
        while looked_at:
            waited: list[int] = []
            for number in looked_at:
                row = self._rows.get(number)
                if row is None or any(name in known for name in row.names):
                    continue
                self._take(number)
                taken.append((row.encoded, row.error))
                if row.name is not None:
                    known.discard(row.name)
                    waited += self._waiting.pop(row.name, ())
            looked_at = waited
        return taken

    def take_circle(self) -> list[tuple[bytes, PylonError]]:
        """The first row with all that it leads to, which are no longer kept."""
        numbers = {row.name: number for number, row in self._rows.items()}
        found: dict[int, None] = {}
        path = [next(iter(self._rows))]
        while path and len(found) < limits.IMPORT_UNIT_ROWS:
            number = path.pop()
            if number not in found:
                found[number] = None
                path += [numbers[name] for name in self._rows[number].names if name in numbers]
        taken = [self._take(number) for number in found]
        return [(row.encoded, row.error) for row in taken]

    def _take(self, number: int) -> HeldRow:
        row = self._rows.pop(number)
        self._bytes -= len(row.encoded)
        return row
