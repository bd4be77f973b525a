"""Answers that are made at once but may be long: written as JSON in several turns of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pylon import limits
from pylon.codec import Raw, encode

_ROWS_FIRST = 10
"""Rows of the first stretch, few since nothing is known of their size yet."""


async def rows_in_turns(rows: Sequence[object]) -> Raw:
    """A JSON list of these; others get their turn after each `limits.ANSWER_PIECE_BYTES`."""
    parts: list[bytes] = []
    position, count, size = 0, _ROWS_FIRST, 0
    while position < len(rows):
        text = encode(rows[position : position + count])[1:-1]
        position += count
        parts.append(text)
        size += len(text)
        if size > limits.ANSWER_PIECE_BYTES:
            size = 0
            await asyncio.sleep(0)
        count = max(1, limits.ANSWER_PIECE_BYTES * count // max(len(text), 1))
    return Raw(b"[%b]" % b",".join(parts))
