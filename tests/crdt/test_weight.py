"""What is done on the loop, judged beforehand: keystrokes are, what may take long is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.crdt.fields import MergeKind
from pylon.crdt.weight import is_small_merge, is_small_write

FIELDS: dict[str, MergeKind] = {"title": "lww", "body": "text", "tags": "list", "likes": "counter"}
EMPTY: dict[str, Any] = {"title": None, "body": "", "tags": "[]", "likes": 0}

MANY = limits.DOCUMENT_INLINE_CHARACTERS_MAX
MISSED = limits.DOCUMENT_INLINE_MISSED_MAX
KEY = bytes(100)


@dataclass
class Judged:
    """A document as far as it is judged."""

    values: dict[str, Any] = field(default_factory=lambda: dict(EMPTY))
    fields: Mapping[str, MergeKind] = field(default_factory=lambda: FIELDS)
    operations: int = 10
    is_wide: bool = False
    missed: int | None = 0

    def known_before(self, update: bytes) -> int | None:
        return self.missed


@pytest.mark.parametrize(
    ("document", "update", "is_small"),
    [
        (Judged(), KEY, True),
        (Judged(), bytes(limits.DOCUMENT_UPDATE_BYTES_SHALLOW), True),
        (Judged(), bytes(limits.DOCUMENT_UPDATE_BYTES_SHALLOW + 1), False),
        (Judged(values={**EMPTY, "body": "x" * (MANY - 100)}), KEY, True),
        (Judged(values={**EMPTY, "body": "x" * (MANY + 1)}), KEY, False),
        (Judged(values={**EMPTY, "tags": "[" + " " * (MANY // 8)}), KEY, False),
        (Judged(operations=10**7), KEY, True),
        (Judged(operations=10**7, missed=MISSED), KEY, True),
        (Judged(operations=10**7, missed=MISSED + 1), KEY, False),
        (Judged(is_wide=True), KEY, True),
        (Judged(is_wide=True, missed=1), KEY, False),
        (Judged(is_wide=True, missed=None), KEY, True),
    ],
)
def test_merges(document: Judged, update: bytes, is_small: bool) -> None:
    assert is_small_merge(document, update) is is_small


@pytest.mark.parametrize(
    ("have", "wanted", "is_small"),
    [
        ({}, {"title": "x" * 1_000_000}, True),
        ({}, {"secret": "x" * 1_000_000}, True),
        ({"body": "x" * (MANY - 99)}, {"body": "x" * (MANY - 99)}, True),
        ({"body": "x" * 1_000}, {"body": "y" + "x" * 1_000}, True),
        ({"body": "abc" * 1_000}, {"body": "cab" * 1_000}, False),
        ({"body": "ab" * 5_000}, {"body": "cd" * 5_000}, False),
        ({"body": "x" * 100_000}, {"body": "x" * 50_000 + "y" + "x" * 50_000}, True),
        ({"body": "x" * 100_000}, {"body": ""}, False),
        ({"body": "x" * (MANY + 1)}, {"likes": 7}, False),
        ({"tags": "[]"}, {"tags": "[1]"}, True),
        ({"tags": "[]"}, {"tags": "[" + "1," * 2_000 + "1]"}, False),
        ({"body": "x" * 1_000}, {"body": None}, True),
    ],
)
def test_writes(have: dict[str, Any], wanted: dict[str, Any], is_small: bool) -> None:
    assert is_small_write(FIELDS, {**EMPTY, **have}, wanted) is is_small


@given(st.text("ab", max_size=30), st.text("ab", max_size=30), st.text("ab", max_size=30))
def test_a_short_stretch_is_found_wherever_it_is(start: str, middle: str, end: str) -> None:
    filler = "z" * 20_000
    have = {**EMPTY, "body": filler + start + end + filler}
    assert is_small_write(FIELDS, have, {"body": filler + start + middle + end + filler})
