"""A fresh client pulls every row: rows a second against a bare loop, and the server's memory."""

from __future__ import annotations

import sys
from typing import Any

from bench.imports import import_lines, lines
from bench.peers.base import title_of
from bench.peers.pylon_server import OWNER
from bench.processes import BenchError, Child, forget_peak, memory_kibibytes
from bench.ratio import Measure, alternate
from bench.sides import fresh_server
from bench.suites.base import Setting, say

FLOOR = 0.5
PEERS = {"rows": "SELECT and JSON in a loop", "events": "the same, of the log's events"}
"""What a line makes `table_floor` read."""


def run(setting: Setting) -> list[Measure]:
    """Both sides read the same file; the client has the load's core, as any client would."""
    server = fresh_server(setting, "full-pull")
    say(f"importing {setting.rows} rows")
    rows = (
        {"title": title_of(number), "done": False, "ownerId": OWNER}
        for number in range(setting.rows)
    )
    import_lines(server.port, server.admin_token, lines("Item", rows))
    client = setting.fleet.spawn(
        "puller",
        [
            *(sys.executable, "-m", "bench.puller"),
            *("--port", str(server.port), "--token", server.token),
        ],
        cores=setting.cores.load,
        pipes=True,
    )
    loop = setting.fleet.spawn(
        "table-floor",
        [
            *(sys.executable, "-m", "bench.peers.table_floor"),
            *("--database", str(server.database)),
        ],
        cores=setting.cores.server,
        pipes=True,
    )
    pid = server.child.pid
    before = memory_kibibytes(pid, key="RssAnon")
    forget_peak(pid)
    speeds = [compare(setting, client, loop, order) for order in PEERS]
    peak = memory_kibibytes(pid, key="VmHWM")
    after = memory_kibibytes(pid, key="RssAnon")
    # Mapped pages of the file, which the system takes back when it needs them, only gather here.
    highest = peak - memory_kibibytes(pid, key="RssFile")
    for child in (client, loop):
        setting.fleet.stop(child)
    server.halt()
    memory = Measure(
        name="most memory beyond idle over full pulls, without the mapped file",
        unit="MiB",
        ours=((highest - before) / 1024,),
        notes={
            "pulls": len(PEERS) * (setting.rounds + 1),
            "peak with the file MiB": peak / 1024,
            "anonymous before MiB": before / 1024,
            "anonymous after MiB": after / 1024,
            "file MiB": server.database.stat().st_size / 2**20,
        },
    )
    return [*speeds, memory]


def compare(setting: Setting, client: Child, loop: Child, order: str) -> Measure:
    """Whole pulls against the loop that makes this of the same rows, in turn."""
    read(setting, client, order)
    read(setting, loop, order)

    def after_round(number: int, mine: dict[str, Any], theirs: dict[str, Any]) -> None:
        ratio = theirs["seconds"] / mine["seconds"]
        say(f"full pull round {number}: {rate(mine):.0f}, {rate(theirs):.0f} rows/s, {ratio:.2f}x")

    mine, theirs = alternate(
        lambda: read(setting, client, order),
        lambda: read(setting, loop, order),
        rounds=setting.rounds,
        after_round=after_round,
    )
    return Measure(
        name=f"full pull of {setting.rows} rows",
        unit="rows/s",
        ours=tuple(map(rate, mine)),
        peer_name=PEERS[order],
        peer=tuple(map(rate, theirs)),
        floor=FLOOR,
        notes={
            "pages": mine[0]["pages"],
            "bytes a row": mine[0]["bytes"] / mine[0]["rows"],
            "peer bytes a row": theirs[0]["bytes"] / theirs[0]["rows"],
        },
    )


def read(setting: Setting, child: Child, order: str) -> dict[str, Any]:
    """One whole pass; it counts only if it has every row."""
    found: dict[str, Any] = child.ask(order)
    if found["rows"] != setting.rows:
        raise BenchError(f"{child.name} has {found['rows']} of {setting.rows} rows")
    return found


def rate(found: dict[str, Any]) -> float:
    """Rows a second."""
    return float(found["rows"] / found["seconds"])
