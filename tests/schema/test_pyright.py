"""The Python form as an editor sees it: clean under pyright strict, and mistakes are found.

Skipped by name where pyright or its node cannot run.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pylon import codec
from pylon.errors import PylonError

ROOT = Path(__file__).parents[2]

MISTAKES = """
Todo(titel="x")  # wrong
Todo(title=3)  # wrong
Audit(what="x", todoId=Id[User]("x"))  # wrong


class Bad(Entity):
    n: int = field(default="x")  # wrong
    m: int = field(default=auth.userId)
"""

ROWS = """

item = Item(name="x", price=Decimal("1"), tags=["a"])
total: Decimal = item.price + 1
first: str = item.tags[0]
state: Literal["new", "old"] = item.state
when: datetime = item.createdAt
Item(name=3)  # wrong
Item(name="x", state="odd")  # wrong
Item(name="x", tags=[1])  # wrong
Item(name="x", createdAt=when)  # wrong
"""


def errors_of(folder: Path) -> list[dict[str, Any]]:
    """What `pyright --strict` says about the files of a folder."""
    settings = {
        "typeCheckingMode": "strict",
        "include": ["."],
        "pythonVersion": "3.11",
        "extraPaths": [str(ROOT)],
    }
    (folder / "pyrightconfig.json").write_text(codec.encode_pretty(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    command += ["-p", str(folder)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        report = codec.decode(result.stdout)
        assert report["summary"]["filesAnalyzed"] > 0
    except (OSError, PylonError, subprocess.TimeoutExpired) as problem:
        pytest.skip(f"pyright cannot run here: {problem}")
    found: list[dict[str, Any]] = report["generalDiagnostics"]
    return found


def test_the_sample_is_clean_and_mistakes_are_found(tmp_path: Path) -> None:
    sample = (ROOT / "tests" / "schema" / "sample_app.py").read_text()
    (tmp_path / "clean.py").write_text(sample)
    wrong = sample + MISTAKES
    (tmp_path / "wrong.py").write_text(wrong)
    found = errors_of(tmp_path)
    assert [one for one in found if one["file"].endswith("clean.py")] == []
    lines = {one["range"]["start"]["line"] for one in found}
    marked = [n for n, line in enumerate(wrong.splitlines()) if re.search(r"# wrong$", line)]
    assert sorted(lines) == marked


def test_rows_have_the_types_of_their_fields(tmp_path: Path) -> None:
    source = (ROOT / "tests" / "blackbox" / "types_app.py").read_text() + ROWS
    (tmp_path / "rows.py").write_text(source)
    lines = {one["range"]["start"]["line"] for one in errors_of(tmp_path)}
    marked = [n for n, line in enumerate(source.splitlines()) if line.endswith("# wrong")]
    assert sorted(lines) == marked


def test_the_examples_are_clean(tmp_path: Path) -> None:
    for app in (*ROOT.glob("examples/*/app.py"), *ROOT.glob("pylon/cli/templates/*/app.py")):
        folder = tmp_path / f"{app.parent.parent.name}_{app.parent.name}"
        folder.mkdir()
        (folder / "app.py").write_text(app.read_text())
    assert errors_of(tmp_path) == []
