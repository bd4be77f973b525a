"""What the program can say is documented: every error code that anybody may meet."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
ERRORS_PAGE = ROOT / "docs" / "reference" / "errors.md"

CODE_POSITION = {"PylonError": 1, "HttpError": 1, "ConfigError": 0, "_refuse": 1, "_fail": 1}
"""At which argument each constructor takes its code."""


def raised_codes() -> Iterator[str]:
    """Every literal code in the source."""
    for file in (ROOT / "pylon").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            position = CODE_POSITION.get(name)
            if position is None or len(node.args) <= position:
                continue
            argument = node.args[position]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield argument.value


def documented_codes() -> set[str]:
    rows = [line for line in ERRORS_PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    return {row.split("`")[1] for row in rows}


def test_every_error_code_is_documented() -> None:
    missing = sorted(set(raised_codes()) - documented_codes())
    assert not missing, f"add to docs/reference/errors.md: {missing}"
