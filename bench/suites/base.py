"""What every suite is given, and the words it reports its progress with."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.load import Plan, play
from bench.machine import Cores
from bench.processes import Fleet
from bench.ratio import Measure, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a run was asked for."""

    fleet: Fleet
    folder: Path
    layouts: tuple[Cores, ...]
    """Who gets which cores, one after the other: pinned and free, or the one that was asked for."""
    cores: Cores
    """The layout of this part of the run; the first of `layouts` where there are no parts."""
    rounds: int
    seconds: float
    rows: int
    readers: int
    connections: int
    with_peer: bool
    peer_log: bool
    edits: int = 0
    """Of the one document that editors write together."""
    only: tuple[str, ...] = ()
    """The parts that a suite made of parts is to run; all when empty."""
    tree: Path | None = None
    """Another checkout, to compare this one with."""
    quick: bool = False
    """A run for every change: all suites of `--quick` together stay under four minutes."""

    @property
    def warm_seconds(self) -> float:
        """A first run of each side that is thrown away."""
        return min(1.0, self.seconds)


Suite = Callable[[Setting], list[Measure]]


def in_each_layout(setting: Setting, part: Suite) -> list[Measure]:
    """Run `part` once for each layout, so that each of its measures gives two rows: pinned, free.

    A suite calls it with what starts its servers, plays and ends them. `part` is given a setting
    with its own `cores` and an empty `folder`; it passes `cores.server` to whatever it starts of
    ours and of peers, and `cores.load` to whatever loads them. A server that has been started for
    one layout is started again for the other, since some count their cores at the start:

        def run(setting):
            return in_each_layout(setting, _measure_all)
    """
    measures: list[Measure] = []
    for cores in setting.layouts:
        folder = setting.folder / cores.name
        folder.mkdir(exist_ok=True)
        say(cores.describe())
        found = part(replace(setting, cores=cores, folder=folder))
        measures += [replace(measure, cores=cores.name) for measure in found]
    return measures


def play_plan(
    setting: Setting, plan: Plan, seconds: float, *, connections: int | None = None
) -> Sample:
    """Play a plan from the load side, over as many connections as the setting has or as given."""
    return play(
        setting.fleet,
        plan,
        seconds=seconds,
        cores=setting.cores.load,
        connections=connections or setting.connections,
    )


def say(text: str) -> None:
    """One progress line on stderr."""
    print(text, file=sys.stderr, flush=True)
