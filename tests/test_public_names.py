"""What `import pylon` offers: every name is there, listed, shown by `help`, and typed."""

from __future__ import annotations

import ast
import pydoc
from pathlib import Path

import pytest

import pylon

SOURCE = ast.parse((Path(pylon.__file__)).read_text(encoding="utf-8"))


def test_every_name_is_there_and_known_to_type_checkers() -> None:
    typed = {
        alias.asname or alias.name
        for node in ast.walk(SOURCE)
        if isinstance(node, ast.If)
        for inner in node.body
        if isinstance(inner, ast.ImportFrom)
        for alias in inner.names
    }
    assert set(pylon.__all__) == typed
    for name in pylon.__all__:
        assert getattr(pylon, name) is not None
        assert name in dir(pylon)


def test_help_shows_them() -> None:
    shown = pydoc.plain(pydoc.render_doc(pylon))
    for name in ("class App", "class Entity", "class Expression", "field(", "relation(", "now ="):
        assert name in shown


def test_a_name_that_is_none_is_told_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match="Did you mean 'field'"):
        pylon.Feild  # noqa: B018
