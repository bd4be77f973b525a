"""Who may write how much of the time: shares by hand-fed time, and turns on a real loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.live.budget import Account, Budget, Lane, Share, Write
from pylon.live.outlet import LINES, Encoding, Outlet

turns = st.lists(
    st.tuples(st.integers(0, 2), st.floats(0.0001, 0.2), st.floats(0, 0.1)), max_size=40
)


@given(turns)
def test_no_lane_takes_more_than_its_share_and_all_not_more_than_theirs(
    wanted: list[tuple[int, float, float]],
) -> None:
    """Whoever wants when, however long its turns take: each begins as early as it may."""
    total, parts = 0.6, (0.5, 0.2, 0.3)
    account, shares = Account(total), [Share(part, 0.0) for part in parts]
    now = 100.0
    taken: list[tuple[int, float, float]] = []
    for lane, spent, idle in wanted:
        now += idle + max(0.0, account.wait(shares[lane], now + idle))
        assert account.wait(shares[lane], now) <= 1e-9
        taken.append((lane, now, now + spent))
        now += spent
        account.charge(shares[lane], now, spent)
    for number, part in enumerate(parts):
        bounded([(start, end) for lane, start, end in taken if lane == number], part)
    bounded([(start, end) for _, start, end in taken], total)


def bounded(intervals: list[tuple[float, float]], part: float) -> None:
    """From the begin of any turn to the begin of any later one, they take at most this part."""
    for place, (start, _) in enumerate(intervals):
        spent = 0.0
        for before, after in zip(intervals[place:], intervals[place + 1 :], strict=False):
            spent += before[1] - before[0]
            assert spent <= part * (after[0] - start) + 1e-6


def test_a_lane_alone_rests_as_its_share_says_and_at_least_its_tick() -> None:
    account = Account(0.7)
    half, ticking = Share(0.5, 0.0), Share(0.2, 0.05)
    account.charge(half, 10.0, 0.004)
    assert account.wait(half, 10.0) == pytest.approx(0.004)
    account.charge(ticking, 20.0, 0.001)
    assert account.wait(ticking, 20.0) == pytest.approx(0.05)
    account.charge(ticking, 30.0, 0.1)
    assert account.wait(ticking, 30.0) == pytest.approx(0.4)
    assert account.wait(half, 30.0) == pytest.approx(0.1 * (1 / 0.7 - 1))


class Stream:
    encoding: Encoding = LINES

    def write(self, data: bytes) -> None: ...

    def written(self) -> int:
        return 0

    def backlog(self) -> int:
        return 0

    def close(self, code: int, reason: str) -> None: ...


class Numbers:
    """A source of turns of so many writes; each write holds the loop for a moment."""

    def __init__(self, name: str, log: list[str], seconds: float = 0.0) -> None:
        self.name = name
        self.log = log
        self.seconds = seconds
        self.turns: list[int] = []
        self.fails_at: int | None = None
        self.failed = 0
        self.ended = asyncio.Event()

    def begin(self) -> Iterator[Write]:
        count = self.turns.pop(0)
        if count < 0:
            raise ValueError("of its own making")
        return ((Stream(), b"%d" % n, 1) for n in range(count))

    def write(self, outlet: Outlet, data: bytes, count: int) -> None:
        if self.fails_at == int(data):
            raise ValueError("of its own making")
        stop_at = perf_counter() + self.seconds
        while perf_counter() < stop_at:
            pass
        self.log.append(self.name + data.decode())

    def end(self) -> bool:
        if not self.turns:
            self.ended.set()
        return bool(self.turns)

    def fail(self) -> None:
        self.failed += 1


def lane(budget: Budget, source: Numbers, *, part: float = 0.5) -> Lane[Outlet]:
    return budget.lane(source.name, source, part=part, slice_seconds=0.002)


async def test_turns_of_one_lane_keep_their_order_and_do_not_overlap() -> None:
    log: list[str] = []
    source = Numbers("a", log)
    source.turns = [3, 0, 2]
    one = lane(Budget(), source)
    assert one.is_idle
    one.wake()
    one.wake()
    async with asyncio.timeout(60):
        await source.ended.wait()
    assert log == ["a0", "a1", "a2", "a0", "a1"]
    assert one.is_idle


async def test_lanes_in_the_middle_of_a_turn_take_slices_in_turns() -> None:
    log: list[str] = []
    budget = Budget(total=1.0)
    long, short = Numbers("l", log, 0.003), Numbers("s", log, 0.003)
    long.turns, short.turns = [6], [2]
    for each in (long, short):
        lane(budget, each).wake()
    others = 0
    async with asyncio.timeout(60):
        while not long.ended.is_set():
            others += 1
            await asyncio.sleep(0)
    assert sorted(log) == [f"l{n}" for n in range(6)] + ["s0", "s1"]
    assert log.index("s1") < log.index("l3"), "neither waits for the end of the other"
    assert others >= 6, "others have the loop between slices"


@pytest.mark.parametrize("at", ["begin", "write"])
async def test_a_turn_that_fails_is_over_and_the_next_one_comes(
    at: str, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    budget = Budget()
    source, other = Numbers("a", log), Numbers("b", log)
    source.turns, other.turns = [-1 if at == "begin" else 3, 1], [1]
    source.fails_at = 1 if at == "write" else None
    with caplog.at_level(logging.ERROR, "pylon.live"):
        for each in (source, other):
            lane(budget, each).wake()
        async with asyncio.timeout(60):
            await source.ended.wait()
            await other.ended.wait()
    assert source.failed == 1
    assert log.count("b0") == 1
    assert log.count("a0") == (1 if at == "begin" else 2)
    assert caplog.text.count("a fan-out of a failed") == 1
