"""Servers with their readers connected: ours, the bare hubs, PocketBase.

Called by the suites that write to one and look at what its readers get (`live_rounds.py`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.generator import STAMP
from bench.load import request_bytes
from bench.peers.floors import RawHub
from bench.peers.pocketbase import PocketBase
from bench.peers.pylon_server import PylonServer
from bench.processes import REPOSITORY, BenchError, Child, read_json_line
from bench.suites.base import Setting, say


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One server with its readers connected."""

    name: str
    server: Child
    port: int
    readers: Child
    write: bytes


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
    """A bare hub; `write` as in `bench/peers/raw_hub.py`."""
    hub = RawHub(setting.fleet, write=write, cores=setting.cores.server)
    readers = open_readers(setting, hub.port, [""])
    return Side(
        name=f"{write} hub",
        server=hub.child,
        port=hub.port,
        readers=readers,
        write=post_request("/api/entities/Post", {}),
    )


def pocketbase_side(setting: Setting) -> Side:
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
