"""Starting the floors: the empty ASGI app, SQL by hand, the bare hubs."""

from __future__ import annotations

import json
import sys
from collections.abc import Set as AbstractSet
from pathlib import Path

from bench.load import split_answer
from bench.processes import Child, Fleet, free_port, wait_answer
from pylon.limits import SQLITE_MMAP_BYTES

SERVER_MADE = {"connection", "date", "server", "transfer-encoding"}
"""Headers that uvicorn adds itself, or that belong to one connection."""


class AsgiFloor:
    """Uvicorn, uvloop, httptools, and an app that sends one prepared answer."""

    name = "empty ASGI app"

    def __init__(self, fleet: Fleet, raw_answer: bytes, *, cores: AbstractSet[int]) -> None:
        status, headers, body = split_answer(raw_answer)
        names = {name.lower() for name, _ in headers}
        file = fleet.folder / "floor.json"
        kept = [(name.lower(), value) for name, value in headers if name.lower() not in SERVER_MADE]
        file.write_text(
            json.dumps({"status": status, "headers": kept, "body": body.decode("latin-1")})
        )
        self.port = free_port()
        self.child: Child = fleet.spawn(
            "asgi-floor",
            [
                *(sys.executable, "-m", "uvicorn", "bench.peers.asgi_floor:app"),
                *("--port", str(self.port), "--loop", "uvloop", "--http", "httptools"),
                *("--lifespan", "off", "--no-access-log", "--log-level", "warning"),
                *([] if "server" in names else ["--no-server-header"]),
                *([] if "date" in names else ["--no-date-header"]),
            ],
            cores=cores,
            environment={"BENCH_FLOOR_ANSWER": str(file)},
        )
        wait_answer(self.child, self.port, "/")


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
