"""What a suite is given: a part for each layout, with cores and a folder of its own."""

from __future__ import annotations

from pathlib import Path

from bench.machine import divide_cores
from bench.processes import Fleet
from bench.ratio import Measure
from bench.suites.base import Setting, in_each_layout


def setting_in(folder: Path, *, available: frozenset[int] = frozenset({0, 1})) -> Setting:
    layouts = divide_cores(available)
    return Setting(
        fleet=Fleet(folder),
        folder=folder,
        layouts=layouts,
        cores=layouts[0],
        rounds=2,
        seconds=0.2,
        rows=40,
        readers=2,
        connections=2,
        with_peer=False,
        peer_log=False,
    )


def test_each_layout_gives_every_measure_a_row(tmp_path: Path) -> None:
    seen = []

    def part(setting: Setting) -> list[Measure]:
        seen.append((setting.cores.server, setting.cores.load, setting.folder.is_dir()))
        return [Measure(name="m", unit="/s", ours=(1.0,))]

    found = in_each_layout(setting_in(tmp_path), part)
    assert [(measure.name, measure.cores) for measure in found] == [("m", "pinned"), ("m", "free")]
    assert seen == [({0}, {1}, True), (set(), set(), True)]


def test_one_core_gives_one_row(tmp_path: Path) -> None:
    def part(setting: Setting) -> list[Measure]:
        return [Measure(name="m", unit="/s", ours=(1.0,))]

    found = in_each_layout(setting_in(tmp_path, available=frozenset({0})), part)
    assert [measure.cores for measure in found] == ["free"]
