"""How get, list and pull change as the table grows: 10 k, 100 k, 1 M rows (ours only).

Each size is compared with the smallest: a ratio of 1 means that the size does not matter. Seeding
goes over HTTP and takes a minute or two for a million rows.
"""

from __future__ import annotations

from bench.load import Plan, check_plan, play
from bench.peers.pylon_server import PylonServer
from bench.processes import expect
from bench.ratio import Measure, Sample
from bench.suites.base import Setting, say
from bench.suites.rest import latency_notes

STEPS = 3
FACTOR = 10
PULL_BACK = 100
"""A client that was away for this many changes."""


def run(setting: Setting) -> list[Measure]:
    """Grow tenfold twice; at each size play every plan `rounds` times."""
    server = PylonServer(cores=setting.cores.server, load_cores=setting.cores.load)
    server.start(setting.fleet, setting.folder)
    found: dict[str, dict[int, list[Sample]]] = {}
    for step in range(STEPS):
        rows = setting.rows * FACTOR**step
        say(f"growing to {rows} rows")
        server.seed(rows)
        for name, plan in _plans(server, rows).items():
            check_plan(plan)
            samples = [
                play(setting.fleet, plan, seconds=setting.seconds, cores=setting.cores.load)
                for _ in range(setting.rounds)
            ]
            found.setdefault(name, {})[rows] = samples
            say(f"  {name}: {samples[0].rate:.0f}/s, p99 {samples[0].p99_ms:.1f} ms")
    return [
        _measure(name, rows, samples, sizes[setting.rows])
        for name, sizes in found.items()
        for rows, samples in sizes.items()
    ]


def _plans(server: PylonServer, rows: int) -> dict[str, Plan]:
    last = _last_seq(server)
    return {
        "get": server.get_plan(),
        "list": server.list_plan(),
        f"pull of the last {PULL_BACK}": server.pull_plan([last - PULL_BACK]),
        "pull, first page": server.pull_plan([0]),
        "pull, middle page": server.pull_plan([last // 2]),
    }


def _last_seq(server: PylonServer) -> int:
    """The newest seq: found by halving, since only an empty page has nothing after it."""
    low, high = 0, 1
    while _is_known(server, high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _is_known(server, middle) else (low, middle)
    return low


def _is_known(server: PylonServer, seq: int) -> bool:
    """Whether a change with this seq or a later one exists."""
    page = expect(server.port, "GET", f"/api/sync/pull?since={seq - 1}", token=server.token)
    return bool(page["changes"])


def _measure(name: str, rows: int, samples: list[Sample], first: list[Sample]) -> Measure:
    return Measure(
        name=f"{name}, {rows} rows",
        unit="/s",
        ours=tuple(sample.rate for sample in samples),
        peer_name="smallest",
        peer=tuple(sample.rate for sample in first),
        notes=latency_notes(samples, []),
    )
