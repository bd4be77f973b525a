"""Long-running `pylon` processes that tell in lines of JSON what they do."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pylon import codec
from tests.cli.conftest import clean_environment

ANSWER_SECONDS = 60.0


class Running:
    """A process, the records on its stdout, and its stderr as far as it is read."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], environment: dict[str, str]):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pylon", *arguments, "--json"],
            cwd=folder,
            env=clean_environment(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._records: queue.Queue[Any] = queue.Queue()
        self._stderr: list[str] = []
        self._threads = [
            threading.Thread(target=self._read_records, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def record(self) -> Any:
        """The next record; fails when the process ends or is silent for too long."""
        record = self._records.get(timeout=ANSWER_SECONDS)
        assert record is not None, f"it ended: {self.stderr()}"
        return record

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the exit code."""
        code = self.process.wait(ANSWER_SECONDS)
        for thread in self._threads:
            thread.join(ANSWER_SECONDS)
        return code

    def stderr(self) -> str:
        """What it said on stderr so far."""
        return "".join(self._stderr)

    def _read_records(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self._records.put(codec.decode_trusted(line))
        self._records.put(None)

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            self._stderr.extend(stream)


@contextmanager
def running(folder: Path, *arguments: str, **environment: str) -> Iterator[Running]:
    """A `pylon` process in that folder; killed at the end if it is still there."""
    started = Running(folder, arguments, environment)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
        started.wait()
