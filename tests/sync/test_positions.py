"""Where each session's pulls have got to."""

from __future__ import annotations

import pytest

from pylon.clock import ManualClock
from pylon.sync import positions
from pylon.sync.positions import RECENT_SECONDS, TABS_MAX, Positions, caller_at

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


def test_only_one_of_two_tabs_at_the_same_position_moves_on(clock: ManualClock) -> None:
    known = Positions(clock)
    for _ in range(2):
        known.pulled(ANN, since=0, until=100)
    known.pulled(ANN, since=100, until=200)
    assert known.start_of(ANN) == 100, "the other tab has yet to connect"


def test_a_second_tab_of_an_empty_app_is_not_the_first(clock: ManualClock) -> None:
    """Both present 0: the first was given nothing, and a row has come since."""
    known = Positions(clock)
    known.pulled(ANN, since=0, until=0)
    known.pulled(ANN, since=0, until=1)
    assert known.take_start(ANN) == 0


def test_a_tab_that_stays_at_0_is_remembered_once(clock: ManualClock) -> None:
    known = Positions(clock)
    for _ in range(3):
        known.pulled(ANN, since=0, until=0)
    clock.advance(RECENT_SECONDS + 1)
    known.pulled(ANN, since=7, until=8)
    known.take_start(ANN)
    assert known.take_start(ANN) == 8
    assert known.take_start(ANN) == 0, "the two pulls are used up"


def test_a_tab_whose_pull_failed_is_where_it_was(clock: ManualClock) -> None:
    known = Positions(clock)
    known.pulled(ANN, since=0, until=300)
    known.pulled(ANN, since=50, until=50)
    assert known.start_of(ANN) == 50


def test_tabs_that_have_long_been_quiet_do_not_hold_others_back(clock: ManualClock) -> None:
    known = Positions(clock)
    known.pulled(ANN, since=0, until=100)
    clock.advance(RECENT_SECONDS + 1)
    assert known.start_of(ANN) == 100
    known.pulled(ANN, since=0, until=300)
    assert known.start_of(ANN) == 300


def test_tabs_that_slept_together_wake_together(clock: ManualClock) -> None:
    known = Positions(clock)
    known.pulled(ANN, since=0, until=100)
    clock.advance(1)
    known.pulled(ANN, since=0, until=200)
    clock.advance(10 * RECENT_SECONDS)
    assert known.start_of(ANN) == 100


def test_each_pull_pays_for_one_stream(clock: ManualClock) -> None:
    known = Positions(clock)
    assert known.take_start(ANN) is None
    known.pulled(ANN, since=0, until=100)
    assert known.take_start(ANN) == 100
    assert known.take_start(ANN) == 0, "its own pull never came"


def test_a_lost_stream_holds_the_others_back_until_one_pulls(clock: ManualClock) -> None:
    known = Positions(clock)
    known.pulled(ANN, since=0, until=100)
    known.lost(ANN, 100)
    known.lost(ANN, 90)
    clock.advance(RECENT_SECONDS + 1)
    known.pulled(ANN, since=120, until=130)
    assert known.take_start(ANN) == 90, "the lowest may be the other's"
    known.pulled(ANN, since=125, until=140)
    assert known.take_start(ANN) == 130


def test_whoever_was_too_far_back_has_to_pull(clock: ManualClock) -> None:
    known = Positions(clock)
    known.pulled(ANN, since=0, until=100)
    known.pulled(ANN, since=0, until=200)
    known.forget(ANN, 100)
    assert known.start_of(ANN) == 200
    assert known.is_behind(ANN)
    known.pulled(ANN, since=100, until=210)
    assert not known.is_behind(ANN)
    assert known.start_of(ANN) == 200
    known.forget(BOB, 200)
    assert not known.is_behind(BOB)


def test_a_tab_that_has_yet_to_connect_has_to_pull_too(clock: ManualClock) -> None:
    """Else its stream would start where the pull of another has got to."""
    known = Positions(clock)
    for _ in range(3):
        known.pulled(ANN, since=0, until=100)
    for _ in range(2):
        known.take_start(ANN)
    known.forget(ANN, 100)
    for until in (110, 120):
        known.pulled(ANN, since=100, until=until)
        assert known.is_behind(ANN), "the third has not pulled"
    known.pulled(ANN, since=100, until=120)
    assert not known.is_behind(ANN)
    assert known.take_start(ANN) == 110


def test_a_tab_that_never_connects_does_not_hold_others_back_for_long(clock: ManualClock) -> None:
    known = Positions(clock)
    known.pulled(ANN, since=0, until=100)
    known.pulled(ANN, since=0, until=200)
    known.forget(ANN, 100)
    known.pulled(ANN, since=200, until=210)
    assert known.is_behind(ANN)
    clock.advance(RECENT_SECONDS + 1)
    known.pulled(ANN, since=210, until=220)
    assert not known.is_behind(ANN)


def test_the_way_up_from_0_is_known(clock: ManualClock) -> None:
    known = Positions(clock)
    known.pulled(ANN, since=0, until=100, whole_from=70)
    assert known.whole_from(ANN, 100) == 70
    assert known.whole_from(ANN, 99) == 0
    assert known.whole_from(BOB, 100) == 0
    known.pulled(ANN, since=100, until=200, whole_from=70)
    assert (known.whole_from(ANN, 100), known.whole_from(ANN, 200)) == (0, 70)


def test_memory_is_bounded_and_the_furthest_back_is_kept(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(positions, "CALLERS_MAX", 3)
    known = Positions(clock)
    for tab in range(TABS_MAX + 5):
        known.pulled(ANN, since=0, until=tab + 1)
    assert known.start_of(ANN) == 1
    for number in range(3):
        known.pulled(b"%d" % number, since=0, until=1)
    assert known.start_of(ANN) is None, "the stalest caller goes first"
    assert known.start_of(b"2") == 1


def test_whoever_was_never_given_a_position_does_not_go_on_from_it(clock: ManualClock) -> None:
    known, here = Positions(clock, floor=10), caller_at("here")
    assert known.is_given(ANN, here, 10), "from before the start, so nobody knows"
    assert not known.is_given(ANN, here, 11)
    known.pulled(ANN, since=0, until=20)
    assert known.is_given(ANN, here, 20)
    assert not known.is_given(ANN, here, 21)
    known.pulled(ANN, since=21, until=21)
    assert not known.is_given(ANN, here, 21), "a pull that brought nothing proves nothing"
    known.opened(ANN, "own", 20)
    assert known.is_given(ANN, here, 99)
    known.closed(ANN, "own", 30)
    assert known.is_given(ANN, here, 30)
    assert not known.is_given(ANN, here, 31)
    known.restart(ANN)
    assert not known.is_given(ANN, here, 20)


def test_a_stream_that_may_be_a_callers_own_must_not_go_on_past_its_rows(
    clock: ManualClock,
) -> None:
    known, here = Positions(clock), caller_at("here")
    assert known.opened(here, "passing", 3)
    assert known.must_turn(here)
    known.name(here)
    assert not known.opened(here, "passing", 5), "it was being opened when somebody came"
    known.turn(here, 9)
    known.closed(here, "passing", 12)
    assert not known.must_turn(here)
    known.pulled(ANN, since=0, until=6, has_more=True)
    known.pulled(ANN, since=6, until=9)
    assert not known.is_given(ANN, here, 5), "whatever has moved a cursor there"
    assert known.is_given(ANN, here, 9)
    known.pulled(ANN, since=0, until=6, has_more=True)
    assert known.is_given(ANN, here, 6), "a page that others follow"
    known.opened(here, "own", 9)
    assert known.is_given(ANN, here, 11), "that one ends before what it may not show"


def test_nobody_goes_on_from_where_only_somebody_by_name_was(clock: ManualClock) -> None:
    known, here = Positions(clock), caller_at("here")
    known.pulled(here, since=0, until=20, named=True)
    assert not known.is_given(here, here, 20)
    assert known.is_given(here, here, 21), "from wherever else"
    known.opened(here, "public", 0)
    assert known.is_given(here, here, 20)
    assert known.is_given(caller_at("there"), caller_at("there"), 20)


def test_what_is_forgotten_is_taken_for_given(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(positions, "CALLERS_MAX", 1)
    known, here = Positions(clock), caller_at("here")
    known.pulled(ANN, since=0, until=20)
    known.pulled(BOB, since=0, until=5)
    assert known.is_given(ANN, here, 20)
    assert not known.is_given(ANN, here, 21)
    known.closed(ANN, "own", 30)
    assert known.is_given(ANN, here, 30)


def test_an_address_is_nobodys_until_somebody_pulls_there_by_name(clock: ManualClock) -> None:
    """Whatever else comes and goes there, before and after."""
    known, here = Positions(clock), caller_at("here")
    known.pulled(here, since=0, until=5, named=False)
    known.lost(here, 5)
    assert not known.is_named(here)
    known.pulled(here, since=5, until=5, named=True)
    for position in range(5, 5 + 2 * TABS_MAX):
        known.pulled(here, since=position, until=position + 1, named=False)
    assert known.is_named(here)
