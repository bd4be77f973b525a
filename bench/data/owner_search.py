"""Search under an owner rule, in a big table against a small one where a caller owns as many rows.

The word stands in every row of everybody, so a search that looks at all hits before it looks at the
rule pays for the whole table. Both servers are ours; 1 means that others' rows cost nothing.
"""

from __future__ import annotations

import json

from bench import worlds
from bench.imports import import_lines, lines
from bench.load import Plan, check_plan, request_bytes, split_answer
from bench.peers.pylon_server import PylonServer
from bench.processes import BenchError
from bench.ratio import Measure
from bench.suites.base import Setting, in_each_layout, say
from bench.suites.rest import latency_notes, rounds_of

SIZES, SIZES_QUICK = (10_000, 300_000), (5_000, 30_000)
FLOOR = 0.8
CONNECTIONS = 4
"""One search of a whole table may take a tenth of a second."""


def run(setting: Setting) -> list[Measure]:
    """Seed both once; they start again for each layout."""
    small, big = SIZES_QUICK if setting.quick else SIZES
    servers = {rows: _seeded(setting, rows) for rows in (small, big)}

    def part(setting: Setting) -> list[Measure]:
        plans = {}
        for rows, server in servers.items():
            server.move(setting.cores.server)
            plans[rows] = _plan(server, rows)
        mine, theirs = rounds_of(setting, plans[big], plans[small], connections=CONNECTIONS)
        return [
            Measure(
                name=f"search under an owner rule, {worlds.MEMOS_EACH} own rows of {big}",
                unit="/s",
                ours=tuple(sample.rate for sample in mine),
                peer_name=f"of {small}",
                peer=tuple(sample.rate for sample in theirs),
                floor=FLOOR,
                notes=latency_notes(mine, theirs),
            )
        ]

    measures = in_each_layout(setting, part)
    for server in servers.values():
        server.halt()
    return measures


def _seeded(setting: Setting, rows: int) -> PylonServer:
    server = PylonServer(
        cores=setting.cores.server, load_cores=setting.cores.load, app="data_app.py"
    )
    folder = setting.folder / f"memos-{rows}"
    folder.mkdir()
    server.start(setting.fleet, folder)
    say(f"importing {rows} searchable rows")
    import_lines(server.port, server.admin_token, lines("Memo", worlds.memos(rows)))
    return server


def _plan(server: PylonServer, rows: int) -> Plan:
    body = json.dumps({"query": worlds.COMMON}).encode()
    requests = []
    for number in range(worlds.CALLERS):
        headers = {"Authorization": f"Bearer {server.mint(worlds.caller_id(number))}"}
        requests.append(request_bytes("POST", "/api/search/Memo", headers=headers, body=body))
    plan = Plan(
        name=f"search in {rows}",
        port=server.port,
        requests=tuple(requests),
        pid=server.child.pid,
    )
    found = json.loads(split_answer(check_plan(plan))[2])["total"]
    if found != worlds.MEMOS_EACH:
        raise BenchError(f"{plan.name}: {found} rows, a caller owns {worlds.MEMOS_EACH}")
    return plan
