"""How get, list and pull change as the table grows: 10 k, 100 k, 1 M rows (ours only).

One server for each size, all up at once and played in turn, so that each size is compared with the
smallest in the same round: a ratio of 1 means that the size does not matter. Seeding goes over HTTP
and takes a few minutes for a million rows.
"""

from __future__ import annotations

from functools import partial

from bench.load import Plan, check_plan
from bench.peers.pylon_server import PylonServer
from bench.processes import call
from bench.ratio import Measure, Sample, in_turn
from bench.suites.base import Setting, in_each_layout, play_plan, say
from bench.suites.rest import latency_notes

STEPS = 3
FACTOR = 10
PULL_BACK = 100
"""A client that was away for this many changes."""


def run(setting: Setting) -> list[Measure]:
    """Seed each size, then play every kind of plan size by size, pinned and free."""
    sizes = [setting.rows * FACTOR**step for step in range(STEPS)]
    servers = {rows: _seeded(setting, rows) for rows in sizes}

    def part(setting: Setting) -> list[Measure]:
        for server in servers.values():
            server.move(setting.cores.server)
        return _played(setting, {rows: _plans(server) for rows, server in servers.items()})

    return in_each_layout(setting, part)


def _played(setting: Setting, plans: dict[int, dict[str, Plan]]) -> list[Measure]:
    smallest = min(plans)
    measures: list[Measure] = []
    for name in plans[smallest]:
        runs = {}
        for rows, plan in ((rows, plans[rows][name]) for rows in plans):
            check_plan(plan)
            play_plan(setting, plan, setting.warm_seconds)
            runs[str(rows)] = partial(play_plan, setting, plan, setting.seconds)
        samples = in_turn(runs, rounds=setting.rounds)
        say(f"{name}: " + ", ".join(f"{samples[str(rows)][-1].rate:.0f}/s" for rows in plans))
        measures += [
            _measure(name, rows, samples[str(rows)], samples[str(smallest)]) for rows in plans
        ]
    return measures


def _seeded(setting: Setting, rows: int) -> PylonServer:
    server = PylonServer(cores=setting.cores.server, load_cores=setting.cores.load)
    folder = setting.folder / f"rows-{rows}"
    folder.mkdir()
    server.start(setting.fleet, folder)
    say(f"seeding {rows} rows")
    server.seed(rows)
    return server


def _plans(server: PylonServer) -> dict[str, Plan]:
    last = _last_seq(server)
    return {
        "get": server.get_plan(),
        "list": server.list_plan(),
        f"pull of the last {PULL_BACK}": server.pull_plan([last - PULL_BACK]),
        "pull, first page": server.pull_plan([0]),
        "pull, middle page": server.pull_plan([last // 2]),
    }


def _last_seq(server: PylonServer) -> int:
    """The newest seq, found by halving."""
    low, high = 0, 1
    while _is_known(server, high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _is_known(server, middle) else (low, middle)
    return low


def _is_known(server: PylonServer, seq: int) -> bool:
    """Whether a change with this seq or a later one exists."""
    path = f"/api/sync/pull?since={seq - 1}"
    status, page, _ = call(server.port, "GET", path, token=server.token)
    # A cursor from the future is answered 410.
    return status == 200 and bool(page["changes"])


def _measure(name: str, rows: int, samples: list[Sample], smallest: list[Sample]) -> Measure:
    is_first = samples is smallest
    return Measure(
        name=f"{name}, {rows} rows",
        unit="/s",
        ours=tuple(sample.rate for sample in samples),
        peer_name="" if is_first else "smallest",
        peer=() if is_first else tuple(sample.rate for sample in smallest),
        notes=latency_notes(samples, []),
    )
