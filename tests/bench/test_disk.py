"""The probe of the disk writes over and over within one file, and answers as a child."""

from __future__ import annotations

from pathlib import Path

from bench.disk import BLOCK_BYTES, BLOCKS, DiskFloor, Probe
from bench.processes import Fleet


def test_the_file_never_grows_and_one_write_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "probe"
    probe = Probe(file)
    assert probe.milliseconds(0) > 0
    probe.milliseconds(0.02)
    assert file.stat().st_size == BLOCK_BYTES * BLOCKS


def test_the_child_answers_each_time(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        floor = DiskFloor(fleet, tmp_path, cores=frozenset())
        assert floor.milliseconds(0) > 0
        assert floor.milliseconds(0) > 0
