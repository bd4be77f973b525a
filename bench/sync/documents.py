"""Fifty people in one text: what a keystroke costs on the wire, in time, and in storage.

First at the pace of people, then in bursts of all fifty at once, until the document has as many
edits as were asked for. At the end all must hold the same text, and the row too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import apsw

from bench.peers.pylon_server import PylonServer
from bench.processes import BenchError, Child, expect, read_json_line
from bench.ratio import Measure
from bench.sides import fresh_server
from bench.suites.base import Setting, say

EDITORS = 50
EDITS_PER_SECOND = 50
PARTS = 4

STORED = """SELECT (SELECT sum(length(snapshot)) FROM _pylon_crdt_snapshots WHERE row_id = ?1)
+ coalesce((SELECT sum(length(data)) FROM _pylon_crdt_updates WHERE row_id = ?1), 0)"""


def run(setting: Setting) -> list[Measure]:
    """One server, one row, one document all along."""
    server = fresh_server(setting, "documents")
    page = expect(server.port, "POST", "/api/entities/Page", body={}, token=server.token)
    row = str(page["id"])
    editors = open_editors(setting, server, row)
    paced = []
    for number in range(setting.rounds):
        paced.append(editors.ask(f"pace {EDITS_PER_SECOND} {setting.seconds}"))
        say(f"editors round {number + 1}: p99 {paced[-1]['p99_ms']:.1f} ms")
    parts, stored = [], []
    for number in range(PARTS):
        parts.append(editors.ask(f"write {setting.edits // PARTS}"))
        stored.append(stored_bytes(server.database, row))
        say(f"editors, {number + 1} of {PARTS} parts: {rate(parts[-1]):.0f} edits/s")
    end = editors.ask("settle")
    check(server, row, end)
    setting.fleet.stop(editors)
    server.halt()
    return [*on_the_wire(paced), *in_bursts(setting, parts, stored, end)]


def on_the_wire(paced: list[dict[str, Any]]) -> list[Measure]:
    """Time and bytes of a keystroke at the pace of people."""
    what = f"{EDITORS} editors, {EDITS_PER_SECOND} edits/s"
    return [
        *(
            Measure(
                name=f"{what}, sent to arrived, {key}",
                unit="ms",
                ours=tuple(each[f"{key}_ms"] for each in paced),
                notes={"editors busy": max(each["busy"] for each in paced)},
            )
            for key in ("p50", "p99")
        ),
        Measure(
            name=f"{what}, an edit as each other editor gets it",
            unit="B",
            ours=tuple(each["frame_bytes"] / each["edits"] / EDITORS for each in paced),
            peer_name="as it was pushed",
            peer=tuple(each["pushed_bytes"] / each["edits"] for each in paced),
            better="less",
            notes={
                "the row's event beside it B": paced[-1]["event_bytes"]
                / paced[-1]["edits"]
                / EDITORS
            },
        ),
    ]


def in_bursts(
    setting: Setting, parts: list[dict[str, Any]], stored: list[int], end: dict[str, Any]
) -> list[Measure]:
    """Edits a second, and how the stored document grows."""
    size = stored[-1]
    quarters = {f"after part {number + 1} KiB": value / 1024 for number, value in enumerate(stored)}
    return [
        Measure(
            name=f"{EDITORS} editors, bursts of an edit from each",
            unit="edits/s",
            ours=tuple(map(rate, parts)),
            notes={
                **{f"part {n + 1} edits/s": rate(part) for n, part in enumerate(parts)},
                "p99 ms": parts[-1]["p99_ms"],
                "the row's event B": parts[-1]["event_bytes"] / parts[-1]["edits"] / EDITORS,
                "editors busy": max(part["busy"] for part in parts),
            },
        ),
        Measure(
            name=f"stored document after {setting.edits} edits",
            unit="KiB",
            ours=(size / 1024,),
            peer_name="one author's snapshot",
            peer=(end["alone_bytes"] / 1024,),
            better="less",
            notes={
                **quarters,
                "characters": end["characters"],
                "bytes a character": size / end["characters"],
            },
        ),
    ]


def open_editors(setting: Setting, server: PylonServer, row: str) -> Child:
    """A process with all editors, each a user with the row's document before it."""
    file = setting.folder / "editors-tokens.txt"
    tokens = [server.mint(f"editor_{number}") for number in range(EDITORS)]
    file.write_text("\n".join(tokens))
    child = setting.fleet.spawn(
        "editors",
        [
            *(sys.executable, "-m", "bench.editors", "--port", str(server.port)),
            *("--tokens", str(file), "--row", row),
        ],
        cores=setting.cores.load,
        pipes=True,
    )
    assert child.process.stdout is not None
    read_json_line(child, child.process.stdout)
    return child


def stored_bytes(database: Path, row: str) -> int:
    """What the document of a row takes in the database."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        ((size,),) = connection.execute(STORED, (row,)).fetchall()
    finally:
        connection.close()
    assert isinstance(size, int)
    return size


def check(server: PylonServer, row: str, end: dict[str, Any]) -> None:
    """Everybody holds one text, and the row is it."""
    if end["texts"] != 1 or end["open"] != EDITORS:
        raise BenchError(f"the editors differ, or some were closed: {end}")
    path = f"/api/entities/Page/{row}"
    characters = len(expect(server.port, "GET", path, token=server.token)["body"])
    if characters != end["characters"]:
        raise BenchError(f"the row has {characters} characters, editors {end['characters']}")


def rate(part: dict[str, Any]) -> float:
    """Edits a second."""
    return float(part["edits"] / part["seconds"])
