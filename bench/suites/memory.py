"""Memory: idle after start, for each idle socket, after load; and while and after a large import.

The first three are resident memory, against PocketBase. The others are the anonymous part, which
the system cannot take back as it can the mapped pages of a file; nobody else imports such lines, so
they are held against the same server before. One pass each: there is no spread to print.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType

from bench import worlds
from bench.imports import import_lines, lines
from bench.load import check_plan, play
from bench.peers.pocketbase import PocketBase
from bench.peers.pylon_server import PylonServer
from bench.processes import memory_kibibytes
from bench.ratio import Measure
from bench.sides import open_readers
from bench.suites.base import Setting, say

SETTLE_SECONDS = 2.0
SAMPLE_SECONDS = 0.02
IMPORTED_ROWS, IMPORTED_ROWS_QUICK = 300_000, 30_000


def run(setting: Setting) -> list[Measure]:
    """One pass: memory does not vary from round to round as speed does."""
    server = PylonServer(cores=setting.cores.server, load_cores=setting.cores.load)
    server.start(setting.fleet, setting.folder)
    tokens = [server.mint(f"reader_{number}") for number in range(setting.readers)]
    ours = _measure(setting, server, tokens, [])
    peer: list[float] = []
    if setting.with_peer:
        rival = PocketBase(cores=setting.cores.server, request_log=setting.peer_log)
        rival.start(setting.fleet, setting.folder)
        peer = _measure(setting, rival, [rival.token], ["--sse-topic", "posts/*"])
    names: tuple[tuple[str, str, dict[str, float | int | str]], ...] = (
        ("memory idle after start", "MiB", {}),
        (
            f"memory for each of {setting.readers} idle sockets",
            "KiB",
            {"aim": "under 20 kB beyond the kernel's"},
        ),
        (f"memory after seeding {setting.rows} rows and reading them", "MiB", {}),
    )
    setting.fleet.stop(server.child)
    return [
        *(
            Measure(
                name=name,
                unit=unit,
                ours=(ours[place],),
                peer_name="pocketbase" if peer else "",
                peer=(peer[place],) if peer else (),
                better="less",
                notes=notes,
            )
            for place, (name, unit, notes) in enumerate(names)
        ),
        *_measure_import(setting),
    ]


def _measure(
    setting: Setting, server: PylonServer | PocketBase, tokens: list[str], more: list[str]
) -> list[float]:
    time.sleep(SETTLE_SECONDS)
    idle = memory_kibibytes(server.child.pid)
    readers = open_readers(setting, server.port, tokens, more=more)
    time.sleep(SETTLE_SECONDS)
    with_sockets = memory_kibibytes(server.child.pid)
    setting.fleet.stop(readers)
    server.seed(setting.rows)
    plan = server.get_plan()
    check_plan(plan)
    play(setting.fleet, plan, seconds=setting.seconds, cores=setting.cores.load)
    after = memory_kibibytes(server.child.pid)
    say(f"{server.name}: idle {idle} KiB, with sockets {with_sockets} KiB, after load {after} KiB")
    return [idle / 1024, max(0.0, with_sockets - idle) / setting.readers, after / 1024]


class Highest:
    """The highest anonymous memory of a process while the block runs, in KiB.

    Sampled: the kernel keeps a high-water mark of resident memory only, with the mapped file in it.
    """

    def __init__(self, pid: int) -> None:
        self.kibibytes = 0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Highest:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.kibibytes = max(self.kibibytes, _anonymous(self._pid))


def _measure_import(setting: Setting) -> list[Measure]:
    """Notes, each a text of twelve words with a search index, streamed over HTTP."""
    count = IMPORTED_ROWS_QUICK if setting.quick else IMPORTED_ROWS
    folder = setting.folder / "import"
    folder.mkdir()
    server = PylonServer(
        cores=setting.cores.server, load_cores=setting.cores.load, app="data_app.py"
    )
    server.start(setting.fleet, folder)
    pid = server.child.pid
    time.sleep(SETTLE_SECONDS)
    idle = _anonymous(pid)
    with Highest(pid) as highest:
        done = import_lines(server.port, server.admin_token, lines("Note", worlds.notes(count)))
    time.sleep(SETTLE_SECONDS)
    after = _anonymous(pid)
    say(
        f"anonymous: idle {idle} KiB, at most {highest.kibibytes} KiB while {done.rows} rows were"
        f" imported in {done.seconds:.0f} s, {after} KiB afterwards"
    )
    setting.fleet.stop(server.child)
    rows: tuple[tuple[str, int, dict[str, float | int | str]], ...] = (
        (f"anonymous after importing {count} rows", after, {"aim": "at most 60 MB"}),
        (f"anonymous while importing {count} rows", highest.kibibytes, {}),
    )
    return [
        Measure(
            name=name,
            unit="MiB",
            ours=(kibibytes / 1024,),
            peer_name="itself, idle",
            peer=(idle / 1024,),
            better="less",
            notes=notes,
        )
        for name, kibibytes, notes in rows
    ]


def _anonymous(pid: int) -> int:
    return memory_kibibytes(pid, key="RssAnon")
