"""Ratios: which way is better, neighbours paired, promises judged by the median."""

from __future__ import annotations

import pytest

from bench.ratio import Better, Measure, alternate, in_turn, spread


def measure(
    ours: tuple[float, ...], peer: tuple[float, ...] = (), *, better: Better = "more"
) -> Measure:
    return Measure(name="m", unit="/s", ours=ours, peer=peer, better=better, floor=1.5, aim=3.0)


def test_spread_of_rounds() -> None:
    found = spread([3.0, 1.0, 2.0])
    assert (found.median, found.least, found.most) == (2.0, 1.0, 3.0)


def test_ratio_above_one_is_better_whichever_way() -> None:
    assert measure((20.0, 30.0), (10.0, 10.0)).ratios() == (2.0, 3.0)
    assert measure((10.0,), (20.0,), better="less").ratios() == (2.0,)


def test_no_peer_no_ratio_no_verdict() -> None:
    assert measure((20.0,)).ratios() == ()
    assert measure((20.0,)).verdict() == ""


@pytest.mark.parametrize(
    ("ours", "verdict"), [((14.9, 14.9, 99.0), "below"), ((15.0,) * 3, "floor"), ((30.0,), "aim")]
)
def test_verdict_is_of_the_median(ours: tuple[float, ...], verdict: str) -> None:
    assert measure(ours, (10.0,) * len(ours)).verdict() == verdict


def test_alternate_runs_in_turn_and_reports_each_round() -> None:
    order: list[str] = []
    rounds: list[tuple[int, str, str]] = []

    def run(side: str) -> str:
        order.append(side)
        return side

    mine, theirs = alternate(
        lambda: run("a"),
        lambda: run("b"),
        rounds=3,
        after_round=lambda number, a, b: rounds.append((number, a, b)),
    )
    assert order == ["a", "b"] * 3
    assert (mine, theirs) == (["a"] * 3, ["b"] * 3)
    assert rounds == [(1, "a", "b"), (2, "a", "b"), (3, "a", "b")]


def test_in_turn_runs_each_once_a_round() -> None:
    order: list[str] = []

    def run(name: str) -> int:
        order.append(name)
        return len(order)

    last: list[dict[str, int]] = []
    found = in_turn(
        {name: lambda name=name: run(name) for name in "abc"},  # type: ignore[misc]
        rounds=2,
        after_round=lambda _number, samples: last.append(samples),
    )
    assert order == list("abcabc")
    assert found == {"a": [1, 4], "b": [2, 5], "c": [3, 6]}
    assert last == [{"a": 1, "b": 2, "c": 3}, {"a": 4, "b": 5, "c": 6}]
