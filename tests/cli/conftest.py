"""The command as users run it: a process with its own environment and folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

RunPylon = Callable[..., "subprocess.CompletedProcess[str]"]

BROKEN_TYPES = """
from pylon import App, Entity, auth, data
app = App("broken")

@app.entity
class Note(Entity):
    text: complex
    other: bytes
"""

WORKING = """
from pylon import App, Entity, auth
app = App("notes", "1.2.3")

@app.entity
class Note(Entity):
    text: str

    class policy:
        allow = auth.userId != None
"""


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without settings of ours."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYLON_", "NO_COLOR"))}
    return {**kept, **(extra or {})}


@pytest.fixture
def pylon(tmp_path: Path) -> RunPylon:
    """Run `pylon` with arguments, in an empty folder."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pylon", *arguments],
            cwd=tmp_path,
            env=clean_environment(environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
