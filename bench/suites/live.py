"""Live delivery to many readers: how many a second, and how long from a write to its readers.

Two modes, as fast as writers go and at a fixed pace (`bench/live_rounds.py`), of one user and of as
many users as readers, against a hub that joins what one turn of its loop brought (the bar) and a
naive one that writes each event singly (what most people write first). PocketBase stands beside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bench.live_rounds import WRITES_PER_SECOND, LiveSample, paced, saturated
from bench.peers.floors import RawHub
from bench.processes import cpu_seconds
from bench.ratio import Measure, alternate, spread
from bench.sides import Side, close, hub_side, open_readers, pocketbase_side, pylon_side
from bench.suites.base import Setting, in_each_layout, say

AUDIENCES_MAX = 1000
CEILING_EVENTS_JOINED = 8

PACED_P50_FLOOR, PACED_P50_AIM, PACED_P99_FLOOR = 1 / 3.8, 1 / 3, 1 / 4
SATURATED_RATE_FLOOR, SATURATED_P50_FLOOR = 1.0, 1 / 3
"""Against the hub that joins: it knows no users, keeps no row and waits for no disk."""

Round = Callable[[Setting, Side, float], LiveSample]


def run(setting: Setting) -> list[Measure]:
    """All rows, pinned and free; a quick run has the bar only, pinned."""
    if setting.quick:
        joining = hub_side(setting, "joined")
        return _of_identities(setting, _identities(setting)[-1], joining)
    return in_each_layout(setting, _measure)


def _measure(setting: Setting) -> list[Measure]:
    """All servers stay up, each with readers of its own; each is written to in its rounds only."""
    measures = [_ceiling(setting)]
    joining, single = hub_side(setting, "joined"), hub_side(setting, "single")
    for identities in _identities(setting):
        measures += _of_identities(setting, identities, joining, single)
    for side in (joining, single):
        close(setting, side)
    return measures


def _identities(setting: Setting) -> tuple[int, int]:
    """All readers are one user, then each a user of its own."""
    return 1, min(AUDIENCES_MAX, setting.readers)


def _of_identities(
    setting: Setting, identities: int, joining: Side, single: Side | None = None
) -> list[Measure]:
    ours = pylon_side(setting, identities)
    who = f"{setting.readers} readers of {identities} user{'s' if identities > 1 else ''}"
    measures = _at_pace(setting, who, ours, joining)
    measures += _saturated(setting, f"live, {who}", ours, joining)
    if single is not None:
        name = f"live, {who}, against single"
        measures.append(compare(setting, name, ours, single, "single writes"))
    if identities == 1 and setting.with_peer:
        peer = pocketbase_side(setting)
        name = f"live, {who}, against PocketBase"
        measures.append(compare(setting, name, ours, peer, "pocketbase SSE", promised=False))
        close(setting, peer)
    close(setting, ours)
    return measures


def _ceiling(setting: Setting) -> Measure:
    """What the readers can count, so that a reader of the table sees that they do not decide."""
    hub = RawHub(setting.fleet, blast=CEILING_EVENTS_JOINED, cores=setting.cores.server)
    readers = open_readers(setting, hub.port, [""])
    pids = (hub.child.pid, readers.pid)
    began, used = time.monotonic(), [cpu_seconds(pid) for pid in pids]
    rates = []
    for _ in range(setting.rounds):
        first = readers.ask("mark")
        time.sleep(min(1.0, setting.seconds))
        last = readers.ask("mark")
        rates.append((last["total"] - first["total"]) / (last["at"] - first["at"]))
    elapsed = time.monotonic() - began
    busy = [(cpu_seconds(pid) - before) / elapsed for pid, before in zip(pids, used, strict=True)]
    setting.fleet.stop(readers)
    setting.fleet.stop(hub.child)
    say(f"readers' own ceiling: {spread(rates).median:.0f}/s")
    return Measure(
        name=f"readers' own ceiling, {CEILING_EVENTS_JOINED} events joined",
        unit="/s",
        ours=tuple(rates),
        notes={"sender busy": busy[0], "readers busy": busy[1]},
    )


def compare(
    setting: Setting, name: str, ours: Side, peer: Side, peer_name: str, *, promised: bool = True
) -> Measure:
    """Deliveries a second, as fast as writers go."""
    mine, theirs = _rounds(setting, name, ours, peer, saturated)
    return Measure(
        name=name,
        unit="/s",
        ours=tuple(sample.rate for sample in mine),
        peer_name=peer_name,
        peer=tuple(sample.rate for sample in theirs),
        floor=3.0 if promised else None,
        aim=8.0 if promised else None,
        notes=_notes(mine, theirs),
    )


def _saturated(setting: Setting, name: str, ours: Side, peer: Side) -> list[Measure]:
    mine, theirs = _rounds(setting, name, ours, peer, saturated)
    return [
        Measure(
            name=f"{name}, against joined",
            unit="/s",
            ours=tuple(sample.rate for sample in mine),
            peer_name="joined writes",
            peer=tuple(sample.rate for sample in theirs),
            floor=SATURATED_RATE_FLOOR,
            notes=_notes(mine, theirs),
        ),
        _milliseconds(name, "p50_ms", mine, theirs, floor=SATURATED_P50_FLOOR),
        _milliseconds(name, "p99_ms", mine, theirs),
    ]


def _at_pace(setting: Setting, who: str, ours: Side, peer: Side) -> list[Measure]:
    name = f"live at {WRITES_PER_SECOND} writes/s, {who}"
    mine, theirs = _rounds(setting, name, ours, peer, paced)
    return [
        _milliseconds(
            *(name, "p50_ms", mine, theirs),
            floor=PACED_P50_FLOOR,
            aim=PACED_P50_AIM,
            notes=_notes(mine, theirs),
        ),
        _milliseconds(name, "p99_ms", mine, theirs, floor=PACED_P99_FLOOR),
    ]


def _milliseconds(
    name: str,
    figure: str,
    mine: Sequence[LiveSample],
    theirs: Sequence[LiveSample],
    *,
    floor: float | None = None,
    aim: float | None = None,
    notes: dict[str, float | int | str] | None = None,
) -> Measure:
    return Measure(
        name=f"{name}, {figure.partition('_')[0]}",
        unit="ms",
        ours=tuple(getattr(sample, figure) for sample in mine),
        peer_name="joined writes",
        peer=tuple(getattr(sample, figure) for sample in theirs),
        better="less",
        floor=floor,
        aim=aim,
        notes=notes or {},
    )


def _rounds(
    setting: Setting, name: str, ours: Side, peer: Side, one: Round
) -> tuple[list[LiveSample], list[LiveSample]]:
    """Both sides in turn, after a first run of each that is thrown away."""
    for side in (ours, peer):
        one(setting, side, setting.warm_seconds)

    def after_round(number: int, mine: LiveSample, theirs: LiveSample) -> None:
        say(
            f"{name} round {number}: {mine.rate:.0f}/s, {theirs.rate:.0f}/s; "
            f"p50 {mine.p50_ms:.1f}, {theirs.p50_ms:.1f} ms; "
            f"p99 {mine.p99_ms:.1f}, {theirs.p99_ms:.1f} ms; "
            f"server {mine.server_us:.2f}, {theirs.server_us:.2f} us"
        )

    return alternate(
        lambda: one(setting, ours, setting.seconds),
        lambda: one(setting, peer, setting.seconds),
        rounds=setting.rounds,
        after_round=after_round,
    )


def _notes(
    mine: Sequence[LiveSample], theirs: Sequence[LiveSample]
) -> dict[str, float | int | str]:
    return {
        f"{who} {name}": spread([getattr(sample, figure) for sample in samples]).median
        for who, samples in (("ours", mine), ("peer", theirs))
        for name, figure in (
            ("events/s", "events"),
            ("p50 ms", "p50_ms"),
            ("p99 ms", "p99_ms"),
            ("events a read", "joined"),
            ("server us a delivery", "server_us"),
            ("server busy", "server_busy"),
            ("readers busy", "readers_busy"),
        )
    }
