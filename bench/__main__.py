"""`python -m bench [SUITE]`: without a suite, lists them; with one, runs it and prints a table.

Progress goes to stderr, the table to stdout. Whatever happens (an error, Ctrl-C, SIGTERM, the
deadline), every process that was started is ended, the data folder removed, and what has been
measured by then printed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import FrameType

from bench.baseline import FILE, PASSES, Baseline, baseline_of, compare, read, write
from bench.machine import FREE, PINNED, Cores, available_cores, describe_machine, divide_cores
from bench.processes import BenchError, Fleet
from bench.ratio import Measure
from bench.report import markdown, table, write_json
from bench.suites.base import Setting, Suite, say

SUITES = {
    "rest": "get, list and insert against PocketBase; get against empty apps; one lone insert",
    "live": "delivery to many WebSockets against bare hubs and PocketBase",
    "start": "process start to first answered request, against PocketBase; pylon --help",
    "memory": "idle, for each idle socket, after load, against PocketBase; after an import",
    "data": "lists, relation rules, aggregates, search and import at 100 k rows",
    "sync": "many readers, latency, stalled readers, full pulls, returns after a restart, editors",
    "deflate": "processor time and bytes of events and large bodies, compressed against not",
    "before": "get, list, insert and deliveries against another checkout of ours (--tree)",
    "growth": "get, list and pull at 10 k, 100 k and 1 M rows",
}

QUICK_SUITES = ("rest", "live", "start", "memory", "data")
"""What `all --quick` runs: the others need minutes for their rows alone."""

WORSE = 3
"""Exit code of `--check` when something got worse; 1 is a run that could not be finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is done where the command line does not say."""

    rounds: int
    seconds: float
    rows: int
    rows_of: dict[str, int]
    """Of suites that want another number: `data` imports that many, `sync` pulls them."""
    deadline: int
    """Seconds for everything."""


USUAL = Size(
    rounds=5,
    seconds=3.0,
    rows=10_000,
    rows_of={"data": 100_000, "sync": 200_000},
    deadline=4 * 3600,
)
QUICK = Size(rounds=3, seconds=1.0, rows=2_000, rows_of={"data": 10_000}, deadline=600)


def main() -> int:
    """What the command line asks for, until the deadline."""
    arguments = parse()
    if arguments.suite is None:
        for name, text in SUITES.items():
            print(f"{name:8} {text}")
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGALRM, _interrupt)
    signal.alarm(arguments.deadline)
    return run(arguments)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, compare; exit code 1 when the run could not be finished."""
    began = time.monotonic()
    measures: list[Measure] = []
    facts: dict[str, str] = {}
    finished = True
    try:
        for _ in range(PASSES if arguments.save_baseline else 1):
            for found in _measured(arguments, facts):
                measures += found
    except BenchError as error:
        say(f"bench: {error}")
        finished = False
    except KeyboardInterrupt as reason:
        say(f"bench: ended early {reason}")
        finished = False
    print((markdown if arguments.markdown else table)(measures))
    say(f"bench {arguments.suite} took {time.monotonic() - began:.0f} s")
    if arguments.json:
        asked = {name: value for name, value in vars(arguments).items() if name != "json"}
        write_json(Path(arguments.json), {**facts, "asked": asked}, measures)
    if not finished:
        return 1
    return _held_against_baseline(arguments, baseline_of(facts, measures))


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, with the sizes filled in."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("suite", nargs="?", choices=[*SUITES, "all"])
    parser.add_argument("--quick", action="store_true", help="small sizes; all under 4 minutes")
    parser.add_argument(
        "--check", action="store_true", help=f"exit with {WORSE} if worse than the baseline"
    )
    parser.add_argument(
        "--save-baseline", action="store_true", help="of all --quick: renew what is compared with"
    )
    parser.add_argument("--rounds", type=int, help="pairs of runs (5; quick 3)")
    parser.add_argument("--seconds", type=float, help="length of one run (3; quick 1)")
    parser.add_argument("--rows", type=int, help="rows seeded, imported or pulled")
    parser.add_argument("--readers", type=int, default=1000, help="live readers (1000)")
    parser.add_argument("--edits", type=int, default=5000, help="edits of one document (5000)")
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="parts of the suite")
    parser.add_argument("--tree", type=Path, metavar="DIR", help="the other checkout of `before`")
    parser.add_argument("--connections", type=int, default=32, help="HTTP connections (32)")
    parser.add_argument(
        "--cores", choices=[PINNED, FREE], help="only the rows with these cores (both)"
    )
    parser.add_argument("--markdown", action="store_true", help="print the tables of the docs")
    parser.add_argument("--json", metavar="FILE", help="write the report there too")
    parser.add_argument("--dir", metavar="DIR", help="where data lies; must be a real disk")
    parser.add_argument("--deadline", type=int, help="seconds for everything (4 h; quick 600)")
    parser.add_argument("--no-peer", action="store_true", help="without PocketBase")
    parser.add_argument("--peer-log", action="store_true", help="leave PocketBase's log on")
    arguments = parser.parse_args(words)
    size = QUICK if arguments.quick else USUAL
    for name in ("rounds", "seconds", "deadline"):
        if getattr(arguments, name) is None:
            setattr(arguments, name, getattr(size, name))
    if arguments.save_baseline:
        arguments.deadline *= PASSES
    whole = arguments.suite == "all" and arguments.quick
    if arguments.save_baseline and not (whole and not arguments.cores and not arguments.no_peer):
        parser.error("--save-baseline wants all --quick, with PocketBase and all cores")
    if arguments.only and arguments.suite == "all":
        parser.error("--only wants one suite")
    if arguments.check and not arguments.quick:
        parser.error("--check wants --quick, as the baseline was made")
    if arguments.quick and arguments.suite not in (*QUICK_SUITES, "all", None):
        parser.error(f"{arguments.suite} has no quick form; there are {', '.join(QUICK_SUITES)}")
    return arguments


def _measured(arguments: argparse.Namespace, facts: dict[str, str]) -> Iterator[list[Measure]]:
    """The measures of each suite as it ends; `facts` are filled in before. In a run of all, a suite
    that fails does not keep the others from theirs."""
    layouts = divide_cores(available_cores())
    if arguments.cores:
        layouts = tuple(cores for cores in layouts if cores.name == arguments.cores)
        if not layouts:
            raise BenchError(f"this machine cannot give {arguments.cores} rows")
    names = [arguments.suite]
    if arguments.suite == "all":
        names = [name for name in SUITES if name != "before"]
        if arguments.quick:
            names = list(QUICK_SUITES)
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.dir) as folder:
        facts |= describe_machine(Path(folder), layouts)
        for name, fact in facts.items():
            say(f"{name}: {fact}")
        for name in names:
            began = time.monotonic()
            try:
                with _setting(arguments, name, Path(folder), layouts) as setting:
                    suite: Suite = import_module(f"bench.suites.{name}").run
                    found = suite(setting)
            except BenchError as error:
                if len(names) == 1:
                    raise
                say(f"bench: {name} failed: {error}")
                failed.append(name)
                continue
            say(f"{name} took {time.monotonic() - began:.0f} s")
            yield [
                measure if measure.cores else replace(measure, cores=setting.cores.name)
                for measure in found
            ]
    if failed:
        raise BenchError(f"not measured: {', '.join(failed)}")


@contextmanager
def _setting(
    arguments: argparse.Namespace, name: str, folder: Path, layouts: tuple[Cores, ...]
) -> Iterator[Setting]:
    """How the suite of this name is run; what it started is ended at the end."""
    part = folder / name
    part.mkdir()
    size = QUICK if arguments.quick else USUAL
    with Fleet(part) as fleet:
        yield Setting(
            fleet=fleet,
            folder=part,
            layouts=layouts,
            cores=layouts[0],
            rounds=arguments.rounds,
            seconds=arguments.seconds,
            rows=arguments.rows or size.rows_of.get(name, size.rows),
            readers=arguments.readers,
            connections=arguments.connections,
            with_peer=not arguments.no_peer,
            peer_log=arguments.peer_log,
            edits=arguments.edits,
            only=tuple(arguments.only),
            tree=arguments.tree,
            quick=arguments.quick,
        )


def _held_against_baseline(arguments: argparse.Namespace, now: Baseline) -> int:
    """Print what moved since the stored baseline, or renew it."""
    if arguments.save_baseline:
        write(FILE, now)
        say(f"the baseline is renewed: {len(now.ratios)} ratios")
        return 0
    if not arguments.quick:
        return 0
    stored = read(FILE)
    if stored is None:
        say("there is no baseline; make one with all --quick --save-baseline")
        return 1 if arguments.check else 0
    change = compare(stored, now)
    print(change.text(whole=arguments.suite == "all"))
    return WORSE if arguments.check and change.worse else 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"({signal.Signals(number).name})")


if __name__ == "__main__":
    sys.exit(main())
