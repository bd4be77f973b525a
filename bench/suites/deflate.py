"""What compressing WebSocket messages and large bodies costs the server and saves on the wire.

Two servers, one with `PYLON_WS_COMPRESSION` at a level and one at 0, get the same rows in turn. A
round inserts rows one after another, waits until every reader has every event, and divides the
server's processor time by the events. It is paced, so that readers keep up and nobody is closed.
For bodies, one server is asked for pages of a pull and for lists, with `Accept-Encoding` and
without.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass, replace

from bench.load import request_bytes
from bench.peers.pylon_server import PylonServer
from bench.processes import BenchError, thread_seconds
from bench.ratio import Measure, alternate, spread
from bench.sides import Side, close, open_readers
from bench.sockets import read_until
from bench.suites.base import Setting, say
from bench.worlds import WORDS, shuffled, word

LEVELS = (1, 2, 3, 4, 5, 6)
EVENT_BYTES = (200, 512, 1024, 4096, 16_384)
ENVELOPE_BYTES = 200
"""An event of a row of `Post` without its title."""

EVENTS = {1: 300, 100: 120}
EVENTS_OTHERWISE = 40
BYTES_PER_SECOND = 250_000_000
"""What all readers together are sent at the most."""

SETTLE_SECONDS_MAX = 30.0
PAGE_ROWS = 1000
ROW_EVENT_BYTES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class DeflateSample:
    """One round: the server's microseconds for an event, and its bytes at one reader."""

    server_us: float
    wire_bytes: float


def run(setting: Setting) -> list[Measure]:
    """Every size of event at every level, for one reader, a hundred, and as many as asked for."""
    measures = _bodies(setting)
    for readers in sorted({1, 100, setting.readers}):
        part = replace(setting, readers=readers)
        plain = _side(part, 0)
        for level in LEVELS:
            deflated = _side(part, level)
            measures += [_compare(part, deflated, plain, level, size) for size in EVENT_BYTES]
            close(part, deflated)
        close(part, plain)
    return measures


def _bodies(setting: Setting) -> list[Measure]:
    """A page of a pull of a thousand rows, and lists of a hundred and of twenty."""
    server = PylonServer(cores=setting.cores.server, load_cores=setting.cores.load)
    folder = setting.folder / "bodies"
    folder.mkdir()
    server.start(setting.fleet, folder)
    _send(server.port, _requests(ROW_EVENT_BYTES, PAGE_ROWS, server.token))
    measures = []
    for name, count, path in (
        ("pull of 1000 rows", 20, "/api/sync/pull?since=0"),
        ("list of 100 rows", 200, "/api/entities/Post/cursor?limit=100"),
        ("list of 20 rows", 500, "/api/entities/Post/cursor?limit=20"),
    ):
        plain, packed = (
            [request_bytes("GET", path, headers={**_bearer(server.token), **more})] * count
            for more in ({}, {"Accept-Encoding": "gzip"})
        )
        measures.append(_compare_bodies(setting, name, server, packed, plain))
    setting.fleet.stop(server.child)
    return measures


def _compare_bodies(
    setting: Setting, name: str, server: PylonServer, packed: list[bytes], plain: list[bytes]
) -> Measure:
    def one_round(requests: list[bytes]) -> DeflateSample:
        used = thread_seconds(server.child.pid)
        received = _send(server.port, requests)
        used = thread_seconds(server.child.pid) - used
        count = len(requests)
        return DeflateSample(server_us=used / count * 1e6, wire_bytes=received / count)

    for requests in (packed, plain):
        one_round(requests)
    mine, theirs = alternate(
        lambda: one_round(packed), lambda: one_round(plain), rounds=setting.rounds
    )
    return _measure(f"server time of a {name}, gzip", mine, theirs)


def _side(setting: Setting, level: int) -> Side:
    server = PylonServer(
        cores=setting.cores.server,
        load_cores=setting.cores.load,
        settings={"PYLON_WS_COMPRESSION": str(level)},
    )
    folder = setting.folder / f"readers-{setting.readers}-level-{level}"
    folder.mkdir()
    server.start(setting.fleet, folder)
    say(f"opening {setting.readers} WebSockets at level {level}")
    more = ["--frames", "--deflate"]
    readers = open_readers(setting, server.port, [server.token], more=more)
    return Side(
        name=f"level {level}",
        server=server.child,
        port=server.port,
        readers=readers,
        write=server.token.encode(),
    )


def _compare(setting: Setting, deflated: Side, plain: Side, level: int, size: int) -> Measure:
    name = f"server time of an event of {size} B to {setting.readers} readers, level {level}"

    def after_round(number: int, mine: DeflateSample, theirs: DeflateSample) -> None:
        say(
            f"{name} round {number}: {mine.server_us:.0f} us and {mine.wire_bytes:.0f} B, plain"
            f" {theirs.server_us:.0f} us and {theirs.wire_bytes:.0f} B"
        )

    for side in (deflated, plain):
        _round(setting, side, size)
    mine, theirs = alternate(
        lambda: _round(setting, deflated, size),
        lambda: _round(setting, plain, size),
        rounds=setting.rounds,
        after_round=after_round,
    )
    return _measure(name, mine, theirs)


def _measure(name: str, mine: list[DeflateSample], theirs: list[DeflateSample]) -> Measure:
    wire = spread([sample.wire_bytes for sample in mine]).median
    plain_wire = spread([sample.wire_bytes for sample in theirs]).median
    return Measure(
        name=name,
        unit="us",
        ours=tuple(sample.server_us for sample in mine),
        peer_name="uncompressed",
        peer=tuple(sample.server_us for sample in theirs),
        better="less",
        notes={
            "bytes": wire,
            "of": plain_wire,
            "share": wire / plain_wire,
            "added us": spread(
                [a.server_us - b.server_us for a, b in zip(mine, theirs, strict=True)]
            ).median,
        },
    )


def _round(setting: Setting, side: Side, size: int) -> DeflateSample:
    count = EVENTS.get(setting.readers, EVENTS_OTHERWISE)
    requests = _requests(size, count, side.write.decode())
    before = side.readers.ask("base")
    used = thread_seconds(side.server.pid)
    _send(side.port, requests, seconds_each=size * setting.readers / BYTES_PER_SECOND)
    after = _settled(side, count)
    used = thread_seconds(side.server.pid) - used
    received = after["bytes"] - before["bytes"]
    return DeflateSample(
        server_us=used / count * 1e6, wire_bytes=received / count / setting.readers
    )


def _requests(size: int, count: int, token: str) -> list[bytes]:
    """Inserts of rows with different texts, whose events have about `size` bytes."""
    length = max(8, size - ENVELOPE_BYTES)
    requests = []
    for number in range(count):
        words = (_word(number * 4099 + place) for place in range(length // 7 + 2))
        body = json.dumps({"title": " ".join(words)[:length]}).encode()
        headers = _bearer(token)
        requests.append(request_bytes("POST", "/api/entities/Post", headers=headers, body=body))
    return requests


def _word(number: int) -> str:
    """A word as frequent as words are in a language: the n-th of them 1/n times."""
    return word(int(WORDS ** (shuffled(number) / 2**32)))


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _send(port: int, requests: list[bytes], *, seconds_each: float = 0.0) -> int:
    """Send one after another over one connection, each when the one before it is answered; the
    bytes of all bodies."""
    due = time.monotonic()
    received = 0
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for request in requests:
            connection.sendall(request)
            head, body = read_until(connection, b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 20"):
                raise BenchError(f"a request was refused: {head[:400]!r}")
            left = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            received += left
            left -= len(body)
            while left > 0:
                left -= len(connection.recv(min(left, 65_536)))
            due = max(due + seconds_each, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
    return received


def _settled(side: Side, count: int) -> dict[str, float]:
    """Wait until each reader has each event."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while time.monotonic() < deadline:
        state: dict[str, float] = side.readers.ask("mark")
        if state["least"] == state["most"] == count:
            return state
        time.sleep(0.01)
    raise BenchError(f"{side.name}: {count} events, readers have {state}")
