"""Rows on their way into an import."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from bench.imports import joined, lines, row_id


@given(st.lists(st.binary(max_size=40)), st.integers(1, 100))
def test_chunks_carry_every_byte_and_all_but_the_last_are_full(
    parts: list[bytes], size: int
) -> None:
    chunks = list(joined(parts, size))
    assert b"".join(chunks) == b"".join(parts)
    assert all(len(chunk) >= size for chunk in chunks[:-1])


def test_lines_are_rows_with_running_ids() -> None:
    first, second = (json.loads(line) for line in lines("Note", [{"text": "a"}, {"text": "b"}]))
    assert first == {"entity": "Note", "row": {"id": row_id(0), "text": "a"}}
    assert second["row"]["id"] == f"{1:040x}"
