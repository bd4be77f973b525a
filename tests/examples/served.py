"""A `pylon start` process in dev mode for the tests of the examples; it can be killed and started
again on the same port and database."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from pylon import codec

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
_START_SECONDS = 60.0


class ServedApp:
    """One app on one port; the port is chosen at the first start."""

    def __init__(self, app: Path, database: Path) -> None:
        self._app = app
        self._database = database
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        self.log = ""

    @property
    def url(self) -> str:
        """The front page."""
        return f"http://127.0.0.1:{self._port}/"

    def start(self) -> None:
        """Start and wait until it listens."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYLON_")}
        self._process = process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pylon", "start", str(self._app), "--json"),
                *("--host", "127.0.0.1", "--port", str(self._port), "--db", str(self._database)),
            ],
            env={**environment, "PYLON_DEV_MODE": "1", "PYLON_ACCESS_LOG": "0"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        told = _first_line(process.stdout)
        assert told.get("code") == "START_OK", told
        self._port = told["port"]

    def kill(self) -> None:
        """End it with SIGKILL: nothing is written any more."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it with SIGTERM; its exit code."""
        return self._end(signal.SIGTERM)

    def forget(self) -> None:
        """Remove the database, while it is not served."""
        assert self._process is None
        for file in self._database.parent.glob(self._database.name + "*"):
            file.unlink()

    def _end(self, number: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        self._process = None
        process.send_signal(number)
        code = process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
        return code


def _first_line(stream: IO[str]) -> dict[str, Any]:
    """The first line of JSON; bounded, in case none comes."""
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    line = lines.get(timeout=_START_SECONDS)
    assert line, "the server ended without a word; see its stderr"
    told: Any = codec.decode_trusted(line)
    return told if isinstance(told, dict) else {"findings": told}
