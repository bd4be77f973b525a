"""Setting a list by its difference: what stays in its place is not touched.

Items are compared by their canonical JSON, so a map that a client edits inside the list goes on
being that map. A movable list also moves items and sets them in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from loro import LoroList, LoroMovableList

from pylon import limits
from pylon.canonical import canonical_text


def set_list(container: LoroList | LoroMovableList, target: Sequence[Any]) -> None:
    """Make the container hold `target`."""
    have = [canonical_text(item) for item in container.get_deep_value()]  # type: ignore[union-attr]
    want = [canonical_text(item) for item in target]
    start = 0
    while start < min(len(have), len(want)) and have[start] == want[start]:
        start += 1
    end = 0
    while end < min(len(have), len(want)) - start and have[-1 - end] == want[-1 - end]:
        end += 1
    have_middle = have[start : len(have) - end]
    want_middle = want[start : len(want) - end]
    values = target[start : len(target) - end]
    if max(len(have_middle), len(want_middle)) > limits.DOCUMENT_DIFF_ITEMS_MAX:
        _replace(container, start, len(have_middle), values)
    elif isinstance(container, LoroMovableList):
        _move_and_set(container, start, have_middle, want_middle, values)
    else:
        _insert_and_delete(container, start, have_middle, want_middle, values)


def _replace(
    container: LoroList | LoroMovableList, at: int, count: int, values: Sequence[Any]
) -> None:
    if count:
        container.delete(at, count)
    for offset, value in enumerate(values):
        container.insert(at + offset, value)


def _insert_and_delete(
    container: LoroList, start: int, have: list[str], want: list[str], values: Sequence[Any]
) -> None:
    matcher = SequenceMatcher(None, have, want, autojunk=False)
    # From the end, so that positions before an edit stay true.
    for tag, i1, i2, j1, j2 in reversed(matcher.get_opcodes()):
        if tag != "equal":
            _replace(container, start + i1, i2 - i1, values[j1:j2])


def _move_and_set(
    container: LoroMovableList,
    start: int,
    have: list[str],
    want: list[str],
    values: Sequence[Any],
) -> None:
    """Walk the target: move what comes later, set what is wanted nowhere, insert what is new."""
    now = list(have)
    for i, text in enumerate(want):
        if i < len(now) and now[i] == text:
            continue
        later = next((j for j in range(i + 1, len(now)) if now[j] == text), None)
        if later is not None:
            container.mov(start + later, start + i)
            now.insert(i, now.pop(later))
        elif i < len(now) and now[i] not in want[i:]:
            container.set(start + i, values[i])
            now[i] = text
        else:
            container.insert(start + i, values[i])
            now.insert(i, text)
    if len(now) > len(want):
        container.delete(start + len(want), len(now) - len(want))
