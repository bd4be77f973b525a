"""docs/cli.md says everything that the command can do."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from pylon.cli.command import COMMANDS, pylon_command

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*COMMANDS])
def test_every_command_and_option_is_documented(name: str) -> None:
    assert f"pylon {name}" in DOCUMENT
    assert isinstance(pylon_command, click.Group)
    found = pylon_command.get_command(click.Context(pylon_command), name)
    assert found is not None
    for parameter in found.params:
        if isinstance(parameter, click.Option):
            assert f"`{parameter.opts[-1]}" in DOCUMENT, parameter.opts


def test_every_code_of_the_command_is_documented() -> None:
    codes: set[str] = set()
    for file in (ROOT / "pylon" / "cli").glob("*.py"):
        codes.update(
            re.findall(
                r'"((?:APP|INIT|DEV|START|DB|SERVER|MANIFEST)_[A-Z_]+)"', file.read_text("utf-8")
            )
        )
    codes -= {code for code in codes if code.startswith("PYLON")}
    assert "INIT_OK" in codes
    assert {code for code in codes if code not in DOCUMENT} == set()
