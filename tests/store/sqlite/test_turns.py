"""Whose turn it is: batches, units alone, held units, and times in the queue; no loop, no clock."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.errors import PylonError
from pylon.store.sqlite.turns import ORDINARY, Queued, State, Turns, Wish

ALONE = Wish(alone=True)


def queued(name: str, wish: Wish = ORDINARY, until: float = 5.0) -> Queued:
    # The name stands for the unit; nothing here runs it.
    unit: Any = name
    future: Any = SimpleNamespace(done=lambda: False)
    return unit, future, until, wish


def names(units: Any) -> list[Any]:
    return [each[0] for each in units]


def state(turns: Turns) -> State:
    """Asked through a call, since a type checker takes it for what it was before."""
    return turns.state


def at(now: float) -> Any:
    return lambda: now


def begins(turns: Turns, now: float) -> Any:
    """The held unit whose transaction begins, or None."""
    held = turns.begin(at(now))
    return None if held is None else held[0]


def transactions(turns: Turns, takes: int | None = None) -> Iterator[list[Any]]:
    """The batches that come, of each as many as `takes`, the rest being left for the next."""
    while turns.due(at(0.0)) is not None:
        assert turns.begin(at(0.0)) is None
        batch = [turns.batch.popleft() for _ in range(min(takes or 999, len(turns.batch)))]
        yield names(batch)
        turns.end()


def test_what_waits_when_a_transaction_begins_is_its_batch() -> None:
    turns = Turns()
    assert turns.admit(queued("a"))
    turns.admit(queued("b"))
    assert turns.begin(at(0.0)) is None
    assert state(turns) is State.RUNNING
    assert not turns.admit(queued("late"))
    assert names(turns.batch) == ["a", "b"]
    assert turns.waiting == 3
    turns.batch.clear()
    turns.end()
    assert state(turns) is State.IDLE
    assert list(transactions(turns)) == [["late"]]


def test_a_batch_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WRITE_BATCH_MAX", 2)
    turns = Turns()
    for name in "abcde":
        turns.admit(queued(name))
    assert list(transactions(turns)) == [["a", "b"], ["c", "d"], ["e"]]


@given(
    st.lists(st.booleans(), max_size=20),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_units_run_once_in_order_and_those_alone_alone(
    alones: list[bool], bound: int, takes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "WRITE_BATCH_MAX", bound)
        turns = Turns()
        for number, alone in enumerate(alones):
            turns.admit(queued(str(number), ALONE if alone else ORDINARY))
        batches = list(transactions(turns, takes))
    assert list(chain(*batches)) == [str(number) for number in range(len(alones))]
    for batch in batches:
        assert 1 <= len(batch) <= bound
        assert len(batch) == 1 or not any(alones[int(name)] for name in batch)


def test_a_unit_that_waits_too_long_is_taken_out() -> None:
    turns = Turns()
    turns.admit(queued("a", until=1.0))
    turns.admit(queued("b", ALONE, until=2.0))
    turns.admit_held(queued("held", until=3.0), 0.0)
    assert turns.next_expiry == 1.0
    assert names(turns.expire(0.5)) == []
    assert names(turns.expire(2.0)) == ["a", "b"]
    assert turns.next_expiry == 3.0
    assert names(turns.expire(3.0)) == ["held"]
    assert turns.waiting == 0
    assert turns.due(at(3.0)) is None


def test_a_held_unit_goes_before_a_batch_and_then_lets_the_others_have_theirs() -> None:
    turns = Turns()
    turns.admit(queued("a"))
    turns.admit_held(queued("first"), 0.0)
    turns.admit_held(queued("second"), 0.0)
    assert begins(turns, 0.0) == "first"
    assert state(turns) is State.HELD
    assert turns.is_alone
    turns.held_for(1.0, 1.0)
    turns.end()
    assert begins(turns, 1.0) is None
    assert names(turns.batch) == ["a"]
    turns.batch.clear()
    turns.end()
    # Four times its second later, and not before.
    assert turns.due(at(2.0)) == 3.0
    assert begins(turns, 4.9) is None
    turns.end()
    assert begins(turns, 5.0) == "second"


def test_a_held_unit_whose_turn_cannot_come_is_refused_with_the_time_to_wait() -> None:
    turns = Turns()
    turns.held_for(2.0, 2.0)
    with pytest.raises(PylonError) as refused:
        turns.admit_held(queued("held", until=7.0), 2.0)
    assert (refused.value.status, refused.value.extra) == (503, {"retry_after_secs": 8})
    turns.admit_held(queued("held", until=10.0), 5.0)


def test_a_held_unit_whose_caller_has_gone_does_not_begin() -> None:
    turns = Turns()
    unit, _, until, wish = queued("gone")
    gone: Any = SimpleNamespace(done=lambda: True)
    turns.admit_held((unit, gone, until, wish), 0.0)
    assert turns.begin(at(0.0)) is None
    assert (state(turns), turns.waiting) == (State.RUNNING, 0)


def test_queues_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HELD_WAITING_MAX", 1)
    monkeypatch.setattr(limits, "WRITES_WAITING_MAX", 1)
    turns = Turns()
    turns.admit(queued("a"))
    turns.admit_held(queued("held"), 0.0)
    with pytest.raises(PylonError, match="Too many writes"):
        turns.admit(queued("b"))
    with pytest.raises(PylonError, match="too long"):
        turns.admit_held(queued("b"), 0.0)
    assert names(turns.drain(only_held=True)) == ["held"]
    assert names(turns.drain()) == ["a"]
