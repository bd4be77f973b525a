"""Where each session's pulls have got to."""

from __future__ import annotations

import pytest

from pylon.clock import ManualClock
from pylon.sync import positions
from pylon.sync.positions import RECENT_SECONDS, TABS_MAX, Positions

ANN, BOB = b"ann", b"bob"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_a_stream_starts_where_the_pull_ended(clock: ManualClock) -> None:
    known = Positions(clock)
    assert known.start_of(ANN) is None
    known.pulled(ANN, since=0, until=100)
    known.pulled(ANN, since=100, until=150)
    assert known.start_of(ANN) == 150
    assert known.start_of(BOB) is None


def test_the_tab_that_is_furthest_back_decides(clock: ManualClock) -> None:
    known = Positions(clock)
    known.pulled(ANN, since=0, until=100)
    known.pulled(ANN, since=0, until=200)
    assert known.start_of(ANN) == 100
    known.pulled(ANN, since=100, until=200)
    assert known.start_of(ANN) == 200


def test_tabs_that_have_long_been_quiet_do_not_hold_others_back(clock: ManualClock) -> None:
    known = Positions(clock)
    known.pulled(ANN, since=0, until=100)
    clock.advance(RECENT_SECONDS + 1)
    assert known.start_of(ANN) == 100
    known.pulled(ANN, since=0, until=300)
    assert known.start_of(ANN) == 300


def test_memory_is_bounded(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "SESSIONS_MAX", 3)
    known = Positions(clock)
    for tab in range(TABS_MAX + 5):
        known.pulled(ANN, since=0, until=tab + 1)
    assert known.start_of(ANN) == 6
    for number in range(3):
        known.pulled(b"%d" % number, since=0, until=1)
    assert known.start_of(ANN) is None, "the stalest session goes first"
    assert known.start_of(b"2") == 1
