"""docs/cli.md says everything that the command can do."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from pylon.cli.command import COMMANDS, pylon_command
from tests.cli.conftest import RunPylon

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
ELSEWHERE = "".join(
    (ROOT / "docs" / page).read_text("utf-8")
    for page in ("evolution.md", "backup.md", "schema.md", "policies.md")
)
"""The pages that docs/cli.md names for the codes of some commands."""

DOCUMENT = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*COMMANDS])
def test_every_command_and_option_is_documented(name: str) -> None:
    assert f"pylon {name}" in DOCUMENT
    assert isinstance(pylon_command, click.Group)
    found = pylon_command.get_command(click.Context(pylon_command), name)
    assert found is not None
    for command in (found, *(found.commands.values() if isinstance(found, click.Group) else ())):
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert any(f"`{option}" in DOCUMENT for option in parameter.opts), parameter.opts


@pytest.mark.parametrize(
    "page", [README, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_apps_in_the_documentation_are_in_order(
    pylon: RunPylon, tmp_path: Path, page: Path
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    for code in blocks:
        if "App(" in code and "@app.entity" in code:
            (tmp_path / "app.py").write_text(code)
            checked = pylon("schema", "check")
            assert "SCHEMA_OK" in checked.stdout, checked.stdout + checked.stderr


def test_every_code_of_the_command_is_documented() -> None:
    codes: set[str] = set()
    for file in (ROOT / "pylon" / "cli").glob("*.py"):
        codes.update(
            re.findall(
                r'"((?:APP|INIT|DEV|START|DB|SERVER|MANIFEST)_[A-Z_]+)"', file.read_text("utf-8")
            )
        )
        # What is printed as a failure or a finding, whatever it begins with.
        raised = r'(?:fail|[eE]rror|warning)\(\s*"([A-Z]+_[A-Z_]+)"'
        told = re.findall(raised, file.read_text("utf-8"))
        codes.update(code for code in told if code not in ELSEWHERE)
    codes -= {code for code in codes if code.startswith("PYLON")}
    assert "INIT_OK" in codes
    assert {code for code in codes if code not in DOCUMENT} == set()
