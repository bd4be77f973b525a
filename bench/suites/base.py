"""What every suite is given, and the words it reports its progress with."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
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
    cores: Cores
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

    @property
    def warm_seconds(self) -> float:
        """A first run of each side that is thrown away."""
        return min(1.0, self.seconds)


Suite = Callable[[Setting], list[Measure]]


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
