"""`pylon dev` as a reader of the pages sees it: what it prints tells when a version is served."""

from __future__ import annotations

import queue
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.cli.conftest import clean_environment

ANSWER_SECONDS = 60.0


class Dev:
    """`pylon dev` in a folder, on a port of its own."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pylon", "dev", "--port", str(port)],
            cwd=folder,
            env={**clean_environment(), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.first = self.wait_until_served()
        self.port = int(self._wait_for(r"Page +http://127\.0\.0\.1:(\d+)/")[1])

    def wait_until_served(self) -> str:
        """Wait for the next version; the line that tells of it."""
        told = self._wait_for(r"^\[\d+\] (OK|FAILED).*")
        assert told[1] == "OK", told[0]
        return told[0]

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(ANSWER_SECONDS)
        self._reader.join(ANSWER_SECONDS)

    def _wait_for(self, pattern: str) -> re.Match[str]:
        while True:
            found = re.search(pattern, self._lines.get(timeout=ANSWER_SECONDS))
            if found is not None:
                return found

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self._lines.put(line.rstrip("\n"))
