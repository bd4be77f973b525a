"""`pylon manifest`: the JSON, or everything that is wrong."""

from __future__ import annotations

from pathlib import Path

from pylon import codec
from pylon.schema.parse import parse_manifest
from tests.cli.conftest import BROKEN_TYPES, WORKING, RunPylon


def test_it_prints_what_can_be_read_again(pylon: RunPylon, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(WORKING + "\nprint('noise')")
    done = pylon("manifest")
    assert done.returncode == 0
    manifest, findings = parse_manifest(done.stdout)
    assert findings == []
    assert manifest is not None
    assert manifest.name == "notes"
    assert codec.decode(pylon("manifest", "--json").stdout) == codec.decode(done.stdout)


def test_every_mistake_is_told(pylon: RunPylon, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(BROKEN_TYPES)
    done = pylon("manifest")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("error[") == 2
    findings = codec.decode(pylon("manifest", "--json").stdout)
    assert len(findings) == 2


def test_a_broken_app_file_shows_no_frame_of_ours(pylon: RunPylon, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("1 / 0")
    done = pylon("manifest")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "pylon/cli" not in done.stderr
    assert "APP_FAILED" in done.stderr


def test_no_app_is_a_usage_error(pylon: RunPylon) -> None:
    assert pylon("manifest").returncode == 64
