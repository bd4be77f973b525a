"""What may be done with a document on the event loop, judged beforehand; pure.

Typing must stay as quick as it is, so a keystroke in a usual document passes with few comparisons.
What does not pass is done in a process beside the server (`work.py`). The bounds keep one piece of
work below some 10 ms on a slow machine (docs/decisions/0013); what takes longer all the same is
found by the clock afterwards (`open_document.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from pylon import limits
from pylon.codec import encode
from pylon.crdt.fields import JSON_KINDS, MergeKind, RowData
from pylon.errors import PylonError


class Weighed(Protocol):
    """A document as far as it is judged here (`row_document.Document`)."""

    fields: Mapping[str, MergeKind]
    values: RowData

    @property
    def operations(self) -> int: ...

    @property
    def is_wide(self) -> bool: ...

    def known_before(self, update: bytes) -> int | None: ...


TOO_COSTLY: Final = "CRDT_UPDATE_TOO_COSTLY"

JSON_WEIGHT: Final = 16
"""A character of a list's or tree's JSON takes as long to read as so many of a text."""


def too_costly() -> PylonError:
    """An update takes longer to merge, or makes a document longer to load, than is good."""
    return PylonError(
        413,
        TOO_COSTLY,
        "Merging this update takes too long.",
        "Make the edit in smaller steps, with fewer marks or moves.",
    )


def is_small_merge(document: Weighed, update: bytes) -> bool:
    """Whether a client's update may be merged on the loop."""
    if len(update) > limits.DOCUMENT_UPDATE_BYTES_SHALLOW:
        return False
    if not is_small(document.fields, document.values):
        return False
    if document.operations <= limits.DOCUMENT_INLINE_MISSED_MAX and not document.is_wide:
        return True
    # The library goes through what the author had not seen, and through everybody's versions.
    missed = document.known_before(update)
    if missed is None:
        return True  # no update, or one that comes too early: refused at once
    return missed == 0 or (missed <= limits.DOCUMENT_INLINE_MISSED_MAX and not document.is_wide)


def is_small_write(
    fields: Mapping[str, MergeKind], have: RowData, wanted: Mapping[str, object]
) -> bool:
    """Whether these values may be written into a document that has `have` on the loop."""
    if not is_small(fields, have):
        return False
    for name, value in wanted.items():
        kind = fields.get(name)
        before = have.get(name)
        if kind is None or value == before:
            continue
        if kind in JSON_KINDS:
            if max(_length(before), _length(value)) > limits.DOCUMENT_INLINE_JSON_CHARACTERS_MAX:
                return False
        elif kind == "text" and not _is_small_difference(before or "", value or ""):
            return False
    return True


def is_small(fields: Mapping[str, MergeKind], values: RowData) -> bool:
    """Whether a document that shows these values is quick to read, which each edit does."""
    weight = 0
    for name, kind in fields.items():
        value = values.get(name)
        if isinstance(value, str):
            weight += len(value) * (JSON_WEIGHT if kind in JSON_KINDS else 1)
        elif isinstance(value, dict | list):
            weight += len(encode(value))
    return weight <= limits.DOCUMENT_INLINE_CHARACTERS_MAX


def _is_small_difference(before: Any, after: Any) -> bool:
    """Whether two texts differ in a short stretch only: the library compares each with each."""
    if not (isinstance(before, str) and isinstance(after, str)):
        return True
    if len(before) * len(after) <= limits.DOCUMENT_INLINE_DIFFERENCE_MAX:
        return max(len(before), len(after)) <= limits.DOCUMENT_INLINE_STRETCH_MAX
    start = _common(before, after)
    shorter = min(len(before), len(after)) - start
    end = _common(before[len(before) - shorter :][::-1], after[len(after) - shorter :][::-1])
    gone, come = len(before) - start - end, len(after) - start - end
    return (
        gone * come <= limits.DOCUMENT_INLINE_DIFFERENCE_MAX
        and max(gone, come) <= limits.DOCUMENT_INLINE_STRETCH_MAX
    )


def _common(one: str, other: str) -> int:
    """How many characters both begin with; by halves, since comparing slices is quick."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _length(value: object) -> int:
    return len(value) if isinstance(value, str) else 0
