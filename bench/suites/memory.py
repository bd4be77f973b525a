"""Resident memory: idle after start, after load, and for each idle socket."""

from __future__ import annotations

import time

from bench.load import check_plan, play
from bench.peers.pocketbase import PocketBase
from bench.peers.pylon_server import PylonServer
from bench.processes import memory_kibibytes
from bench.ratio import Measure
from bench.sides import open_readers
from bench.suites.base import Setting, say

SETTLE_SECONDS = 2.0


def run(setting: Setting) -> list[Measure]:
    """One pass: memory does not vary from round to round as speed does."""
    server = PylonServer(cores=setting.cores.server, load_cores=setting.cores.load)
    server.start(setting.fleet, setting.folder)
    tokens = [server.mint(f"reader_{number}") for number in range(setting.readers)]
    ours = _measure(setting, server, tokens, [])
    peer: list[float] = []
    if setting.with_peer:
        rival = PocketBase(cores=setting.cores.server, request_log=setting.peer_log)
        rival.start(setting.fleet, setting.folder)
        peer = _measure(setting, rival, [rival.token], ["--sse-topic", "posts/*"])
    names: tuple[tuple[str, str, dict[str, float | int | str]], ...] = (
        ("memory idle after start", "MiB", {}),
        (
            f"memory for each of {setting.readers} idle sockets",
            "KiB",
            {"aim": "under 20 kB beyond the kernel's"},
        ),
        (f"memory after seeding {setting.rows} rows and reading them", "MiB", {}),
    )
    return [
        Measure(
            name=name,
            unit=unit,
            ours=(ours[place],),
            peer_name="pocketbase" if peer else "",
            peer=(peer[place],) if peer else (),
            better="less",
            notes=notes,
        )
        for place, (name, unit, notes) in enumerate(names)
    ]


def _measure(
    setting: Setting, server: PylonServer | PocketBase, tokens: list[str], more: list[str]
) -> list[float]:
    time.sleep(SETTLE_SECONDS)
    idle = memory_kibibytes(server.child.pid)
    readers = open_readers(setting, server.port, tokens, more=more)
    time.sleep(SETTLE_SECONDS)
    with_sockets = memory_kibibytes(server.child.pid)
    setting.fleet.stop(readers)
    server.seed(setting.rows)
    plan = server.get_plan()
    check_plan(plan)
    play(setting.fleet, plan, seconds=setting.seconds, cores=setting.cores.load)
    after = memory_kibibytes(server.child.pid)
    say(f"{server.name}: idle {idle} KiB, with sockets {with_sockets} KiB, after load {after} KiB")
    return [idle / 1024, max(0.0, with_sockets - idle) / setting.readers, after / 1024]
