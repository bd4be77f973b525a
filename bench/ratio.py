"""The arithmetic of a comparison: rounds in, a ratio with its spread out.

No I/O and no clock. A ratio above 1 always means that ours is better, also for measures where
less is better. Called by the suites; rendered by `report`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, TypeVar

S = TypeVar("S")
Better = Literal["more", "less"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One load run: answers a second, latencies in milliseconds, and how many answers were bad."""

    rate: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    errors: int = 0


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


def alternate(
    ours: Callable[[], S],
    peer: Callable[[], S],
    *,
    rounds: int,
    after_round: Callable[[int, S, S], None] | None = None,
) -> tuple[list[S], list[S]]:
    """Run A B A B ...; each round's two runs are neighbours, so drift hits both alike."""
    mine: list[S] = []
    theirs: list[S] = []
    for number in range(1, rounds + 1):
        mine.append(ours())
        theirs.append(peer())
        if after_round is not None:
            after_round(number, mine[-1], theirs[-1])
    return mine, theirs
