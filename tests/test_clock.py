"""Time."""

from __future__ import annotations

from pylon.clock import ManualClock, SystemClock, iso_seconds


def test_iso_seconds_are_utc_without_fractions() -> None:
    assert iso_seconds(0) == "1970-01-01T00:00:00Z"
    assert iso_seconds(1_767_225_600.999) == "2026-01-01T00:00:00Z"
    assert iso_seconds(253_402_300_799) == "9999-12-31T23:59:59Z"


def test_a_manual_clock_moves_when_told() -> None:
    clock = ManualClock()
    before = clock.now(), clock.monotonic()
    clock.advance(1.5)
    assert (clock.now() - before[0], clock.monotonic() - before[1]) == (1.5, 1.5)
    clock.jump(-10)
    assert (clock.now() - before[0], clock.monotonic() - before[1]) == (-8.5, 1.5)


def test_the_systems_clock_does_not_go_back() -> None:
    clock = SystemClock()
    times = [clock.monotonic() for _ in range(100)]
    assert times == sorted(times)
    assert clock.now() > 1_700_000_000
