"""What counts as moved, and that a baseline comes back from its file as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.baseline import (
    FILE,
    MACHINE_FACTS,
    Baseline,
    Ratio,
    baseline_of,
    compare,
    moved,
    read,
    write,
)
from bench.ratio import Measure

POSITIVE = st.floats(0.01, 1000, allow_nan=False)


def ratio(least: float, median: float, most: float, *, rounds: int = 5) -> Ratio:
    return Ratio(median=median, least=least, most=most, rounds=rounds)


@st.composite
def ratios(draw: st.DrawFn) -> Ratio:
    values = sorted(draw(st.lists(POSITIVE, min_size=3, max_size=3)))
    return ratio(*values, rounds=draw(st.integers(1, 9)))


@pytest.mark.parametrize(
    ("then", "now", "direction"),
    [
        (ratio(1.9, 2.0, 2.1), ratio(1.9, 2.0, 2.1), 0),
        (ratio(1.9, 2.0, 2.1), ratio(1.5, 1.6, 1.95), 0),  # the intervals meet
        (ratio(1.9, 2.0, 2.1), ratio(1.7, 1.8, 1.89), 0),  # apart, but by less than 3 %
        (ratio(1.9, 2.0, 2.1), ratio(1.7, 1.75, 1.8), -1),
        (ratio(1.7, 1.75, 1.8), ratio(1.9, 2.0, 2.1), 1),
        (ratio(1.0, 2.0, 9.0), ratio(1.05, 1.1, 1.2), 0),  # a disturbed run accuses nobody
        (ratio(2.0, 2.0, 2.0, rounds=1), ratio(1.85, 1.85, 1.85, rounds=1), 0),
        (ratio(2.0, 2.0, 2.0, rounds=1), ratio(1.7, 1.7, 1.7, rounds=1), -1),
    ],
)
def test_moved_is_apart_by_the_gap(then: Ratio, now: Ratio, direction: int) -> None:
    assert moved(then, now) == direction


@given(ratios(), ratios())
def test_what_is_worse_one_way_is_better_the_other(one: Ratio, other: Ratio) -> None:
    assert moved(one, other) == -moved(other, one)
    assert moved(one, one) == 0


@given(st.dictionaries(st.text(max_size=20), ratios(), max_size=5))
def test_a_baseline_comes_back_from_its_file(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, Ratio]
) -> None:
    file = tmp_path_factory.mktemp("baseline") / "baseline.json"
    rounded = {
        key: Ratio(
            median=float(f"{each.median:.4g}"),
            least=float(f"{each.least:.4g}"),
            most=float(f"{each.most:.4g}"),
            rounds=each.rounds,
        )
        for key, each in found.items()
    }
    baseline = Baseline(machine={"python": "3.11"}, ratios=rounded)
    write(file, baseline)
    assert read(file) == baseline


def test_no_file_is_no_baseline(tmp_path: Path) -> None:
    assert read(tmp_path / "absent.json") is None


def measure(*ours: float, name: str = "get", cores: str = "pinned", peer: float = 1.0) -> Measure:
    theirs = (peer,) * len(ours)
    return Measure(name=name, unit="/s", ours=ours, peer_name="p", peer=theirs, cores=cores)


def test_rounds_of_several_runs_are_pooled_and_what_has_no_peer_is_left_out() -> None:
    alone = Measure(name="alone", unit="/s", ours=(1.0,))
    facts = {"python": "3.11", "processor": "a name", "kernel": "a version"}
    found = baseline_of(facts, [measure(2.0, 3.0), measure(4.0, cores="free"), alone, measure(1.0)])
    assert found.machine == {"python": "3.11"}
    assert found.ratios == {
        "get | p | pinned": ratio(1.0, 2.0, 3.0, rounds=3),
        "get | p | free": ratio(4.0, 4.0, 4.0, rounds=1),
    }


def test_a_change_names_what_moved_and_what_came_and_went() -> None:
    facts = {"python": "3.11"}
    then = baseline_of(
        facts,
        [measure(*[2.0] * 3), measure(*[2.0] * 3, name="list"), measure(2.0, name="old")],
    )
    now = baseline_of(
        {"python": "3.13"},
        [measure(*[1.0] * 3), measure(*[3.0] * 3, name="list"), measure(2.0, name="new")],
    )
    change = compare(then, now)
    assert len(change.worse) == len(change.better) == 1
    assert change.worse[0].startswith("get | p | pinned: 2.00x (2.00..2.00) -> 1.00x")
    assert (change.new, change.gone) == (("new | p | pinned",), ("old | p | pinned",))
    assert change.machine == ("python 3.11, now 3.13",)
    assert "gone" in change.text(whole=True)
    assert "gone" not in change.text(whole=False)
    assert "moved beyond noise: 2; that did not: 0" in change.text(whole=True)


def test_the_stored_baseline_is_whole_and_names_no_machine() -> None:
    stored = read(FILE)
    assert stored is not None
    assert stored.machine.keys() <= set(MACHINE_FACTS)
    assert stored.ratios
    for key, each in stored.ratios.items():
        _, peer, cores = key.split(" | ")
        assert peer
        assert cores in ("pinned", "free")
        assert 0 < each.least <= each.median <= each.most
