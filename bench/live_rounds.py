"""One round of writes to a side with readers: as fast as it takes them, or at a fixed pace.

Latency is from the moment a write was sent (at a pace: was due) to the moment a reader has its
event, sampled on every 50th reader. Every round ends with a check that each reader has each
acknowledged event once: a hub that skips is not fast, it is wrong.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import Any

from bench.load import Plan, felt, open_paced
from bench.processes import BenchError, thread_seconds
from bench.sides import Side
from bench.suites.base import Setting

WRITERS, WRITERS_OF_MANY = 32, 8
"""Connections that write, one request in flight on each, for up to 1000 readers and for more. With
8 to 1000 our server waited for them; with 32 to 10 000 the readers do not keep up."""

WRITES_PER_SECOND = 200
"""The fixed pace."""

SETTLE_SECONDS_MAX = 15.0
SETTLE_STEP_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSample:
    """One round: deliveries and events a second, and the time from sending to reading."""

    rate: float
    events: float
    p50_ms: float
    p99_ms: float
    server_us: float
    """The server's processor time for each delivery, its part of the writes included: what is left
    to compare by where other work disturbs the clock."""
    server_busy: float
    readers_busy: float
    joined: float
    """Events in one read of a reader."""


def saturated(setting: Setting, side: Side, seconds: float) -> LiveSample:
    """Writers that wait for nothing but their answers; a moment of their time is counted."""
    plan = setting.folder / "live-plan.json"
    plan.write_text(json.dumps([side.write.decode("latin-1")]))
    count = WRITERS if setting.readers <= 1000 else WRITERS_OF_MANY
    before = side.readers.ask("base")
    writers = setting.fleet.spawn(
        "writers",
        [
            *(sys.executable, "-m", "bench.generator", "--port", str(side.port)),
            *("--plan", str(plan), "--connections", str(count), "--stamp", "--control"),
        ],
        cores=setting.cores.load,
        pipes=True,
    )
    assert writers.process.stdin is not None
    writers.process.stdin.write(b"go\n")
    writers.process.stdin.flush()
    _wait_first_event(side, before["total"])
    used = _used(side)
    first = side.readers.ask("mark")
    time.sleep(seconds)
    last = side.readers.ask("mark")
    sample = _sample(setting, side, first, last, used)
    written = writers.ask("stop")
    setting.fleet.stop(writers)
    if written["errors"]:
        raise BenchError(f"{side.name}: {written['errors']} writes were refused")
    _wait_complete(side, setting.readers, written["acknowledged"])
    return sample


def paced(setting: Setting, side: Side, seconds: float, *, readers: int = 0) -> LiveSample:
    """Writes at the pace for a while; what the sampled of `readers` (0: all of them) saw.

    Ends when all of them have every event, so that the latest count as well.
    """
    plan = Plan(name=side.name, port=side.port, requests=(side.write,))
    side.readers.ask("base")
    caller = open_paced(setting.fleet, plan, rate=WRITES_PER_SECOND, cores=setting.cores.load)
    used = _used(side)
    first = side.readers.ask("look")
    time.sleep(seconds)
    written = round(felt(caller, order="stop").rate)
    setting.fleet.stop(caller)
    _wait_complete(side, readers or setting.readers, written)
    return _sample(setting, side, first, side.readers.ask("mark"), used)


def _sample(
    setting: Setting, side: Side, first: dict[str, Any], last: dict[str, Any], used: list[float]
) -> LiveSample:
    used = [now - then for now, then in zip(_used(side), used, strict=True)]
    elapsed = last["at"] - first["at"]
    deliveries = last["total"] - first["total"]
    return LiveSample(
        rate=deliveries / elapsed,
        events=deliveries / elapsed / setting.readers,
        p50_ms=last["p50_ms"],
        p99_ms=last["p99_ms"],
        server_us=used[0] / max(1, deliveries) * 1e6,
        server_busy=used[0] / elapsed,
        readers_busy=used[1] / elapsed,
        joined=deliveries / max(1, last["reads"] - first["reads"]),
    )


def _used(side: Side) -> list[float]:
    return [thread_seconds(pid) for pid in (side.server.pid, side.readers.pid)]


def _wait_first_event(side: Side, total: int) -> None:
    for _ in range(500):
        if side.readers.ask("look")["total"] > total:
            return
        time.sleep(0.02)
    raise BenchError(f"{side.name}: no event arrives")


def _wait_complete(side: Side, readers: int, wanted: int) -> None:
    """Wait until each reader that is not to stall has each acknowledged event of this round, once;
    at least so many `readers` must still be there."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while True:
        now = side.readers.ask("look")
        if now["open"] < readers:
            raise BenchError(f"{side.name}: {readers - now['open']} readers were closed")
        if now["least"] == now["most"] == wanted:
            return
        if now["most"] > wanted or time.monotonic() > deadline:
            raise BenchError(
                f"{side.name}: {wanted} events were acknowledged, readers have between "
                f"{now['least']} and {now['most']}"
            )
        time.sleep(SETTLE_STEP_SECONDS)
