"""Lists under policies, a relation rule, sums and search over 100 000 rows; long queries; import.

Each read is compared with PocketBase, where it can say the same, and with hand-written SQL on the
same file; then come search under an owner rule and imports (`bench.data`). A plan of ours and of
its peers must find as many rows before it is played.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench import worlds
from bench.data import import_rows, owner_search
from bench.imports import import_lines, lines, row_id
from bench.load import (
    Plan,
    check_plan,
    felt,
    open_paced,
    play,
    request_bytes,
    send_raw,
    split_answer,
)
from bench.peers.floors import RawSql
from bench.peers.pocketbase_data import PocketBaseData
from bench.peers.pylon_server import PylonServer
from bench.processes import BenchError
from bench.ratio import Measure
from bench.suites.base import Setting, Suite, in_each_layout, say
from bench.suites.rest import latency_notes, rounds_of

WORLD_ROWS = 100_000
PLAN_WORDS = 64
GETS_PER_SECOND = 500
LONG_QUERIES_AT_ONCE = 2
SQL_FLOOR = 0.5
PEER_FLOOR = 2.0
LONG_FLOOR = 1 / 3

KINDS = {
    "indexed": "list 20 of 100 k, owner rule, indexed order",
    "sorted": "list 20 of 100 k, owner rule, order without index",
    "relation": "list 20 of 100 k, rule over a relation",
    "aggregate": "sums of 100 k by status, each caller another",
    "shared": "the same sums for all callers",
    "search": "search in 100 k texts",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Our server with the world in it, and the tokens of the callers."""

    server: PylonServer
    tokens: list[str]


def run(setting: Setting) -> list[Measure]:
    """All parts, or those that were asked for; a quick run leaves the large world out, and the
    rows that are free."""
    if setting.quick:
        setting = replace(setting, layouts=setting.layouts[:1])
    for part in setting.only:
        if part not in PARTS:
            raise BenchError(f"no part {part}; there are {', '.join(PARTS)}")
    asked = setting.only or [part for part in PARTS if part != "reads" or not setting.quick]
    measures = []
    for name, one in PARTS.items():
        if name in asked:
            say(f"data: {name}")
            measures += one(setting)
    return measures


def _reads(setting: Setting) -> list[Measure]:
    """Seed, compare kind by kind, then what long queries do to gets."""
    ours = _ours(setting)
    peer = PocketBaseData(cores=setting.cores.server, request_log=setting.peer_log)
    if setting.with_peer:
        peer.start(setting.fleet, setting.folder)
        say(f"seeding {peer.name}")
        peer.seed(WORLD_ROWS)

    def part(setting: Setting) -> list[Measure]:
        ours.server.move(setting.cores.server)
        if setting.with_peer:
            peer.move(setting.cores.server)
        measures = _kinds(setting, ours, peer)
        measures.append(_beside_long_queries(setting, ours))
        return measures

    measures = in_each_layout(setting, part)
    ours.server.halt()
    if setting.with_peer:
        peer.halt()
    return measures


PARTS: dict[str, Suite] = {
    "reads": _reads,
    "owner-search": owner_search.run,
    "import": import_rows.run,
}


def _kinds(setting: Setting, ours: Ours, peer: PocketBaseData) -> list[Measure]:
    raw = RawSql(setting.fleet, ours.server.database, cores=setting.cores.server)
    words = [worlds.word(number * 31 % worlds.WORDS) for number in range(PLAN_WORDS)]
    measures = []
    for kind, name in KINDS.items():
        plan = _plan(ours, kind, words)
        by_hand = _compare(setting, name, plan, _by_hand(raw, kind, words), RawSql.name, SQL_FLOOR)
        measures.append(by_hand)
        if setting.with_peer:
            theirs = peer.plan(kind, words)
            said = "pocketbase ~" if kind == "search" else "pocketbase"
            measures.append(_compare(setting, name, plan, theirs, said, PEER_FLOOR))
    setting.fleet.stop(raw.child)
    return measures


def rows_in(body: bytes) -> int:
    """How many rows an answer of any side has."""
    value = json.loads(body)
    if isinstance(value, dict):
        value = next(value[key] for key in ("rows", "hits", "items", "data") if key in value)
    return len(value)


def _ours(setting: Setting) -> Ours:
    server = PylonServer(
        cores=setting.cores.server, load_cores=setting.cores.load, app="data_app.py"
    )
    server.start(setting.fleet, setting.folder)
    say("importing the world")
    for part in _world():
        import_lines(server.port, server.admin_token, part)
    tokens = [server.mint(worlds.caller_id(number)) for number in range(worlds.CALLERS)]
    return Ours(server=server, tokens=tokens)


def _world() -> list[Iterator[bytes]]:
    members = ({"orgId": row_id(org), "userId": user} for org, user in worlds.members())
    tickets = (
        {"title": title, "orgId": row_id(org), "rank": rank}
        for org, title, rank in worlds.tickets(WORLD_ROWS)
    )
    return [
        lines("Org", worlds.orgs()),
        lines("Member", members),
        lines("Task", worlds.tasks(WORLD_ROWS)),
        lines("Ticket", tickets),
        lines("Sale", worlds.sales(WORLD_ROWS)),
        lines("Note", worlds.notes(WORLD_ROWS)),
    ]


def _plan(ours: Ours, kind: str, words: list[str]) -> Plan:
    asked: dict[str, tuple[str, list[dict[str, object]]]] = {
        "indexed": ("query/Task", [{"$order": {"rank": "desc"}, "$limit": 20}]),
        "sorted": ("query/Task", [{"$order": {"weight": "desc"}, "$limit": 20}]),
        "relation": ("query/Ticket", [{"$order": {"rank": "desc"}, "$limit": 20}]),
        "aggregate": ("aggregate/Sale", [_sums(least) for least in range(PLAN_WORDS)]),
        "shared": ("aggregate/Sale", [_sums(0)]),
        "search": ("search/Note", [{"query": word} for word in words]),
    }
    path, bodies = asked[kind]
    requests = [
        request_bytes(
            "POST", f"/api/{path}", headers=_bearer(token), body=json.dumps(body).encode()
        )
        for body in bodies
        for token in (ours.tokens if len(bodies) == 1 else ours.tokens[:1])
    ]
    return Plan(name=f"pylon {kind}", port=ours.server.port, requests=tuple(requests))


def _sums(least: int) -> dict[str, object]:
    """Nearly all rows; the least amount makes each of them a question of its own."""
    return {
        "where": {"amount": {"$gte": least}},
        "count": "*",
        "sum": ["amount"],
        "avg": ["amount"],
        "groupBy": ["status"],
    }


def _by_hand(raw: RawSql, kind: str, words: list[str]) -> Plan:
    callers = [worlds.caller_id(number) for number in range(worlds.CALLERS)]
    values: dict[str, list[str]] = {
        "search": [f"{word}*" for word in words],
        "aggregate": [str(least) for least in range(PLAN_WORDS)],
        "shared": ["0"],
    }
    path = "aggregate" if kind == "shared" else kind
    requests = tuple(
        request_bytes("POST", f"/{path}/{value}", body=b"{}") for value in values.get(kind, callers)
    )
    return Plan(name=f"by hand {kind}", port=raw.port, requests=requests)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _compare(
    setting: Setting, name: str, mine: Plan, theirs: Plan, peer_name: str, floor: float
) -> Measure:
    found = [rows_in(split_answer(check_plan(plan))[2]) for plan in (mine, theirs)]
    if found[0] != found[1] or not found[0]:
        raise BenchError(f"{name}: {found[0]} rows, but {found[1]} from {peer_name}")
    connections = min(_connections(setting, plan) for plan in (mine, theirs))
    ours, peer = rounds_of(setting, mine, theirs, connections=connections)
    return Measure(
        name=name,
        unit="/s",
        ours=tuple(sample.rate for sample in ours),
        peer_name=peer_name,
        peer=tuple(sample.rate for sample in peer),
        floor=floor,
        notes={"rows": found[0], "connections": connections, **latency_notes(ours, peer)},
    )


def _connections(setting: Setting, plan: Plan) -> int:
    """So many that each gets several answers in a run, warm-ups included."""
    began = time.monotonic()
    send_raw(plan.port, plan.requests[0])
    seconds = time.monotonic() - began
    return max(1, min(setting.connections, int(setting.warm_seconds / 4 / seconds)))


def _beside_long_queries(setting: Setting, ours: Ours) -> Measure:
    """Gets at a fixed rate, alone and with long queries running all the time."""
    alike = [{"text": {"$like": f"%{worlds.word(n)}%{worlds.word(n + 9)}%"}} for n in range(8)]
    body = json.dumps({"count": "*", "countDistinct": ["text"], "where": {"$or": alike}}).encode()
    headers = _bearer(ours.tokens[0])
    port = ours.server.port
    long = Plan(
        name="long",
        port=port,
        requests=(request_bytes("POST", "/api/aggregate/Note", headers=headers, body=body),),
    )
    check_plan(long)
    paths = [f"/api/entities/Sale/{row_id(n * 997 % WORLD_ROWS)}" for n in range(256)]
    gets = tuple(request_bytes("GET", path, headers=headers) for path in paths)
    get = Plan(name="gets", port=port, requests=gets)
    check_plan(get)
    caller = open_paced(setting.fleet, get, rate=GETS_PER_SECOND, cores=setting.cores.load)
    time.sleep(setting.warm_seconds)
    alone, beside, lengths = [], [], []
    for number in range(setting.rounds):
        caller.ask("mark")
        time.sleep(setting.seconds)
        alone.append(felt(caller).p99_ms)
        long_sample = play(
            setting.fleet,
            long,
            seconds=setting.seconds,
            cores=setting.cores.load,
            connections=LONG_QUERIES_AT_ONCE,
        )
        beside.append(felt(caller).p99_ms)
        lengths.append(long_sample.p50_ms)
        say(f"gets beside long queries round {number + 1}: {alone[-1]:.2f}, {beside[-1]:.2f} ms")
    setting.fleet.stop(caller)
    return Measure(
        name=f"p99 of gets beside {LONG_QUERIES_AT_ONCE} long queries",
        unit="ms",
        ours=tuple(beside),
        peer_name="alone",
        peer=tuple(alone),
        better="less",
        floor=LONG_FLOOR,
        notes={"gets/s": GETS_PER_SECOND, "a long query takes ms": max(lengths)},
    )
