"""A tenth of the readers stop reading: what the others feel, and that those are closed.

In each round the readers first all read; then some stop, big rows fill their sockets until the
server has to keep bytes for them, and the rest is measured again at the same pace.
"""

from __future__ import annotations

import json
import time

from bench.live_rounds import WRITES_PER_SECOND, LiveSample, paced
from bench.load import request_bytes, send_raw
from bench.peers.pylon_server import PylonServer
from bench.processes import BenchError, expect
from bench.ratio import Measure
from bench.sides import Side, close, fresh_server, open_readers, post_request
from bench.suites.base import Setting, say

STALL_EVERY = 10
FLOOR = 0.8
FILL_CHARACTERS = 16_384
FILL_WRITES_MAX = 500
CLOSED_SECONDS_MAX = 120.0
LOOK_SECONDS = 0.25
SETTLED_SECONDS = 3.0


def run(setting: Setting) -> list[Measure]:
    """Rounds with and without in turn, on the same sockets; then wait for the closing."""
    server = fresh_server(setting, "stalled")
    tokens = [server.mint(f"reader_{number}") for number in range(setting.readers)]
    readers = open_readers(setting, server.port, tokens, more=["--stall-every", str(STALL_EVERY)])
    side = Side(
        name="pylon",
        server=server.child,
        port=server.port,
        readers=readers,
        write=post_request("/api/entities/Post", {"Authorization": f"Bearer {server.token}"}),
    )
    stalled = setting.readers // STALL_EVERY
    paced(setting, side, setting.warm_seconds)
    without: list[LiveSample] = []
    beside: list[LiveSample] = []
    filled = 0
    for number in range(setting.rounds):
        without.append(paced(setting, side, setting.seconds))
        readers.ask("stall")
        filled = fill(server, stalled)
        settle(side)
        beside.append(paced(setting, side, setting.seconds, readers=setting.readers - stalled))
        if number < setting.rounds - 1:
            readers.ask("resume")
            drain(server)
        say(
            f"stalled round {number + 1}: p99 {beside[-1].p99_ms:.2f} ms, "
            f"{without[-1].p99_ms:.2f} when all read"
        )
    seconds = wait_closed(server, stalled)
    close(setting, side)
    what = f"{stalled} of {setting.readers} readers stalled"
    return [
        Measure(
            name=f"{what}, p99 of the rest",
            unit="ms",
            ours=tuple(sample.p99_ms for sample in beside),
            peer_name="none stalled",
            peer=tuple(sample.p99_ms for sample in without),
            better="less",
            floor=FLOOR,
            notes={
                "writes/s": WRITES_PER_SECOND,
                "p50 ms": beside[-1].p50_ms,
                "kept for each KiB": filled / stalled / 1024,
            },
        ),
        Measure(name=f"{what}, all of those closed after", unit="s", ours=(seconds,)),
    ]


def fill(server: PylonServer, stalled: int) -> int:
    """Write big rows until the server has to keep bytes for each that stalled; how many in all."""
    body = json.dumps({"title": "x" * FILL_CHARACTERS}).encode()
    headers = {"Authorization": f"Bearer {server.token}"}
    request = request_bytes("POST", "/api/entities/Post", headers=headers, body=body)
    for _ in range(FILL_WRITES_MAX):
        send_raw(server.port, request)
        if (kept := backlog(server)) > stalled * FILL_CHARACTERS:
            time.sleep(LOOK_SECONDS)
            return kept
    raise BenchError(f"{FILL_WRITES_MAX} big rows do not fill the sockets of the stalled readers")


def settle(side: Side) -> None:
    """Wait until those that read have taken the big rows as well, and forget how long that took.

    A connection whose window was full may only go on after a second or two.
    """
    total = -1
    while (now := side.readers.ask("mark")["total"]) != total:
        total = now
        time.sleep(SETTLED_SECONDS)


def drain(server: PylonServer) -> None:
    """Wait until the server keeps nothing for anybody."""
    deadline = time.monotonic() + CLOSED_SECONDS_MAX
    while backlog(server):
        if time.monotonic() > deadline:
            raise BenchError("readers that go on do not take what was kept for them")
        time.sleep(LOOK_SECONDS)


def backlog(server: PylonServer) -> int:
    """Bytes that the server keeps for all readers."""
    return int(status(server)["streams"]["backlog_bytes"])


def wait_closed(server: PylonServer, stalled: int) -> float:
    """Seconds until the server has closed those that stalled, and only those."""
    began = time.monotonic()
    while (closes := status(server)["closes"]).get("slow", 0) < stalled:
        if time.monotonic() - began > CLOSED_SECONDS_MAX:
            raise BenchError(f"stalled readers stay open: {closes}")
        time.sleep(LOOK_SECONDS)
    if closes != {"slow": stalled}:
        raise BenchError(f"others were closed too: {closes}")
    return time.monotonic() - began


def status(server: PylonServer) -> dict[str, dict[str, int]]:
    """The server's own figures."""
    found: dict[str, dict[str, int]] = expect(
        server.port, "GET", "/api/sync/status", token=server.admin_token
    )
    return found
