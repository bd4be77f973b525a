"""Lists as answers: whole, or where they are too large for that, written piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from pylon.codec import encode
from pylon.data.lists import CsvTable, Found, Total
from pylon.data.long_lists import LongList
from pylon.http.describe import FLAG, TEXT, Parameter
from pylon.http.response import JSON, AnyResponse, StreamResponse, raw_json
from pylon.wire.csv_format import CSV_UTF8, CsvWriter

SPREADSHEET = Parameter(
    name="spreadsheet",
    schema=FLAG,
    description="CSV to be looked at: a byte order mark in front, and an apostrophe before texts"
    " that a spreadsheet would run as formulas.",
)
FIELDS = Parameter(
    name="fields",
    schema=TEXT,
    description="Names with commas between: rows have their id and these fields only.",
)


def long_list_response(rows: LongList, head: bytes, tail: Callable[[], bytes]) -> StreamResponse:
    """The rows between `head` and what `tail` says once they have all been given."""

    async def chunks() -> AsyncIterator[bytes]:
        separator = head
        async for piece in rows.pieces():
            yield separator + piece.text
            separator = b","
        yield tail() if rows.count else head + tail()

    return StreamResponse(
        200, chunks(), content_type=JSON, held_bytes=rows.held_bytes, may_compress=True
    )


def found_response(found: Found, **facts: Any) -> AnyResponse:
    """`{"data": [..], "count", ..facts, "total"?, "total_relation"?}`."""
    rows = found.rows

    def tail(count: int) -> bytes:
        return b"," + encode({"count": count, **facts, **told(found.total)})[1:]

    if isinstance(rows, LongList):
        return long_list_response(rows, b'{"data":[', lambda: b"]" + tail(rows.count))
    return raw_json(b'{"data":%b%b' % (rows, tail(found.count)))


def csv_response(table: CsvTable, *, is_for_spreadsheet: bool) -> StreamResponse:
    """Rows as CSV, piece by piece."""
    writer = CsvWriter(table.names, is_for_spreadsheet=is_for_spreadsheet, as_json=table.as_json)

    async def chunks() -> AsyncIterator[bytes]:
        yield writer.head()
        async for piece in table.rows.pieces(writer.lines):
            yield piece.text

    return StreamResponse(
        *(200, chunks()),
        content_type=CSV_UTF8,
        held_bytes=table.rows.held_bytes,
        may_compress=True,
    )


def told(total: Total | None) -> dict[str, Any]:
    """What an answer says of how many rows there are, where it was asked."""
    if total is None:
        return {}
    return {"total": total.rows, "total_relation": total.relation}
