"""This tree against another one, as one that was checked out before a change.

    git worktree add --detach /tmp/before REVISION
    python -m bench before --tree /tmp/before [--only get insert live]

Both are started as `pylon start`, each with the app of its own `bench/`, under this interpreter, so
what the other tree needs must be installed. Ratios are new to old; on a machine
with other work on it, look at the user time first. Not part of `all`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.peers.pylon_server import PylonServer
from bench.processes import REPOSITORY, BenchError
from bench.ratio import Measure
from bench.sides import close, pylon_side
from bench.suites import live, rest
from bench.suites.base import Setting, in_each_layout, say

FLOOR = 0.97
"""A change that costs more is explained or undone (CONTRIBUTING.md)."""

PARTS = (*rest.NAMES, "live")


def run(setting: Setting) -> list[Measure]:
    """The asked parts, or all of them."""
    if setting.tree is None or not (setting.tree / "pylon" / "__init__.py").is_file():
        raise BenchError("say with --tree where the other tree is checked out")
    for part in setting.only:
        if part not in PARTS:
            raise BenchError(f"there is no part {part}; there are: {' '.join(PARTS)}")
    tree = setting.tree.resolve()
    asked = setting.only or PARTS
    kinds = [kind for kind in rest.NAMES if kind in asked]

    def both_trees(setting: Setting) -> list[Measure]:
        measures = _rows(setting, tree, kinds) if kinds else []
        if "live" in asked:
            measures += [_live(setting, tree, users) for users in (1, setting.readers)]
        return measures

    return in_each_layout(setting, both_trees)


def _rows(setting: Setting, tree: Path, kinds: Sequence[str]) -> list[Measure]:
    servers = []
    for name, root in (("new", REPOSITORY), ("old", tree)):
        server = PylonServer(cores=setting.cores.server, load_cores=setting.cores.load, tree=root)
        folder = setting.folder / name
        folder.mkdir()
        server.start(setting.fleet, folder)
        say(f"seeding {setting.rows} rows into the {name} tree")
        server.seed(setting.rows)
        servers.append(server)
    measures = []
    for kind in kinds:
        new, old = rest.rounds_of(setting, *(rest.plan_of(server, kind) for server in servers))
        name = f"{rest.NAMES[kind].partition(' (')[0]}, before"
        measures.append(
            Measure(
                name=name,
                unit="/s",
                ours=tuple(sample.rate for sample in new),
                peer_name="the other tree",
                peer=tuple(sample.rate for sample in old),
                floor=FLOOR,
                notes=rest.latency_notes(new, old),
            )
        )
        samples = {rest.OURS: new, "the other tree": old}
        measures.append(rest.user_time(f"{name}, user time", samples, "the other tree"))
    for server in servers:
        server.halt()
    return measures


def _live(setting: Setting, tree: Path, users: int) -> Measure:
    new = pylon_side(setting, users)
    old = pylon_side(setting, users, tree=tree)
    name = f"live, {setting.readers} readers of {users} user(s), before"
    measure = live.compare(setting, name, new, old, "the other tree")
    for side in (new, old):
        close(setting, side)
    return replace(measure, floor=FLOOR)
