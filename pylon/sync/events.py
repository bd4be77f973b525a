"""The JSON of a change, made once for all readers who are told the same of it.

Whether a reader is told at all, and as what, is `visibility`'s; the bytes of a write `outlet`'s.
"""

from __future__ import annotations

from collections.abc import Mapping

from pylon.changes.model import Change, Kind, RowData
from pylon.clock import iso_seconds
from pylon.codec import encode
from pylon.wire.events import event_json

Made = dict[tuple[Kind, bool], bytes | None]
"""What has been made of one change, by kind and whether private fields are in it."""


class EventJson:
    """Makes events; `private` are the fields of each entity that only administrators see."""

    def __init__(self, private: Mapping[str, frozenset[str]]) -> None:
        self._private = private

    def of(self, change: Change, kind: Kind | None, *, is_admin: bool, made: Made) -> bytes | None:
        """The event as this reader is told it; None where there is nothing to tell."""
        if kind is None:
            return None
        private = self._private[change.entity]
        key = (kind, is_admin and bool(private))
        if key not in made:
            made[key] = _event(change, kind, frozenset() if is_admin else private)
        return made[key]


def _event(change: Change, kind: Kind, hidden: frozenset[str]) -> bytes | None:
    data: RowData | None = None
    if kind == "insert":
        data = change.after
    elif kind == "update":
        data = change.patch
    if data is not None and hidden:
        data = {name: value for name, value in data.items() if name not in hidden}
        if not data:
            return None
    return event_json(
        seq=change.seq,
        entity=change.entity,
        row_id=change.row_id,
        kind=kind,
        data=None if data is None else encode(data),
        timestamp=iso_seconds(change.at),
    )
