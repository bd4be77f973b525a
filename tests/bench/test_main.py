"""The command line: sizes, what goes together, and a quick run held against a baseline."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import __main__ as program
from bench import baseline
from bench.processes import BenchError
from bench.ratio import Measure
from bench.suites import rest
from bench.suites.base import Setting

ROUNDS = 3


def test_quick_is_smaller_and_says_only_what_was_left_out() -> None:
    usual, quick = program.parse(["rest"]), program.parse(["rest", "--quick", "--rounds", "7"])
    assert (usual.rounds, usual.seconds) == (5, 3.0)
    assert (quick.rounds, quick.seconds) == (7, 1.0)
    assert quick.deadline < usual.deadline


@pytest.mark.parametrize(
    "words",
    [
        ["rest", "--save-baseline", "--quick"],
        ["all", "--save-baseline"],
        ["all", "--quick", "--save-baseline", "--no-peer"],
        ["rest", "--check"],
        ["growth", "--quick"],
        ["all", "--only", "import"],
    ],
)
def test_what_does_not_go_together_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        program.parse(words)
    assert refused.value.code == 2


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "baseline.json"
    monkeypatch.setattr(program, "FILE", file)
    return file


def run_giving(monkeypatch: pytest.MonkeyPatch, ratio: float, *words: str) -> int:
    """A run whose suites all give one measure of this ratio."""

    def suite(setting: Setting) -> list[Measure]:
        assert setting.quick
        rounds = (ratio,) * setting.rounds
        return [Measure(name="get", unit="/s", ours=rounds, peer_name="p", peer=(1.0,) * ROUNDS)]

    monkeypatch.setattr(rest, "run", suite)
    monkeypatch.setattr(program, "QUICK_SUITES", ("rest",))
    return program.run(program.parse([*words, "--quick", "--cores", "free"]))


def test_worse_than_the_baseline_fails_a_check_only(
    monkeypatch: pytest.MonkeyPatch, stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline.write(
        stored,
        baseline.Baseline(
            machine={},
            ratios={
                "get | p | free": baseline.Ratio(median=2.0, least=1.9, most=2.1, rounds=ROUNDS)
            },
        ),
    )
    assert run_giving(monkeypatch, 2.0, "all", "--check") == 0
    assert "moved beyond noise: 0" in capsys.readouterr().out
    assert run_giving(monkeypatch, 1.0, "all") == 0
    assert "WORSE   get | p | free" in capsys.readouterr().out
    assert run_giving(monkeypatch, 1.0, "all", "--check") == program.WORSE
    assert run_giving(monkeypatch, 3.0, "rest", "--check") == 0
    assert "better  get | p | free" in capsys.readouterr().out


def test_a_check_without_a_baseline_is_no_success(
    monkeypatch: pytest.MonkeyPatch, stored: Path
) -> None:
    assert not stored.exists()
    assert run_giving(monkeypatch, 2.0, "all", "--check") == 1


def test_a_suite_that_fails_does_not_lose_what_others_measured(
    monkeypatch: pytest.MonkeyPatch, stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "QUICK_SUITES", ("rest", "live"))

    def fails(_setting: Setting) -> list[Measure]:
        raise BenchError("no luck")

    def works(_setting: Setting) -> list[Measure]:
        return [Measure(name="deliveries", unit="/s", ours=(1.0,))]

    monkeypatch.setattr("bench.suites.rest.run", fails)
    monkeypatch.setattr("bench.suites.live.run", works)
    assert program.run(program.parse(["all", "--quick"])) == 1
    shown = capsys.readouterr()
    assert "deliveries" in shown.out
    assert "rest failed: no luck" in shown.err
    assert "bench all took" in shown.err
