"""The watch over the loop: a timer and a thread in every process, and what they counted; and what
else each process does for itself."""

from __future__ import annotations

from functools import cached_property

from pylon import limits
from pylon.assembly.base import Base
from pylon.free_memory import give_back_free_memory
from pylon.loop_watch import LoopWatch
from pylon.metrics import Metrics
from pylon.part import Part, Periodic


class LoopGroup(Base):
    """The loop itself."""

    @cached_property
    def loop_watch(self) -> LoopWatch:
        return LoopWatch(self.config.loop_hold_milliseconds / 1000)


def _metrics(house: LoopGroup, metrics: Metrics) -> None:
    watch = house.loop_watch
    metrics.register_by_label(
        "pylon_loop_holds_total",
        "Times that one piece of work kept the event loop from turning.",
        "cause",
        watch.counted,
        is_counter=True,
    )
    metrics.register_histogram(
        "pylon_loop_hold_seconds", "How long it was kept by our own work.", watch.lengths
    )


async def _start(house: LoopGroup) -> None:
    house.loop_watch.start()


async def _stop(house: LoopGroup) -> None:
    house.loop_watch.stop()


def _periodic(_house: LoopGroup) -> tuple[Periodic, ...]:
    return (
        Periodic(
            name="give back memory",
            seconds=limits.MEMORY_GIVE_BACK_SECONDS,
            work=give_back_free_memory,
            runs_in="every process",
        ),
    )


LOOP = Part[LoopGroup](name="loop", metrics=_metrics, periodic=_periodic, start=_start, stop=_stop)
