"""The watch over the loop: a timer and a thread in every process, and what they counted."""

from __future__ import annotations

from functools import cached_property

from pylon.assembly.base import Base
from pylon.loop_watch import LoopWatch
from pylon.metrics import Metrics
from pylon.part import Part


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


LOOP = Part[LoopGroup](name="loop", metrics=_metrics, start=_start, stop=_stop)
