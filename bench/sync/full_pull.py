"""A fresh client pulls every row: rows a second against a bare loop, and the server's memory."""

from __future__ import annotations

import sys
from typing import Any

from bench.imports import import_lines, lines
from bench.peers.base import title_of
from bench.peers.pylon_server import OWNER
from bench.processes import BenchError, Child, forget_peak, memory_kibibytes
from bench.ratio import Measure, alternate
from bench.suites.base import Setting, say
from bench.suites.live import fresh_server

FLOOR = 0.5


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
    whole_before = memory_kibibytes(pid)
    for child in (client, loop):
        read(setting, child)

    def after_round(number: int, mine: dict[str, Any], theirs: dict[str, Any]) -> None:
        ratio = theirs["seconds"] / mine["seconds"]
        say(f"full pull round {number}: {rate(mine):.0f}, {rate(theirs):.0f} rows/s, {ratio:.2f}x")

    mine, theirs = alternate(
        lambda: read(setting, client),
        lambda: read(setting, loop),
        rounds=setting.rounds,
        after_round=after_round,
    )
    peak = memory_kibibytes(pid, key="VmHWM")
    after = memory_kibibytes(pid, key="RssAnon")
    for child in (client, loop):
        setting.fleet.stop(child)
    server.halt()
    speed = Measure(
        name=f"full pull of {setting.rows} rows",
        unit="rows/s",
        ours=tuple(map(rate, mine)),
        peer_name="SELECT and JSON in a loop",
        peer=tuple(map(rate, theirs)),
        floor=FLOOR,
        notes={
            "pages": mine[0]["pages"],
            "bytes a row": mine[0]["bytes"] / mine[0]["rows"],
            "peer bytes a row": theirs[0]["bytes"] / theirs[0]["rows"],
        },
    )
    memory = Measure(
        name=f"growth of memory over {setting.rounds + 1} full pulls",
        unit="MiB",
        ours=((peak - whole_before) / 1024,),
        notes={
            "resident before MiB": whole_before / 1024,
            "peak MiB": peak / 1024,
            "anonymous before MiB": before / 1024,
            "anonymous after MiB": after / 1024,
            "file MiB": server.database.stat().st_size / 2**20,
        },
    )
    return [speed, memory]


def read(setting: Setting, child: Child) -> dict[str, Any]:
    """One whole pass; it counts only if it has every row."""
    found: dict[str, Any] = child.ask("all")
    if found["rows"] != setting.rows:
        raise BenchError(f"{child.name} has {found['rows']} of {setting.rows} rows")
    return found


def rate(found: dict[str, Any]) -> float:
    """Rows a second."""
    return float(found["rows"] / found["seconds"])
