"""What travels from the write that made it to the readers that hear of it: changes of rows.

Facts that concern no row are in `facts.py`, the order in which all of it comes in `feed.py`.
"""

from __future__ import annotations

from typing import Any, Literal, NewType, TypeAlias

from msgspec import Struct

Seq = NewType("Seq", int)
"""A position in the change log: 1 for the first change ever, rising by 1, never reused."""

Kind: TypeAlias = Literal["insert", "update", "delete"]

RowData: TypeAlias = dict[str, Any]
"""A row as the schema types it: `id` first, then every field; missing values are None."""


class Change(Struct, kw_only=True):
    """One committed change of one row.

    `before` is None for an insert, `after` None for a delete; `patch` is what an update changed.
    `document_update` is what the row's document gained by it, where the row has one.
    """

    seq: Seq
    entity: str
    row_id: str
    kind: Kind
    before: RowData | None
    after: RowData | None
    patch: RowData | None
    at: float
    document_update: bytes | None = None


class Forgotten(Struct, kw_only=True):
    """A temporary row that one client is to drop; published just before the insert that replaces
    it (`sync/temporary.py`). `reader` is the client's `identity.caller_key`."""

    seq: int
    reader: bytes
    entity: str
    temporary_id: str
    at: float
