"""Lists that are too large to be made at once: their rows are read as the client takes them.

Which rows, and in what order, is found at one moment; each row is as it is when it is read, and one
that has gone meanwhile, or out of the caller's sight, is left out. So what a slow client keeps here
is the ids and one piece, and no snapshot of the database (docs/decisions/0015). Made by `door`, for
`query` too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from sys import getsizeof
from typing import Final, Protocol, TypeAlias

from msgspec import Struct

from pylon import limits
from pylon.changes.model import RowData
from pylon.codec import encode
from pylon.errors import PylonError

_ROWS_FIRST: Final = 10
"""Rows in the first piece, few since nothing is known of their size yet."""

_LESS: Final = 8
"""Where a piece is too large, it is read again with this part of its rows."""

_SLACK: Final = 4
"""A piece counts as too large beyond so many times its size: the sizes of rows differ, and little
is to be read twice."""


def is_too_large(error: PylonError) -> bool:
    """Whether a read ended because its answer has too many bytes to be made at once."""
    return error.code == "ANSWER_TOO_LARGE"


class RowsOf(Protocol):
    """Reads the rows with these ids, in their order, as far as the caller may see them now; 400
    `ANSWER_TOO_LARGE` where they have more than `bytes_max`."""

    def __call__(
        self, wanted: Sequence[str], *, bytes_max: int | None
    ) -> Awaitable[list[RowData]]: ...


class Piece(Struct, frozen=True, kw_only=True):
    """Some rows as text. A row that is written in several parts comes with the first of them."""

    rows: list[RowData]
    text: bytes


Writer: TypeAlias = Callable[[list[RowData]], Iterable[bytes]]
"""Writes rows, as text that is made part by part."""


def as_json(rows: list[RowData]) -> Iterable[bytes]:
    """JSON with commas between the rows, in one part: the largest row is encoded in some 30 ms."""
    return (encode(rows)[1:-1],)


class LongList:
    """The rows of a list, by their `ids`. `count` is how many have been given; its length is how
    many were found, which is more where some go meanwhile."""

    def __init__(self, ids: Sequence[str], rows_of: RowsOf) -> None:
        self.ids = ids
        self._rows_of = rows_of
        self.count = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def held_bytes(self) -> int:
        """About what it keeps in memory until it is taken."""
        return sum(map(getsizeof, self.ids)) + limits.ANSWER_PIECE_BYTES

    async def pieces(self, write: Writer = as_json) -> AsyncIterator[Piece]:
        """The rows in pieces of about `limits.ANSWER_PIECE_BYTES` or of one row, as `write` writes
        them; none is empty."""
        ids, position, most = self.ids, 0, _ROWS_FIRST
        while position < len(ids):
            wanted = ids[position : position + most]
            bytes_max = _SLACK * limits.ANSWER_PIECE_BYTES if len(wanted) > 1 else None
            try:
                rows = await self._rows_of(wanted, bytes_max=bytes_max)
            except PylonError as error:
                if not is_too_large(error) or len(wanted) == 1:
                    raise
                most = max(1, len(wanted) // _LESS)
                continue
            position += len(wanted)
            written = 0
            self.count += len(rows)
            for text in write(rows) if rows else ():
                written += len(text)
                yield Piece(rows=rows, text=text)
                rows = []
                # Short pieces are read, and may be sent, without waiting for anything.
                await asyncio.sleep(0)
            size = max(written // len(wanted), 1)
            most = max(1, min(limits.ANSWER_PIECE_BYTES // size, limits.ANSWER_PIECE_ROWS_MAX))
