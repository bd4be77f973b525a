"""When code is interrupted, named and counted as stuck: times in, verdicts out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.store.overrun import GRACE_TIMES_MAX, NEVER, Case

BOUND = 0.05
WORK = object()


def strikes(case: Case, now: float, *, deadline: float = 1.0, late: float = 0.0) -> bool:
    return case.look(WORK, deadline, BOUND, now, late).strikes


def test_it_is_struck_when_its_time_is_over_and_at_every_look_after_that() -> None:
    case = Case()
    assert not strikes(case, 0.99)
    assert strikes(case, 1.0)
    assert strikes(case, 1.01)
    # It waits for the database: its time begins anew.
    assert not strikes(case, 1.02, deadline=NEVER)
    assert not strikes(case, 1.03, deadline=1.05)


def test_time_that_the_machine_took_is_given_back_within_bounds() -> None:
    late = limits.COMPUTE_AGAIN_SECONDS * 3
    case = Case()
    assert not strikes(case, 1.0, late=late)
    assert not strikes(case, 1.0 + late * 0.9)
    assert strikes(case, 1.0 + late)
    # A machine that is always busy does not keep it for ever.
    case = Case()
    assert not strikes(case, 1.0, late=60.0)
    assert strikes(case, 1.0 + GRACE_TIMES_MAX * BOUND)


def test_code_that_ignores_it_is_named_once_and_then_counts_as_stuck() -> None:
    case = Case()
    named = 0
    for step in range(2_000):
        now = 1.0 + step / 100
        verdict = case.look(WORK, 1.0, BOUND, now, 0.0)
        assert verdict.strikes
        assert verdict.names == (verdict.names and now >= 1.0 + limits.COMPUTE_NAMED_SECONDS)
        named += verdict.names
        assert case.is_stuck(now) == (now - 1.0 >= limits.COMPUTE_STUCK_SECONDS)
    assert named == 1
    case.close()
    assert not case.is_stuck(1_000.0)


def test_other_work_begins_anew() -> None:
    case = Case()
    assert strikes(case, 1.0)
    assert not case.look(object(), 30.0, BOUND, 29.0, 0.0).strikes
    assert not case.is_stuck(29.0)


@given(st.lists(st.tuples(st.floats(0.0, 0.2), st.floats(0.0, 0.2)), max_size=50))
def test_nothing_is_struck_before_its_time(looks: list[tuple[float, float]]) -> None:
    case, now = Case(), 0.0
    for step, late in looks:
        now += step
        assert strikes(case, now, late=late) <= (now >= 1.0)
