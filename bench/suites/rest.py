"""Get, list and insert against PocketBase, and get against an app that does nothing."""

from __future__ import annotations

from bench.load import Plan, check_plan, send_raw, split_answer
from bench.peers.base import RowPeer
from bench.peers.floors import AsgiFloor
from bench.peers.pocketbase import PocketBase
from bench.peers.pylon_server import PylonServer
from bench.processes import BenchError
from bench.ratio import Measure, Sample, alternate, spread
from bench.suites.base import Setting, play_plan, say

PROMISES = {"get": (1.3, 2.0), "list": (1.5, 3.0), "insert": (1.2, 2.0)}
NAMES = {
    "get": "get one row",
    "list": "list 20 by cursor",
    "insert": "insert (ours full sync, peer its default)",
}


def run(setting: Setting) -> list[Measure]:
    """Both servers up, equal rows in both, then measure after measure."""
    ours = PylonServer(cores=setting.cores.server, load_cores=setting.cores.load)
    ours.start(setting.fleet, setting.folder)
    peer = PocketBase(cores=setting.cores.server, request_log=setting.peer_log)
    peers: list[RowPeer] = [ours]
    if setting.with_peer:
        peer.start(setting.fleet, setting.folder)
        peers.append(peer)
    for each in peers:
        say(f"seeding {setting.rows} rows into {each.name}")
        each.seed(setting.rows)
    measures = [_against_floor(setting, ours)]
    for kind in NAMES:
        mine, theirs = plan_of(ours, kind), plan_of(peer, kind) if setting.with_peer else None
        measures.append(_compare(setting, kind, mine, theirs))
    return measures


def plan_of(peer: RowPeer, kind: str) -> Plan:
    """What is played for one of `NAMES`."""
    makers = {"get": peer.get_plan, "list": peer.list_plan, "insert": peer.insert_plan}
    return makers[kind]()


def _compare(setting: Setting, kind: str, mine: Plan, theirs: Plan | None) -> Measure:
    floor, aim = PROMISES[kind]
    ours, peer = rounds_of(setting, mine, theirs)
    return Measure(
        name=NAMES[kind],
        unit="/s",
        ours=tuple(sample.rate for sample in ours),
        peer_name="pocketbase" if theirs else "",
        peer=tuple(sample.rate for sample in peer),
        floor=floor,
        aim=aim,
        notes=latency_notes(ours, peer),
    )


def _against_floor(setting: Setting, ours: PylonServer) -> Measure:
    """Get one row against the same bytes from an app that knows them already."""
    plan = ours.get_plan()
    answer = check_plan(plan)
    floor = AsgiFloor(setting.fleet, answer, cores=setting.cores.server)
    empty = Plan(name="empty app", port=floor.port, requests=plan.requests)
    status, _, body = split_answer(send_raw(floor.port, plan.requests[0]))
    if (status, body) != (200, split_answer(answer)[2]):
        raise BenchError("the empty app does not send the bytes of our server")
    mine, theirs = rounds_of(setting, plan, empty)
    setting.fleet.stop(floor.child)
    return Measure(
        name="get one row, of an empty app",
        unit="/s",
        ours=tuple(sample.rate for sample in mine),
        peer_name=floor.name,
        peer=tuple(sample.rate for sample in theirs),
        floor=0.4,
        aim=0.6,
        notes=latency_notes(mine, theirs),
    )


def rounds_of(
    setting: Setting, mine: Plan, theirs: Plan | None, *, connections: int | None = None
) -> tuple[list[Sample], list[Sample]]:
    """Check and warm both plans, then alternate."""
    for plan in (mine, theirs):
        if plan is not None:
            check_plan(plan)
            play_plan(setting, plan, setting.warm_seconds, connections=connections)
    if theirs is None:
        return [
            play_plan(setting, mine, setting.seconds, connections=connections)
            for _ in range(setting.rounds)
        ], []

    def after_round(number: int, ours: Sample, peer: Sample) -> None:
        ratio = ours.rate / peer.rate
        say(f"{mine.name} round {number}: {ours.rate:.0f}/s, {peer.rate:.0f}/s, {ratio:.2f}x")

    return alternate(
        lambda: play_plan(setting, mine, setting.seconds, connections=connections),
        lambda: play_plan(setting, theirs, setting.seconds, connections=connections),
        rounds=setting.rounds,
        after_round=after_round,
    )


def latency_notes(ours: list[Sample], peer: list[Sample]) -> dict[str, float | int | str]:
    """Medians over the rounds of p50 and p99, in milliseconds."""
    notes: dict[str, float | int | str] = {}
    for name, samples in (("ours", ours), ("peer", peer)):
        if samples:
            notes[f"{name} p50 ms"] = spread([sample.p50_ms for sample in samples]).median
            notes[f"{name} p99 ms"] = spread([sample.p99_ms for sample in samples]).median
    return notes
