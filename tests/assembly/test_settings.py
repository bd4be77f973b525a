"""Every setting is read by somebody."""

from __future__ import annotations

import ast
from pathlib import Path

from pylon.config import SETTINGS


def test_every_field_of_the_settings_is_read() -> None:
    """A setting that nobody reads is a promise that nobody keeps."""
    root = Path(__file__).parents[2] / "pylon"
    read = {
        node.attr
        for path in root.rglob("*.py")
        if path.name != "config.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    own = {"dev_allow_remote"}  # only decides what `validate` refuses
    assert {setting.field for setting in SETTINGS} - read - own == set()
