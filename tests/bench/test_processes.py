"""Children are waited for, answer in lines, and never outlive the fleet."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from bench.processes import BenchError, Fleet, free_port, memory_kibibytes, wait_answer

ECHO = "import sys\nfor line in sys.stdin: print('{\"said\":\"' + line.strip() + '\"}', flush=True)"
FAMILY = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print('{\"pid\":%d}' % child.pid, flush=True)\n"
    "time.sleep(60)"
)


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or dead and not yet reaped, within a few seconds."""
    for _ in range(250):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


def test_a_child_answers_lines(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        child = fleet.spawn("echo", [sys.executable, "-c", ECHO], cores=frozenset(), pipes=True)
        assert child.ask("hello") == {"said": "hello"}
        assert memory_kibibytes(child.pid) > 0
    assert child.process.poll() is not None


def test_grandchildren_end_with_the_fleet_after_an_error(tmp_path: Path) -> None:
    grandchild = 0
    with pytest.raises(RuntimeError), Fleet(tmp_path) as fleet:  # noqa: PT012
        child = fleet.spawn("family", [sys.executable, "-c", FAMILY], cores=frozenset(), pipes=True)
        grandchild = child.ask("")["pid"]
        raise RuntimeError
    assert has_ended(grandchild)


def test_a_child_that_ends_early_shows_its_last_words(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        command = [sys.executable, "-c", "raise SystemExit('no luck')"]
        child = fleet.spawn("bad", command, cores=os.sched_getaffinity(0))
        with pytest.raises(BenchError, match="no luck"):
            wait_answer(child, free_port(span=4), "/")
