"""From starting a process to its first answer, with rows in the database; and small commands.

Pages of all programs are warm (the first start of each is not counted), bytecode is compiled, and
each side ends gracefully before it is started again. Wall-clock time, started on the server's core.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

from bench.peers.pocketbase import PocketBase
from bench.peers.pylon_server import PylonServer
from bench.processes import REPOSITORY, BenchError, memory_kibibytes, wait_answer
from bench.ratio import Measure, in_turn
from bench.suites.base import Setting, say

FLOOR = 1 / 12
"""Of PocketBase, which is compiled."""

COMMAND_FLOOR = 3.0
"""A command that serves nothing takes at most a third of a start."""

COMMANDS = {
    "pylon --help": ["--help"],
    "pylon policy check": ["policy", "check", str(REPOSITORY / "bench" / "app.py")],
}
COMMAND_SECONDS_MAX = 30.0


def run(setting: Setting) -> list[Measure]:
    """Seed once, then stop and start each in turn."""
    ours = PylonServer(cores=setting.cores.server, load_cores=setting.cores.load)
    ours.start(setting.fleet, setting.folder)
    ours.seed(setting.rows)
    ours.halt()
    runs: dict[str, Callable[[], float]] = {"ours": lambda: _start(ours, "/health")}
    peer = PocketBase(cores=setting.cores.server, request_log=setting.peer_log)
    if setting.with_peer:
        peer.start(setting.fleet, setting.folder)
        peer.seed(setting.rows)
        peer.halt()
        runs["pocketbase"] = lambda: _start(peer, "/api/health")
    for name in COMMANDS:
        runs[name] = partial(_command, setting, name)

    def after_round(number: int, last: dict[str, float]) -> None:
        told = ", ".join(f"{name} {value:.0f} ms" for name, value in last.items())
        say(f"start round {number}: {told}")

    for one in runs.values():
        one()
    found = in_turn(runs, rounds=setting.rounds, after_round=after_round)
    started = tuple(found["ours"])
    return [
        Measure(
            name=f"start to first answer, {setting.rows} rows",
            unit="ms",
            ours=started,
            peer_name="pocketbase" if setting.with_peer else "",
            peer=tuple(found.get("pocketbase", ())),
            better="less",
            floor=FLOOR,
        ),
        *(
            Measure(
                name=name,
                unit="ms",
                ours=tuple(found[name]),
                peer_name="our start",
                peer=started,
                better="less",
                floor=COMMAND_FLOOR,
            )
            for name in COMMANDS
        ),
    ]


def _start(server: PylonServer | PocketBase, path: str) -> float:
    server.launch()
    seconds = wait_answer(server.child, server.port, path)
    say(f"  {server.name}: {memory_kibibytes(server.child.pid) / 1024:.0f} MiB")
    server.halt()
    return seconds * 1000


def _command(setting: Setting, name: str) -> float:
    """Milliseconds from the fork to the exit, which must be a success."""
    child = setting.fleet.spawn(
        name.replace(" ", "-"),
        [sys.executable, "-m", "pylon", *COMMANDS[name]],
        cores=setting.cores.server,
    )
    code = child.process.wait(COMMAND_SECONDS_MAX)
    seconds = time.perf_counter() - child.began
    if code:
        raise BenchError(f"{name} ended with {code}:\n{child.last_words()}")
    setting.fleet.stop(child)
    return seconds * 1000
