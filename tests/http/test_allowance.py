"""The token bucket of one sender."""

from __future__ import annotations

import pytest

from pylon.http.allowance import Allowance


def test_a_burst_is_free_and_then_the_rate_counts() -> None:
    allowance = Allowance(per_second=10.0, burst=5.0, now=100.0)
    assert [allowance.take(1, 100.0) for _ in range(5)] == [0.0] * 5
    assert allowance.take(1, 100.0) == pytest.approx(0.1)
    assert allowance.take(1, 100.2) == 0.0
    assert allowance.take(1, 100.2) == pytest.approx(0.1)


def test_quiet_time_saves_no_more_than_a_burst() -> None:
    allowance = Allowance(per_second=10.0, burst=5.0, now=0.0)
    assert allowance.take(6, 1_000.0) == pytest.approx(0.1)


def test_more_than_is_left_is_a_debt() -> None:
    allowance = Allowance(per_second=10.0, burst=5.0, now=0.0)
    assert allowance.take(25, 0.0) == pytest.approx(2.0)
    assert allowance.take(1, 1.0) == pytest.approx(1.1)
