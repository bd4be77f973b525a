"""Runs the commands of a page in one shell and holds their answers against the page.

A `console` block is lines `$ command`, each followed by what it prints: `…` stands for any text,
and blanks and line ends mean nothing. Called by the tests of pages here.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cli.conftest import clean_environment

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
_ID = re.compile(r"\b([0-9a-f]{40}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")
_END = "--- end of the answer ---"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block, and the paragraph before it, which may name a file."""

    language: str
    text: str
    before: str


def blocks(page: str) -> list[Block]:
    """The blocks of a page in their order."""
    found = []
    for match in _FENCE.finditer(page):
        before = page[: match.start()].rstrip().rpartition("\n\n")[2]
        found.append(Block(language=match[1], text=match[2], before=before))
    return found


def commands(console: str) -> list[tuple[str, str]]:
    """Each command of a `console` block with what it is to print."""
    parts = re.split(r"^\$ ", console, flags=re.M)
    assert not parts[0].strip(), f"begins without a command: {parts[0]}"
    found = []
    for part in parts[1:]:
        lines = part.splitlines()
        command = lines.pop(0)
        while command.endswith("\\"):
            command = f"{command[:-1]} {lines.pop(0).strip()}"
        found.append((command, "\n".join(lines)))
    return found


def fits(printed: str, expected: str) -> bool:
    """Whether an answer is what the page says, but for `…`, ids, blanks and line ends."""
    pattern = ".*".join(re.escape(_plain(part)) for part in expected.split("…"))
    return re.fullmatch(pattern, _plain(printed), re.S) is not None


def _plain(text: str) -> str:
    return re.sub(r"\s+", "", _ID.sub("ID", text))


class Shell:
    """One bash, so that what a command sets is there for those after it.

    `pylon` is this tree's, and every address of a page, whose port is 4321, is the server's.
    """

    def __init__(self, folder: Path, *, port: int, env: Mapping[str, str] | None = None) -> None:
        self._port = port
        # `python3` on a page is the one that Pylon is installed in.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env={**clean_environment(env), "NO_COLOR": "1", "PATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        pylon = f"{shlex.quote(sys.executable)} -m pylon"
        there = f'import|export) {pylon} "$@" --url http://127.0.0.1:{port}'
        self.run(f'pylon() {{ case "$1" in {there};; *) {pylon} "$@";; esac; }}')

    def run(self, command: str) -> str:
        """What a command prints on either stream."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        command = re.sub(r"\b(localhost|127\.0\.0\.1):4321\b", rf"127.0.0.1:{self._port}", command)
        stdin.write(f"{command}\nprintf '\\n%s\\n' '{_END}'\n")
        stdin.flush()
        lines: list[str] = []
        for line in stdout:
            if line.rstrip("\n") == _END:
                return "".join(lines).strip("\n")
            lines.append(line)
        raise AssertionError(f"the shell ended at: {command}\n{''.join(lines)}")

    def check(self, console: str) -> None:
        """Run a block; every answer has to be the page's."""
        for command, expected in commands(console):
            printed = self.run(command)
            assert fits(printed, expected), (
                f"$ {command}\nthe page says:\n{expected}\nit printed:\n{printed}"
            )

    def close(self) -> None:
        """End the shell."""
        self._process.communicate("exit\n", timeout=60)
