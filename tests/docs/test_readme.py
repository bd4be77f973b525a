"""README.md: the app of fifteen lines works as pasted, and the pages that it names are there."""

from __future__ import annotations

from pathlib import Path

from tests.docs.dev import Dev
from tests.docs.shell import Shell, blocks, commands, fits

README = Path(__file__).parents[2] / "README.md"


def test_the_first_app_works_as_pasted(tmp_path: Path) -> None:
    shown = blocks(README.read_text("utf-8"))
    (code,) = [each.text for each in shown if each.language == "python"]
    (console,) = [each.text for each in shown if each.language == "console"]
    (tmp_path / "app.py").write_text(code)
    (start, told), *typed = commands(console)
    assert start == "pylon dev"
    dev = Dev(tmp_path)
    try:
        assert dev.first == told
        shell = Shell(tmp_path, port=dev.port)
        try:
            for command, expected in typed:
                printed = shell.run(command)
                assert fits(printed, expected), (command, printed)
        finally:
            shell.close()
    finally:
        dev.stop()
