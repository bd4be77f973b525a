"""Lists too large to be made at once, as answers that are written piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from pylon.data.long_lists import LongList
from pylon.http.response import JSON, StreamResponse


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
