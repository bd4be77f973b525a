"""From starting the process to its first answered request, with rows in the database."""

from __future__ import annotations

from bench.peers.pocketbase import PocketBase
from bench.peers.pylon_server import PylonServer
from bench.processes import memory_kibibytes, wait_answer
from bench.ratio import Measure, alternate
from bench.suites.base import Setting, say


def run(setting: Setting) -> list[Measure]:
    """Seed once, then stop and start each side in turn."""
    ours = PylonServer(cores=setting.cores.server, load_cores=setting.cores.load)
    ours.start(setting.fleet, setting.folder)
    ours.seed(setting.rows)
    peer = PocketBase(cores=setting.cores.server, request_log=setting.peer_log)
    if setting.with_peer:
        peer.start(setting.fleet, setting.folder)
        peer.seed(setting.rows)
        peer.halt()
    ours.halt()

    def after_round(number: int, mine: float, theirs: float) -> None:
        say(f"start round {number}: {mine:.0f} ms, {theirs:.0f} ms")

    mine, theirs = alternate(
        lambda: _start(ours, "/health"),
        lambda: _start(peer, "/api/health") if setting.with_peer else 0.0,
        rounds=setting.rounds,
        after_round=after_round,
    )
    compared = Measure(
        name=f"start to first answer, {setting.rows} rows",
        unit="ms",
        ours=tuple(mine),
        peer_name="pocketbase" if setting.with_peer else "",
        peer=tuple(theirs) if setting.with_peer else (),
        better="less",
        notes={"aim": "under 400 ms"},
    )
    return [compared]


def _start(server: PylonServer | PocketBase, path: str) -> float:
    server.launch()
    seconds = wait_answer(server.child, server.port, path)
    say(f"  {server.name}: {memory_kibibytes(server.child.pid) / 1024:.0f} MiB")
    server.halt()
    return seconds * 1000
