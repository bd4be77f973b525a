"""Get, list and insert against PocketBase; get against apps that do nothing; one lone insert.

Each measure gives a row pinned and one free. Every server is started afresh for each of the two,
with equal rows, so that neither finds what the other has inserted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.disk import DiskFloor
from bench.load import Plan, check_plan
from bench.peers.base import RowPeer
from bench.peers.floors import AsgiFloor
from bench.peers.pocketbase import PocketBase
from bench.peers.pylon_server import PylonServer
from bench.ratio import Measure, Sample, alternate, in_turn, spread
from bench.suites.base import Setting, in_each_layout, play_plan, say

OURS = "pylon"
"""Our server among what is played in turn."""

NAMES = {
    "get": "get one row",
    "list": "list 20 by cursor",
    "insert": "insert (ours full sync, peer its default)",
}

Promise = tuple[float | None, float | None]
"""Floor and aim of a ratio."""

AGAINST_PEER: dict[str, Promise] = {"get": (1.3, 2.0), "list": (1.5, 3.0), "insert": (1.2, 2.0)}
AGAINST_UVICORN: Promise = (0.62, 0.7)
NO_PROMISE: Promise = (None, None)
LONE_FLOOR = 1 / 1.5
SYNC_SECONDS = 0.3


def run(setting: Setting) -> list[Measure]:
    """All rows, pinned and free."""
    return in_each_layout(setting, _measure)


def _measure(setting: Setting) -> list[Measure]:
    ours = PylonServer(cores=setting.cores.server, load_cores=setting.cores.load)
    peers: list[RowPeer] = [ours]
    if setting.with_peer:
        peers.append(PocketBase(cores=setting.cores.server, request_log=setting.peer_log))
    for each in peers:
        each.start(setting.fleet, setting.folder)
        say(f"seeding {setting.rows} rows into {each.name}")
        each.seed(setting.rows)
    theirs = peers[1] if setting.with_peer else None
    measures = _gets(setting, ours, theirs)
    for kind in ("list", "insert"):
        played = _play_in_turn(setting, _plans(kind, ours, theirs))
        measures += _compared(NAMES[kind], played, {"pocketbase": AGAINST_PEER[kind]})
        if kind == "insert":
            measures.append(user_time(f"{kind}, user time", played.samples, "pocketbase"))
    measures.append(_lone_insert(setting, ours))
    for each in peers:
        setting.fleet.stop(each.child)
    return measures


def plan_of(peer: RowPeer, kind: str) -> Plan:
    """What is played for one of `NAMES`."""
    makers = {"get": peer.get_plan, "list": peer.list_plan, "insert": peer.insert_plan}
    return makers[kind]()


def _plans(kind: str, ours: PylonServer, theirs: RowPeer | None) -> dict[str, Plan]:
    plans = {OURS: plan_of(ours, kind)}
    if theirs is not None:
        plans["pocketbase"] = plan_of(theirs, kind)
    return plans


def _gets(setting: Setting, ours: PylonServer, theirs: RowPeer | None) -> list[Measure]:
    """Get one row against PocketBase, the same bytes from apps that know them already, and the same
    by many callers."""
    plans = _plans("get", ours, theirs)
    answer = check_plan(plans[OURS])
    floors = [
        AsgiFloor(setting.fleet, answer, own_connection=own, cores=setting.cores.server)
        for own in (False, True)
    ]
    uvicorn, connection = floors
    for floor in floors:
        plans[floor.name] = floor.plan(plans[OURS].requests)
    callers = ours.callers_plan()
    plans["callers"] = callers
    played = _play_in_turn(setting, plans)
    for floor in floors:
        setting.fleet.stop(floor.child)
    against = {
        "pocketbase": AGAINST_PEER["get"],
        uvicorn.name: AGAINST_UVICORN,
        connection.name: NO_PROMISE,
    }
    name = f"{NAMES['get']}, {len(callers.requests)} callers in turn"
    return [
        *_compared(NAMES["get"], played, against),
        user_time("get, user time", played.samples, connection.name),
        *_compared(name, played, {OURS: NO_PROMISE}, ours="callers"),
    ]


def _lone_insert(setting: Setting, ours: PylonServer) -> Measure:
    """One connection that waits for each answer: what an insert costs beyond a get and the disk."""
    insert, get = ours.insert_plan(), ours.get_plan()
    disk = DiskFloor(setting.fleet, setting.folder, cores=setting.cores.server)

    def milliseconds(plan: Plan) -> float:
        return 1000 / play_plan(setting, plan, setting.seconds, connections=1).rate

    def after_round(number: int, last: dict[str, float]) -> None:
        told = ", ".join(f"{name} {value:.3f} ms" for name, value in last.items())
        say(f"one connection, round {number}: {told}")

    found = in_turn(
        {
            "insert": lambda: milliseconds(insert),
            "get": lambda: milliseconds(get),
            "fdatasync": lambda: disk.milliseconds(min(SYNC_SECONDS, setting.seconds)),
        },
        rounds=setting.rounds,
        after_round=after_round,
    )
    setting.fleet.stop(disk.child)
    return Measure(
        name="lone insert, one connection",
        unit="ms",
        ours=tuple(found["insert"]),
        peer_name="lone get and one fdatasync",
        peer=tuple(map(sum, zip(found["get"], found["fdatasync"], strict=True))),
        better="less",
        floor=LONE_FLOOR,
        notes={f"{name} ms": spread(found[name]).median for name in ("get", "fdatasync")},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The rounds of what was played, and the size of an answer with its head, each by name."""

    samples: dict[str, list[Sample]]
    answer_bytes: dict[str, int]


def _play_in_turn(setting: Setting, plans: Mapping[str, Plan]) -> Played:
    """Check and warm all plans, then play them in turn."""
    answer_bytes = {name: len(check_plan(plan)) for name, plan in plans.items()}
    for plan in plans.values():
        play_plan(setting, plan, setting.warm_seconds)

    def player(plan: Plan) -> Callable[[], Sample]:
        return lambda: play_plan(setting, plan, setting.seconds)

    def after_round(number: int, last: dict[str, Sample]) -> None:
        told = ", ".join(f"{name} {sample.rate:.0f}/s" for name, sample in last.items())
        say(f"{plans[OURS].name} round {number}: {told}")

    samples = in_turn(
        {name: player(plan) for name, plan in plans.items()},
        rounds=setting.rounds,
        after_round=after_round,
    )
    return Played(samples=samples, answer_bytes=answer_bytes)


def _compared(
    name: str, played: Played, against: Mapping[str, Promise], *, ours: str = OURS
) -> list[Measure]:
    """A measure for each peer that was played; one without a peer where none was."""
    mine = played.samples[ours]
    there = {peer: promise for peer, promise in against.items() if peer in played.samples}
    measures = []
    for peer, promise in (there or {"": NO_PROMISE}).items():
        theirs = played.samples.get(peer, [])
        notes = latency_notes(mine, theirs)
        notes["ours bytes"] = played.answer_bytes[ours]
        if theirs:
            notes["peer bytes"] = played.answer_bytes[peer]
        measures.append(
            Measure(
                name=name,
                unit="/s",
                ours=tuple(sample.rate for sample in mine),
                peer_name="one caller" if peer == OURS else peer,
                peer=tuple(sample.rate for sample in theirs),
                floor=promise[0],
                aim=promise[1],
                notes=notes,
            )
        )
    return measures


def user_time(
    name: str, samples: Mapping[str, Sequence[Sample]], peer: str, *, ours: str = OURS
) -> Measure:
    """The servers' own processor time for an answer, without the kernel's; steadier than a rate
    where other work disturbs the clock."""
    theirs = samples.get(peer, ())
    return Measure(
        name=name,
        unit="us",
        ours=tuple(sample.user_us for sample in samples[ours]),
        peer_name=peer if theirs else "",
        peer=tuple(sample.user_us for sample in theirs),
        better="less",
    )


def rounds_of(
    setting: Setting, mine: Plan, theirs: Plan, *, connections: int | None = None
) -> tuple[list[Sample], list[Sample]]:
    """Check and warm both plans, then alternate."""
    for plan in (mine, theirs):
        check_plan(plan)
        play_plan(setting, plan, setting.warm_seconds, connections=connections)

    def after_round(number: int, ours: Sample, peer: Sample) -> None:
        ratio = ours.rate / peer.rate
        say(f"{mine.name} round {number}: {ours.rate:.0f}/s, {peer.rate:.0f}/s, {ratio:.2f}x")

    return alternate(
        lambda: play_plan(setting, mine, setting.seconds, connections=connections),
        lambda: play_plan(setting, theirs, setting.seconds, connections=connections),
        rounds=setting.rounds,
        after_round=after_round,
    )


def latency_notes(ours: Sequence[Sample], peer: Sequence[Sample]) -> dict[str, float | int | str]:
    """Medians over the rounds of p50 and p99, in milliseconds, and of the user time, if known."""
    notes: dict[str, float | int | str] = {}
    for name, samples in (("ours", ours), ("peer", peer)):
        if samples:
            notes[f"{name} p50 ms"] = spread([sample.p50_ms for sample in samples]).median
            notes[f"{name} p99 ms"] = spread([sample.p99_ms for sample in samples]).median
            if all(sample.user_us for sample in samples):
                notes[f"{name} user us"] = spread([sample.user_us for sample in samples]).median
    return notes
