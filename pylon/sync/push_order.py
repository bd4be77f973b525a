"""In which order the changes of a push are done: as they came, but a row before those that name it.

A client may queue a row before the one that it names, whose insert comes later in the same push.
That insert is then done first, in the savepoint of the change that needs it, and counted in its own
place. Not here: how a change is done (`push.py`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from msgspec import Struct, field

from pylon.data.references import RowName
from pylon.data.rows import Rows


class PushedChange(Struct, frozen=True, kw_only=True):
    """One change of a push; `data` None means that there was none."""

    entity: str
    row_id: str
    kind: str
    data: Any = None
    op_id: str | None = None

    @property
    def name(self) -> str:
        """How a failure names it: `insert Todo`, `update Todo/<id>`."""
        row = "" if self.kind == "insert" else f"/{self.row_id[:100]}"
        return f"{self.kind} {self.entity[:100]}{row}"


class Progress(Struct):
    """What a push has done out of order: changes that were done early, each with whether it was new
    to the server, and rows that it is still to delete though they went with others."""

    early: dict[int, bool] = field(default_factory=dict)
    gone: set[RowName] = field(default_factory=set)

    def copy(self) -> Progress:
        """For a unit, which may be undone."""
        return Progress(dict(self.early), set(self.gone))


class Order:
    """The changes of one push."""

    def __init__(self, rows: Rows, changes: Sequence[PushedChange]) -> None:
        self.changes = changes
        self.progress = Progress()
        self._rows = rows

    def first(self, place: int, end: int, progress: Progress) -> list[int]:
        """The later inserts that a change needs, in the order in which they need one another.

        One beyond `end` is done in another unit than its neighbours, so it needs an `op_id`, by
        which it is known when the push is cut short and sent again. Inserts that name one another
        in a circle find no order: the first of them will be refused.
        """
        if not self._rows.checked(self.changes[place].entity):
            return []
        order: dict[int, None] = {}
        seen = {place}
        path = [(place, self._named(place))]
        while path:
            current, named = path[-1]
            for each in named:
                if each > place and each not in seen and each not in progress.early:
                    seen.add(each)
                    if each < end or self.changes[each].op_id is not None:
                        path.append((each, self._named(each)))
                        break
            else:
                path.pop()
                if current != place:
                    order[current] = None
        return list(order)

    def _named(self, place: int) -> Iterator[int]:
        """The places of inserts whose rows a change names."""
        change = self.changes[place]
        if change.kind != "delete" and isinstance(change.data, dict):
            for reference in self._rows.checked(change.entity):
                key = change.data.get(reference.field)
                if isinstance(key, str):
                    found = self._inserts.get((reference.target, key))
                    if found is not None:
                        yield found

    @cached_property
    def deleted(self) -> frozenset[RowName]:
        """The rows that changes delete."""
        deletes = [each for each in self.changes if each.kind == "delete"]
        return frozenset((each.entity, each.row_id) for each in deletes)

    @cached_property
    def _inserts(self) -> dict[RowName, int]:
        """Where each row is inserted; the first time, where that is more than once."""
        found: dict[RowName, int] = {}
        for place, change in enumerate(self.changes):
            if change.kind == "insert":
                found.setdefault((change.entity, change.row_id), place)
        return found
