"""Starting the floors: the empty ASGI apps, SQL by hand, the bare hubs."""

from __future__ import annotations

import json
import sys
from collections.abc import Set as AbstractSet
from pathlib import Path

from bench.load import Plan, request_bytes, send_raw, split_answer
from bench.processes import BenchError, Child, Fleet, free_port, wait_answer
from pylon.limits import SQLITE_MMAP_BYTES

SERVER_MADE = {"connection", "date", "server", "transfer-encoding"}
"""Headers that uvicorn adds itself, or that belong to one connection."""


class AsgiFloor:
    """Uvicorn, uvloop, and an app that sends one prepared answer; over uvicorn's own httptools
    protocol, or over our connection class."""

    def __init__(
        self,
        fleet: Fleet,
        raw_answer: bytes,
        *,
        own_connection: bool = False,
        cores: AbstractSet[int],
    ) -> None:
        self.name = "empty app, our connection" if own_connection else "empty app, uvicorn"
        status, headers, body = split_answer(raw_answer)
        file = fleet.folder / "floor.json"
        kept = [(name.lower(), value) for name, value in headers if name.lower() not in SERVER_MADE]
        file.write_text(
            json.dumps({"status": status, "headers": kept, "body": body.decode("latin-1")})
        )
        self.port = free_port()
        self.child: Child = fleet.spawn(
            "asgi-floor",
            [
                *(sys.executable, "-m", "bench.peers.asgi_floor", "--port", str(self.port)),
                *(["--own-connection"] if own_connection else []),
            ],
            cores=cores,
            environment={"BENCH_FLOOR_ANSWER": str(file)},
        )
        wait_answer(self.child, self.port, "/")
        self._check(raw_answer)

    def plan(self, requests: tuple[bytes, ...]) -> Plan:
        """The same requests as ours gets."""
        return Plan(name=self.name, port=self.port, requests=requests, pid=self.child.pid)

    def _check(self, raw_answer: bytes) -> None:
        """It must send the bytes that our server sends, but for the values of a few headers."""
        ours, sent = (
            (status, sorted(name.lower() for name, _ in headers), body)
            for status, headers, body in map(
                split_answer, (raw_answer, send_raw(self.port, request_bytes("GET", "/")))
            )
        )
        if ours != sent:
            raise BenchError(f"the {self.name} sends {sent}, our server {ours}")


class RawHub:
    """The live floor; `write` is `joined` or `single`, `blast` as in `raw_hub`."""

    def __init__(
        self, fleet: Fleet, *, write: str = "single", blast: int = 0, cores: AbstractSet[int]
    ) -> None:
        self.port = free_port()
        self.child: Child = fleet.spawn(
            f"raw-hub-{write}",
            [
                *(sys.executable, "-m", "bench.peers.raw_hub"),
                *("--port", str(self.port), "--write", write, "--blast", str(blast)),
            ],
            cores=cores,
        )
        wait_answer(self.child, self.port, "/")


class RawSql:
    """Hand-written SQL over the file of a running server of ours."""

    name = "apsw by hand"

    def __init__(self, fleet: Fleet, database: Path, *, cores: AbstractSet[int]) -> None:
        self.port = free_port()
        self.child: Child = fleet.spawn(
            "raw-sql",
            [
                *(sys.executable, "-m", "uvicorn", "bench.peers.raw_sql:app"),
                *("--port", str(self.port), "--loop", "uvloop", "--http", "httptools"),
                *("--lifespan", "off", "--no-access-log", "--log-level", "warning"),
            ],
            cores=cores,
            environment={
                "BENCH_DATABASE": str(database),
                "BENCH_MMAP_BYTES": str(SQLITE_MMAP_BYTES),
            },
        )
        wait_answer(self.child, self.port, "/none/none")
