"""What a fan-out sends to whom."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.live.outlet import Event, Outlet
from pylon.sync.plans import ALWAYS_JOINED, in_steps, merge, parts, with_personal

ANN, BOB = cast("list[Outlet]", [object(), object()])


def test_events_of_ones_own_come_in_their_place() -> None:
    shared: list[Event] = [(1, b"a"), (4, b"d")]
    plans = with_personal([([ANN, BOB], shared)], {BOB: [(2, b"b")]})
    assert plans == [([ANN], shared), ([BOB], [(1, b"a"), (2, b"b"), (4, b"d")])]


def test_merging_with_nothing_shared_makes_no_copy() -> None:
    own: list[Event] = [(3, b"c")]
    assert merge([], own) is own


def test_few_events_are_one_part_however_large() -> None:
    events = [(n, b"x" * limits.FAN_OUT_BYTES) for n in range(ALWAYS_JOINED)]
    assert parts(events) == [events]


@given(st.lists(st.integers(1, 100), min_size=ALWAYS_JOINED + 1, max_size=200))
def test_parts_hold_every_event_once_and_in_order(sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "FAN_OUT_BYTES", 500)
        events = [(n, b"x" * size) for n, size in enumerate(sizes)]
        found = parts(events)
    assert [event for part in found for event in part] == events
    assert all(found)
    assert all(sum(len(payload) for _, payload in part[:-1]) <= 500 for part in found)


@pytest.mark.parametrize("size", [0, 1, 40_000, limits.FAN_OUT_STEP_BYTES * 2])
def test_steps_hold_everybody_once_and_few_where_bytes_are_many(size: int) -> None:
    readers = list(range(100))
    steps = list(in_steps(readers, size))
    assert [reader for step in steps for reader in step] == readers
    most = max(map(len, steps))
    assert most <= limits.FAN_OUT_STEP_READERS
    assert most == 1 or most * size <= limits.FAN_OUT_STEP_BYTES
