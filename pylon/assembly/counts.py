"""What the limiters of all doors tell those of other processes; nothing where there are none."""

from __future__ import annotations

from collections.abc import Sequence

from pylon import limits
from pylon.assembly.base import Base
from pylon.bus.counts import CountExchange
from pylon.part import Part, Periodic


def _periodic(house: Base) -> Sequence[Periodic]:
    if house.bus.node == 0:
        return ()
    exchange = CountExchange(house.bus, house.shared_limiters)
    return (
        Periodic(
            name="exchange counts",
            seconds=limits.RATE_COUNTS_SECONDS,
            work=exchange.exchange,
            runs_in="every process",
        ),
    )


COUNTS = Part[Base](name="rate limits", periodic=_periodic)
