"""`python -m bench [SUITE]`: without a suite, lists them; with one, runs it and prints a table.

Progress goes to stderr, the table to stdout. Whatever happens (an error, Ctrl-C, SIGTERM, the
deadline), every process that was started is ended and the data folder removed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from types import FrameType

from bench.machine import available_cores, cores_as_json, describe_machine, divide_cores
from bench.processes import BenchError, Fleet
from bench.ratio import Measure
from bench.report import table, write_json
from bench.suites.base import Setting, Suite, say

SUITES = {
    "rest": "get, list and insert against PocketBase; get against an empty ASGI app",
    "live": "deliveries a second on many WebSockets against naive hubs and PocketBase",
    "start": "process start to first answered request, against PocketBase",
    "memory": "resident memory idle, for each idle socket, and after load, against PocketBase",
    "data": "lists, relation rules, aggregates, search and import at 100 k rows",
    "sync": "many readers, latency, stalled readers, full pulls, returns after a restart, editors",
    "deflate": "processor time and bytes of events and large bodies, compressed against not",
    "before": "get, list, insert and deliveries against another checkout of ours (--tree)",
    "growth": "get, list and pull at 10 k, 100 k and 1 M rows",
}

ROWS_USUAL = 10_000
ROWS = {"data": 100_000, "sync": 200_000}
"""Rows where none are asked for; `data` imports that many, `sync` pulls them."""


def main() -> int:
    """Run what was asked for; exit code 1 when the run could not be finished."""
    arguments = _parse()
    if arguments.suite is None:
        for name, text in SUITES.items():
            print(f"{name:8} {text}")
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGALRM, _interrupt)
    signal.alarm(arguments.deadline)
    try:
        return _run(arguments)
    except BenchError as error:
        say(f"bench: {error}")
        return 1
    except KeyboardInterrupt as reason:
        say(f"bench: ended early {reason}")
        return 1


def _run(arguments: argparse.Namespace) -> int:
    cores = divide_cores(available_cores(), share_all=arguments.all_cores)
    names = [name for name in SUITES if name != "before"]
    if arguments.suite != "all":
        names = [arguments.suite]
    measures: list[Measure] = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.dir) as folder:
        facts = describe_machine(Path(folder), cores)
        for name, fact in facts.items():
            say(f"{name}: {fact}")
        for name in names:
            part = Path(folder) / name
            part.mkdir()
            suite: Suite = import_module(f"bench.suites.{name}").run
            with Fleet(part) as fleet:
                setting = Setting(
                    fleet=fleet,
                    folder=part,
                    cores=cores,
                    rounds=arguments.rounds,
                    seconds=arguments.seconds,
                    rows=arguments.rows or ROWS.get(name, ROWS_USUAL),
                    readers=arguments.readers,
                    connections=arguments.connections,
                    with_peer=not arguments.no_peer,
                    peer_log=arguments.peer_log,
                    edits=arguments.edits,
                    only=tuple(arguments.only),
                    tree=arguments.tree,
                )
                measures += suite(setting)
    print(table(measures))
    if arguments.json:
        asked = {name: value for name, value in vars(arguments).items() if name != "json"}
        whole = {**facts, "cores": cores_as_json(cores), "asked": asked}
        write_json(Path(arguments.json), whole, measures)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("suite", nargs="?", choices=[*SUITES, "all"])
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs (5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one run (3)")
    parser.add_argument("--rows", type=int, help="rows seeded, imported or pulled")
    parser.add_argument("--readers", type=int, default=1000, help="live readers (1000)")
    parser.add_argument("--edits", type=int, default=5000, help="edits of one document (5000)")
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="parts of the suite")
    parser.add_argument("--tree", type=Path, metavar="DIR", help="the other checkout of `before`")
    parser.add_argument("--connections", type=int, default=32, help="HTTP connections (32)")
    parser.add_argument("--json", metavar="FILE", help="write the report there too")
    parser.add_argument("--dir", metavar="DIR", help="where data lives; must be a real disk")
    parser.add_argument("--deadline", type=int, default=3600, help="seconds for everything (3600)")
    parser.add_argument("--no-peer", action="store_true", help="without PocketBase")
    parser.add_argument("--peer-log", action="store_true", help="leave PocketBase's log on")
    parser.add_argument("--all-cores", action="store_true", help="pin nothing to one core")
    return parser.parse_args()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"({signal.Signals(number).name})")


if __name__ == "__main__":
    sys.exit(main())
