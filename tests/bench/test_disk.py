"""The probe of the disk writes over and over within one file."""

from __future__ import annotations

from pathlib import Path

from bench.disk import BLOCK_BYTES, BLOCKS, Probe


def test_the_file_never_grows_and_one_write_is_enough(tmp_path: Path) -> None:
    probe = Probe(tmp_path)
    assert probe.milliseconds(seconds=0) > 0
    probe.milliseconds(seconds=0.02)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size == BLOCK_BYTES * BLOCKS
