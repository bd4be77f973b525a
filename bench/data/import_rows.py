"""Imports: with a search index against without, and one large one with its memory.

Where two are compared, the lines are made before the clock runs. They are sent by this process, to
which no core is given; the large import makes its lines as it sends them.
"""

from __future__ import annotations

from collections.abc import Iterable

from bench import worlds
from bench.imports import import_lines, lines
from bench.peers.pylon_server import PylonServer
from bench.processes import BenchError, forget_peak, memory_kibibytes
from bench.ratio import Measure, alternate
from bench.suites.base import Setting, in_each_layout, say

ROWS, ROWS_QUICK = 30_000, 5_000
FLOOR = 0.5


def run(setting: Setting) -> list[Measure]:
    """The comparison, and `setting.rows` rows into a fresh server unless the run is a quick one."""
    measures = in_each_layout(setting, _with_index_against_without)
    return measures if setting.quick else [*measures, *_large(setting)]


def _with_index_against_without(setting: Setting) -> list[Measure]:
    """The same texts into a table that is searched and one that is not, which grow alike."""
    count = ROWS_QUICK if setting.quick else ROWS
    server = _fresh(setting)
    done = {"Note": 0, "Line": 0}

    def rows_a_second(entity: str) -> float:
        texts = [*lines(entity, worlds.notes(count), first=done[entity])]
        done[entity] += count
        return _import(server, texts, count)

    def after_round(number: int, mine: float, theirs: float) -> None:
        say(f"import round {number}: {mine:.0f} rows/s with search, {theirs:.0f} without")

    for entity in done:
        rows_a_second(entity)
    mine, theirs = alternate(
        lambda: rows_a_second("Note"),
        lambda: rows_a_second("Line"),
        rounds=setting.rounds,
        after_round=after_round,
    )
    server.halt()
    return [
        Measure(
            name=f"import of {count} rows with a search index",
            unit="rows/s",
            ours=tuple(mine),
            peer_name="without",
            peer=tuple(theirs),
            floor=FLOOR,
        )
    ]


def _large(setting: Setting) -> list[Measure]:
    server = _fresh(setting, "large")
    before = memory_kibibytes(server.child.pid)
    forget_peak(server.child.pid)
    rate = _import(server, lines("Task", worlds.tasks(setting.rows)), setting.rows)
    peak = memory_kibibytes(server.child.pid, key="VmHWM")
    server.halt()
    return [
        Measure(name=f"import of {setting.rows} rows", unit="rows/s", ours=(rate,)),
        Measure(
            name=f"peak memory of importing {setting.rows} rows, with the mapped file",
            unit="MiB",
            ours=(peak / 1024,),
            notes={"idle before MiB": before / 1024},
        ),
    ]


def _fresh(setting: Setting, name: str = "import") -> PylonServer:
    server = PylonServer(
        cores=setting.cores.server, load_cores=setting.cores.load, app="data_app.py"
    )
    folder = setting.folder / name
    folder.mkdir()
    server.start(setting.fleet, folder)
    return server


def _import(server: PylonServer, texts: Iterable[bytes], count: int) -> float:
    """Rows a second; it counts only if every row came."""
    done = import_lines(server.port, server.admin_token, texts)
    if done.rows != count:
        raise BenchError(f"{done.rows} of {count} rows were imported")
    return done.rows / done.seconds
