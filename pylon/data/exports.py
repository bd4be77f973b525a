"""Export: every row of some entities as text, from one snapshot and in constant memory.

The text is made here chunk by chunk; who may have it is decided above. The same writer makes a
data subject's export (`subjects.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from pylon.changes.model import RowData
from pylon.codec import encode
from pylon.store.base import Row, Snapshot, Value
from pylon.wire.csv_format import CsvWriter
from pylon.wire.export_format import export_line

Format: TypeAlias = Literal["json", "ndjson", "csv"]


class Part(Struct, frozen=True, kw_only=True):
    """What is exported of one entity: a query, and how its tuples become rows."""

    entity: str
    sql: str
    params: tuple[Value, ...]
    decode: Callable[[Row], RowData]


class ExportText:
    """The text of an export, as an async iterator that lets go of its snapshot when closed.

    Closing works before the first chunk was asked for too, which a generator alone would not do.
    """

    def __init__(self, snapshot: Snapshot, chunks: AsyncGenerator[bytes, None]) -> None:
        self._snapshot = snapshot
        self._chunks = chunks

    def __aiter__(self) -> ExportText:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        """End the export and its snapshot."""
        await self._chunks.aclose()
        await self._snapshot.aclose()


async def as_lines(snapshot: Snapshot, parts: Sequence[Part]) -> AsyncGenerator[bytes, None]:
    """One row a line."""
    for part in parts:
        async for chunk in snapshot.rows(part.sql, part.params):
            yield b"".join([export_line(part.entity, part.decode(row)) for row in chunk])


async def as_csv(snapshot: Snapshot, part: Part, writer: CsvWriter) -> AsyncGenerator[bytes, None]:
    """One row a line, behind a line with the names of its fields."""
    yield writer.head()
    async for chunk in snapshot.rows(part.sql, part.params):
        for text in writer.lines(map(part.decode, chunk)):
            yield text
            await asyncio.sleep(0)


async def as_object(
    snapshot: Snapshot,
    parts: Sequence[Part],
    *,
    head: dict[str, Any],
    keep_empty: bool,
    with_counts: bool,
) -> AsyncGenerator[bytes, None]:
    """`{**head, "entities": {E: [rows]}, "counts": {E: n}}`, each part written as it is read."""
    yield encode(head)[:-1] + b',"entities":{'
    counts: dict[str, int] = {}
    for part in parts:
        opening = b"%b%b:[" % (b"," if counts else b"", encode(part.entity))
        if keep_empty:
            counts[part.entity] = 0
            yield opening
            opening = b""
        async for chunk in snapshot.rows(part.sql, part.params):
            separator = b"," if counts.get(part.entity) else b""
            yield opening + separator + encode([part.decode(row) for row in chunk])[1:-1]
            opening = b""
            counts[part.entity] = counts.get(part.entity, 0) + len(chunk)
        if part.entity in counts:
            yield b"]"
    yield b'},"counts":%b}' % encode(counts) if with_counts else b"}}"
