"""Live deliveries a second: many readers, a few writers in flight, against naive hubs.

A round: writers start, a moment passes, the readers are asked twice how many events they have
seen, writers stop. Afterwards every reader must have every acknowledged event: a hub that skips is
not fast, it is wrong, and ends the run.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.generator import STAMP
from bench.load import request_bytes
from bench.peers.floors import RawHub
from bench.peers.pocketbase import PocketBase
from bench.peers.pylon_server import PylonServer
from bench.processes import REPOSITORY, BenchError, Child, cpu_seconds, read_json_line
from bench.ratio import Measure, alternate, spread
from bench.suites.base import Setting, say

WRITERS, WRITERS_OF_MANY = 32, 8
"""Connections that write, one request in flight on each, for up to 1000 readers and for more. With
8 to 1000 our server waited for them; with 32 to 10 000 the readers do not keep up."""

AUDIENCES_MAX = 1000
SETTLE_SECONDS_MAX = 15.0
SETTLE_STEP_SECONDS = 0.2
CEILING_EVENTS_JOINED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSample:
    """One round: deliveries and events a second, and the time from sending to reading."""

    rate: float
    events: float
    p50_ms: float
    p99_ms: float
    server_busy: float
    readers_busy: float
    joined: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One server with its readers connected."""

    name: str
    server: Child
    port: int
    readers: Child
    write: bytes


def run(setting: Setting) -> list[Measure]:
    """Ours with one identity and with one each, against both floors; PocketBase beside it."""
    measures = [_ceiling(setting)]
    kernel = hub_side(setting, "kernel")
    for identities in (1, min(AUDIENCES_MAX, setting.readers)):
        ours = pylon_side(setting, identities)
        who = "one user" if identities == 1 else f"{identities} users"
        name = f"live, {setting.readers} readers of {who}"
        measures.append(compare(setting, name, ours, kernel, "single writes", promised=True))
        if identities == 1:
            strict = hub_side(setting, "transport")
            measures.append(compare(setting, f"{name}, strict", ours, strict, "uvloop joins"))
            close(setting, strict)
            if setting.with_peer:
                peer = _pocketbase_side(setting)
                measures.append(compare(setting, f"{name}, peer", ours, peer, "pocketbase SSE"))
                close(setting, peer)
        close(setting, ours)
    return measures


def open_readers(
    setting: Setting,
    port: int,
    tokens: Sequence[str],
    *,
    more: Sequence[str] = (),
) -> Child:
    """A readers' process with all its sockets open."""
    file = setting.folder / f"tokens-{port}.txt"
    file.write_text("\n".join(tokens))
    child = setting.fleet.spawn(
        "readers",
        [
            *(sys.executable, "-m", "bench.readers", "--port", str(port)),
            *("--count", str(setting.readers), "--tokens", str(file), *more),
        ],
        cores=setting.cores.load,
        pipes=True,
    )
    assert child.process.stdout is not None
    opened = read_json_line(child, child.process.stdout)
    if opened["open"] != setting.readers:
        raise BenchError(f"{opened['open']} of {setting.readers} readers are open")
    return child


def _ceiling(setting: Setting) -> Measure:
    """What the readers can count, so that a reader of the table sees that they do not decide."""
    hub = RawHub(setting.fleet, blast=CEILING_EVENTS_JOINED, cores=setting.cores.server)
    readers = open_readers(setting, hub.port, [""])
    pids = (hub.child.pid, readers.pid)
    began, used = time.monotonic(), [cpu_seconds(pid) for pid in pids]
    rates = []
    for _ in range(setting.rounds):
        first = readers.ask("mark")
        time.sleep(min(1.0, setting.seconds))
        last = readers.ask("mark")
        rates.append((last["total"] - first["total"]) / (last["at"] - first["at"]))
    elapsed = time.monotonic() - began
    busy = [(cpu_seconds(pid) - before) / elapsed for pid, before in zip(pids, used, strict=True)]
    setting.fleet.stop(readers)
    setting.fleet.stop(hub.child)
    say(f"readers' own ceiling: {spread(rates).median:.0f}/s")
    return Measure(
        name=f"readers' own ceiling, {CEILING_EVENTS_JOINED} events joined",
        unit="/s",
        ours=tuple(rates),
        notes={"sender busy": busy[0], "readers busy": busy[1]},
    )


def close(setting: Setting, side: Side) -> None:
    setting.fleet.stop(side.readers)
    setting.fleet.stop(side.server)


def fresh_server(setting: Setting, name: str, *, tree: Path = REPOSITORY) -> PylonServer:
    """A server of ours with an empty database in a folder of that name."""
    cores = setting.cores
    server = PylonServer(cores=cores.server, load_cores=cores.load, tree=tree)
    folder = setting.folder / name
    folder.mkdir()
    server.start(setting.fleet, folder)
    return server


def pylon_side(setting: Setting, identities: int, *, tree: Path = REPOSITORY) -> Side:
    """A server of its own: one with rows would first replay its last minute to new readers."""
    name = f"pylon-{setting.readers}-{identities}"
    server = fresh_server(setting, name if tree == REPOSITORY else f"{name}-other", tree=tree)
    tokens = [server.mint(f"reader_{number}") for number in range(identities)]
    say(f"pylon: opening {setting.readers} WebSockets of {identities} user(s)")
    readers = open_readers(setting, server.port, tokens)
    headers = {"Authorization": f"Bearer {server.token}"}
    write = post_request("/api/entities/Post", headers)
    return Side(name="pylon", server=server.child, port=server.port, readers=readers, write=write)


def hub_side(setting: Setting, write: str) -> Side:
    hub = RawHub(setting.fleet, write=write, cores=setting.cores.server)
    readers = open_readers(setting, hub.port, [""])
    return Side(
        name=f"{write} hub",
        server=hub.child,
        port=hub.port,
        readers=readers,
        write=post_request("/api/entities/Post", {}),
    )


def _pocketbase_side(setting: Setting) -> Side:
    peer = PocketBase(cores=setting.cores.server, request_log=setting.peer_log)
    peer.start(setting.fleet, setting.folder)
    say(f"pocketbase: opening {setting.readers} event streams")
    more = ["--sse-topic", "posts/*", "--marker", '"action":"create"']
    readers = open_readers(setting, peer.port, [peer.token], more=more)
    write = post_request("/api/collections/posts/records", {"Authorization": peer.token})
    return Side(name="pocketbase", server=peer.child, port=peer.port, readers=readers, write=write)


def post_request(path: str, headers: dict[str, str]) -> bytes:
    """One write that carries the time of its sending."""
    body = json.dumps({"title": f"sent {STAMP.decode()}"}).encode()
    return request_bytes("POST", path, headers=headers, body=body)


def compare(
    setting: Setting, name: str, ours: Side, peer: Side, peer_name: str, *, promised: bool = False
) -> Measure:
    for side in (ours, peer):
        _round(setting, side, setting.warm_seconds)

    def after_round(number: int, mine: LiveSample, theirs: LiveSample) -> None:
        ratio = mine.rate / theirs.rate
        say(f"{name} round {number}: {mine.rate:.0f}/s, {theirs.rate:.0f}/s, {ratio:.2f}x")

    mine, theirs = alternate(
        lambda: _round(setting, ours, setting.seconds),
        lambda: _round(setting, peer, setting.seconds),
        rounds=setting.rounds,
        after_round=after_round,
    )
    notes: dict[str, float | int | str] = {}
    for who, samples in (("ours", mine), ("peer", theirs)):
        notes[f"{who} events/s"] = spread([sample.events for sample in samples]).median
        notes[f"{who} p50 ms"] = spread([sample.p50_ms for sample in samples]).median
        notes[f"{who} p99 ms"] = spread([sample.p99_ms for sample in samples]).median
        notes[f"{who} events a read"] = spread([sample.joined for sample in samples]).median
        notes[f"{who} server busy"] = spread([sample.server_busy for sample in samples]).median
        notes[f"{who} readers busy"] = spread([sample.readers_busy for sample in samples]).median
    return Measure(
        name=name,
        unit="/s",
        ours=tuple(sample.rate for sample in mine),
        peer_name=peer_name,
        peer=tuple(sample.rate for sample in theirs),
        floor=3.0 if promised else None,
        aim=8.0 if promised else None,
        notes=notes,
    )


def _round(setting: Setting, side: Side, seconds: float) -> LiveSample:
    """One run of the writers against one side."""
    plan = setting.folder / "live-plan.json"
    plan.write_text(json.dumps([side.write.decode("latin-1")]))
    count = WRITERS if setting.readers <= 1000 else WRITERS_OF_MANY
    before = side.readers.ask("base")
    writers = setting.fleet.spawn(
        "writers",
        [
            *(sys.executable, "-m", "bench.generator", "--port", str(side.port)),
            *("--plan", str(plan), "--connections", str(count), "--stamp", "--control"),
        ],
        cores=setting.cores.load,
        pipes=True,
    )
    assert writers.process.stdin is not None
    writers.process.stdin.write(b"go\n")
    writers.process.stdin.flush()
    _wait_first_event(side, before["total"])
    pids = (side.server.pid, side.readers.pid)
    used = [cpu_seconds(pid) for pid in pids]
    first = side.readers.ask("mark")
    time.sleep(seconds)
    last = side.readers.ask("mark")
    used = [cpu_seconds(pid) - before for pid, before in zip(pids, used, strict=True)]
    written = writers.ask("stop")
    setting.fleet.stop(writers)
    _check_complete(setting, side, written)
    elapsed = last["at"] - first["at"]
    rate = (last["total"] - first["total"]) / elapsed
    return LiveSample(
        rate=rate,
        events=rate / setting.readers,
        p50_ms=last["p50_ms"],
        p99_ms=last["p99_ms"],
        server_busy=used[0] / elapsed,
        readers_busy=used[1] / elapsed,
        joined=(last["total"] - first["total"]) / max(1, last["reads"] - first["reads"]),
    )


def _wait_first_event(side: Side, total: int) -> None:
    for _ in range(500):
        if side.readers.ask("mark")["total"] > total:
            return
        time.sleep(0.02)
    raise BenchError(f"{side.name}: no event arrives")


def _check_complete(setting: Setting, side: Side, written: dict[str, Any]) -> None:
    """Wait until each reader has each event that was acknowledged in this round, once."""
    if written["errors"]:
        raise BenchError(f"{side.name}: {written['errors']} writes were refused")
    wanted = written["acknowledged"]
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while True:
        now = side.readers.ask("mark")
        if now["open"] < setting.readers:
            raise BenchError(f"{side.name}: {setting.readers - now['open']} readers were closed")
        if now["least"] == now["most"] == wanted:
            return
        if now["most"] > wanted or time.monotonic() > deadline:
            raise BenchError(
                f"{side.name}: {wanted} events were acknowledged, readers have between "
                f"{now['least']} and {now['most']}"
            )
        time.sleep(SETTLE_STEP_SECONDS)
