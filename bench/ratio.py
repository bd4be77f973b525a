"""The arithmetic of a comparison: rounds in, a ratio with its spread out.

No I/O and no clock. A ratio above 1 always means that ours is better, also for measures where
less is better. Called by the suites; rendered by `report`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, TypeVar

S = TypeVar("S")
Better = Literal["more", "less"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One load run: answers a second, latencies in milliseconds, how many answers were bad, and the
    server's user time for each answer in microseconds (0 where it is not known)."""

    rate: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    errors: int = 0
    user_us: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median of some rounds with the least and the greatest."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest of at least one value."""
    return Spread(median=median(values), least=min(values), most=max(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A finished measure. `peer` is empty where there is nothing to compare with."""

    name: str
    unit: str
    ours: tuple[float, ...]
    peer_name: str = ""
    peer: tuple[float, ...] = ()
    better: Better = "more"
    floor: float | None = None
    aim: float | None = None
    cores: str = ""
    """`pinned` or `free` (`machine`); where a suite leaves it out, the run fills it in."""
    notes: dict[str, float | int | str] = field(default_factory=dict)

    def ratios(self) -> tuple[float, ...]:
        """One ratio a round, each of two runs that were neighbours in time; none without a peer."""
        if not self.peer:
            return ()
        if self.better == "more":
            return tuple(a / b for a, b in zip(self.ours, self.peer, strict=True) if b)
        return tuple(b / a for a, b in zip(self.ours, self.peer, strict=True) if a)

    def verdict(self) -> str:
        """`aim`, `floor`, `below`, or nothing where no ratio was promised."""
        ratios = self.ratios()
        if not ratios or self.floor is None:
            return ""
        value = median(ratios)
        if self.aim is not None and value >= self.aim:
            return "aim"
        return "floor" if value >= self.floor else "below"


def in_turn(
    runs: Mapping[str, Callable[[], S]],
    *,
    rounds: int,
    after_round: Callable[[int, dict[str, S]], None] | None = None,
) -> dict[str, list[S]]:
    """Run A B C A B C ...; what each gave, round by round. The runs of a round are neighbours in
    time, so drift hits all alike."""
    found: dict[str, list[S]] = {name: [] for name in runs}
    for number in range(1, rounds + 1):
        for name, one in runs.items():
            found[name].append(one())
        if after_round is not None:
            after_round(number, {name: samples[-1] for name, samples in found.items()})
    return found


def alternate(
    ours: Callable[[], S],
    peer: Callable[[], S],
    *,
    rounds: int,
    after_round: Callable[[int, S, S], None] | None = None,
) -> tuple[list[S], list[S]]:
    """`in_turn` with two sides: A B A B ..."""

    def told(number: int, last: dict[str, S]) -> None:
        if after_round is not None:
            after_round(number, last["ours"], last["peer"])

    found = in_turn({"ours": ours, "peer": peer}, rounds=rounds, after_round=told)
    return found["ours"], found["peer"]
