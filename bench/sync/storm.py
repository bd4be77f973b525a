"""Everybody comes back at once after a restart, and what a REST caller feels meanwhile.

Harsher than life: real clients spread their return over a second and more. Each has missed a few
rows, pulls from its cursor to the end and opens its socket there. Afterwards one row is written,
and everybody must see it.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from bench.imports import import_lines, lines, row_id
from bench.load import Plan, check_plan, felt, open_paced, request_bytes
from bench.peers.base import title_of
from bench.peers.pylon_server import PylonServer
from bench.processes import BenchError, Child, expect, wait_answer
from bench.ratio import Measure
from bench.sides import fresh_server
from bench.suites.base import Setting, say

ROWS = 200
MISSED = 100
GETS_PER_SECOND = 500
FLOOR = 1 / 3
SETTLE_SECONDS_MAX = 15.0
SETTLE_STEP_SECONDS = 0.1


def run(setting: Setting) -> list[Measure]:
    """Each round is a restart of the same server with the same clients."""
    server = fresh_server(setting, "storm")
    write_rows(server, 0, ROWS)
    clients = open_clients(setting, server)
    say(f"{setting.readers} clients join")
    clients.ask("join")
    found: list[dict[str, Any]] = []
    alone: list[float] = []
    beside: list[float] = []
    for number in range(setting.rounds):
        clients.ask("leave")
        write_rows(server, ROWS + number * (MISSED + 1), MISSED)
        server.halt()
        server.launch()
        wait_answer(server.child, server.port, "/health")
        caller = open_paced(
            setting.fleet, gets(server), rate=GETS_PER_SECOND, cores=setting.cores.load
        )
        time.sleep(setting.warm_seconds)
        felt(caller)
        time.sleep(setting.seconds)
        alone.append(felt(caller).p99_ms)
        back = clients.ask("return")
        beside.append(felt(caller).p99_ms)
        setting.fleet.stop(caller)
        check(setting, server, clients, back, ROWS + number * (MISSED + 1) + MISSED)
        found.append(back)
        say(
            f"return round {number + 1}: {back['seconds']:.2f} s, "
            f"gets p99 {alone[-1]:.2f} alone, {beside[-1]:.2f} ms meanwhile"
        )
    setting.fleet.stop(clients)
    server.halt()
    name = f"{setting.readers} clients return after a restart"
    return [
        Measure(
            name=f"{name}, all caught up",
            unit="s",
            ours=tuple(back["seconds"] for back in found),
            notes={
                "rows missed by each": MISSED,
                "half of them ms": found[0]["p50_ms"],
                "clients busy": max(back["busy"] for back in found),
            },
        ),
        Measure(
            name=f"{name}, p99 of gets meanwhile",
            unit="ms",
            ours=tuple(beside),
            peer_name="alone",
            peer=tuple(alone),
            better="less",
            floor=FLOOR,
            notes={"gets/s": GETS_PER_SECOND},
        ),
    ]


def open_clients(setting: Setting, server: PylonServer) -> Child:
    """A process with a client of each user, none connected yet."""
    file = setting.folder / "storm-tokens.txt"
    tokens = [server.mint(f"reader_{number}") for number in range(setting.readers)]
    file.write_text("\n".join(tokens))
    return setting.fleet.spawn(
        "returners",
        [
            *(sys.executable, "-m", "bench.returners", "--port", str(server.port)),
            *("--count", str(setting.readers), "--tokens", str(file)),
        ],
        cores=setting.cores.load,
        pipes=True,
    )


def write_rows(server: PylonServer, first: int, count: int) -> None:
    """Rows that everybody may see."""
    rows = ({"title": title_of(number)} for number in range(first, first + count))
    import_lines(server.port, server.admin_token, lines("Post", rows, first=first))


def gets(server: PylonServer) -> Plan:
    """Gets of the oldest rows."""
    headers = {"Authorization": f"Bearer {server.token}"}
    paths = [f"/api/entities/Post/{row_id(number)}" for number in range(ROWS)]
    requests = tuple(request_bytes("GET", path, headers=headers) for path in paths)
    plan = Plan(name="gets", port=server.port, requests=requests)
    check_plan(plan)
    return plan


def check(
    setting: Setting, server: PylonServer, clients: Child, back: dict[str, Any], number: int
) -> None:
    """All are open, have pulled just what they missed, and hear of the next row."""
    if back["open"] != setting.readers or back["pulled"] != MISSED * setting.readers:
        raise BenchError(f"of {setting.readers} clients came back: {back}")
    body = {"id": row_id(number), "title": title_of(number)}
    expect(server.port, "POST", "/api/entities/Post", body=body, token=server.token)
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while (heard := clients.ask("count")) and heard["least"] < 1:
        if time.monotonic() > deadline:
            raise BenchError(f"not everybody hears of a new row: {heard}")
        time.sleep(SETTLE_STEP_SECONDS)
