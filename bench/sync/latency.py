"""From a write to the moment at which other clients have it, at a pace that leaves room.

The bare hub at the same pace says how much of it is the sockets, the readers and the machine.
"""

from __future__ import annotations

import time

from bench.load import Plan, felt, open_paced
from bench.processes import BenchError
from bench.ratio import Measure, Sample, alternate
from bench.suites.base import Setting, say
from bench.suites.live import (
    SETTLE_SECONDS_MAX,
    SETTLE_STEP_SECONDS,
    Side,
    close,
    hub_side,
    pylon_side,
)

WRITES_PER_SECOND = 200
AIM_P50_MS = 3
AIM_P99_MS = 12


def run(setting: Setting) -> list[Measure]:
    """Both sides are up all the time; each is written to in its rounds only."""
    ours = pylon_side(setting, setting.readers)
    hub = hub_side(setting, "kernel")

    def after_round(number: int, mine: Sample, theirs: Sample) -> None:
        say(
            f"write to visible round {number}: p50 {mine.p50_ms:.2f}, {theirs.p50_ms:.2f} ms, "
            f"p99 {mine.p99_ms:.2f}, {theirs.p99_ms:.2f} ms"
        )

    for side in (ours, hub):
        seen(setting, side, setting.warm_seconds)
    mine, theirs = alternate(
        lambda: seen(setting, ours, setting.seconds),
        lambda: seen(setting, hub, setting.seconds),
        rounds=setting.rounds,
        after_round=after_round,
    )
    close(setting, ours)
    close(setting, hub)
    what = f"write to visible, {WRITES_PER_SECOND}/s, {setting.readers} readers"
    return [
        Measure(
            name=f"{what}, {name}",
            unit="ms",
            ours=tuple(mine_ms),
            peer_name="single writes",
            peer=tuple(theirs_ms),
            better="less",
            notes={"aim": f"under {aim} ms"},
        )
        for name, aim, mine_ms, theirs_ms in (
            ("p50", AIM_P50_MS, [each.p50_ms for each in mine], [each.p50_ms for each in theirs]),
            ("p99", AIM_P99_MS, [each.p99_ms for each in mine], [each.p99_ms for each in theirs]),
        )
    ]


def seen(setting: Setting, side: Side, seconds: float, *, readers: int = 0) -> Sample:
    """Write at the pace for a while; what the sampled of `readers` (0: all of them) saw.

    Ends when all of them have every event, so that the latest count as well.
    """
    plan = Plan(name=side.name, port=side.port, requests=(side.write,))
    before = side.readers.ask("mark")["total"]
    caller = open_paced(setting.fleet, plan, rate=WRITES_PER_SECOND, cores=setting.cores.load)
    time.sleep(seconds)
    written = felt(caller).rate
    setting.fleet.stop(caller)
    wanted = before + written * (readers or setting.readers)
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while side.readers.ask("look")["total"] < wanted:
        if time.monotonic() > deadline:
            raise BenchError(f"{side.name}: not all readers have all of {written} events")
        time.sleep(SETTLE_STEP_SECONDS)
    time.sleep(SETTLE_STEP_SECONDS)
    after = side.readers.ask("mark")
    return Sample(rate=written / seconds, p50_ms=after["p50_ms"], p99_ms=after["p99_ms"])
