"""What was read, as far as anybody wants to know: so that a live function runs again in time.

A `ReadRecord` is handed to a `ReadDoor`; what it holds at the end are `Read`s. The record is coarse
on purpose: single rows where they were asked for by their ids, else the entity as a whole.
"""

from __future__ import annotations

from msgspec import Struct

from pylon import limits


class Read(Struct, frozen=True, kw_only=True):
    """Rows that an answer rests on: those of `ids`, also where there was none; None: any row."""

    entity: str
    ids: frozenset[str] | None = None

    def concerns(self, entity: str, row_id: str) -> bool:
        """Whether a change of this row may change the answer."""
        return entity == self.entity and (self.ids is None or row_id in self.ids)


class ReadRecord:
    """Gathers what is read through one door."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[str, set[str] | None] = {}

    def note_row(self, entity: str, row_id: str) -> None:
        """A row was asked for by its id. Too many of one entity count as all of it."""
        ids = self._ids.setdefault(entity, set())
        if ids is not None:
            ids.add(row_id)
            if len(ids) > limits.READ_IDS_RECORDED_MAX:
                self._ids[entity] = None

    def note_entity(self, entity: str) -> None:
        """Any row of the entity may have decided."""
        self._ids[entity] = None

    def reads(self) -> tuple[Read, ...]:
        """What was read so far, an entity each."""
        return tuple(
            Read(entity=entity, ids=None if ids is None else frozenset(ids))
            for entity, ids in self._ids.items()
        )
