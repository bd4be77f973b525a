"""The parent of `pylon dev`: holds the listening sockets, watches the app, changes the server.

Each change starts a new server process, which loads the app while the old one still serves. Only
when that worked is the old one stopped and the new one told to go; connections made in between
wait in the sockets' queues instead of being refused. Not here: what is printed.

    nothing -> preparing -> serving -> preparing (old still serves) -> serving ...
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from pylon import codec
from pylon.cli.dev_schema import Decision, SchemaMark, unreachable
from pylon.cli.loading import Entry
from pylon.http.doors import Doors
from pylon.limits import (
    DEV_CHANGE_QUIET_MILLISECONDS,
    DEV_CHANGES_MILLISECONDS_MAX,
    DEV_LOOK_MILLISECONDS,
    DEV_PREPARE_SECONDS_MAX,
    DEV_STOP_SECONDS_MAX,
)

Report = dict[str, Any]
"""What a server process tells: `state` (see `dev_child`) and what belongs to it."""

WATCHED_SUFFIXES = (".py", ".json", ".toml", ".yaml", ".yml", ".sql")
"""A change of another file (a database, a picture) means nothing to the server."""

WATCHED_NAMES = (".env", ".env.local")
UNWATCHED_FOLDERS = ("node_modules", "public", "__pycache__", "venv")
"""Beside every folder whose name starts with a dot. `public` is read anew at each request."""

_CHILD_PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from pylon.cli.collector import look_seldom; look_seldom(); "
    "from pylon.cli.dev_child import main; main(sys.argv[2])"
)
"""Ctrl-C goes to the whole terminal; the parent decides when this process stops."""


class Told(Struct, frozen=True, kw_only=True):
    """Who is told what happens; the command prints it."""

    serving: Callable[[int, Report], None]
    broken: Callable[[int, Report, bool], None]
    schema: Callable[[Mapping[str, Any]], Decision | None]
    ended: Callable[[int], None]


def is_watched(path: str, folder: Path) -> bool:
    """Whether a change of this file restarts the server."""
    try:
        *folders, name = Path(path).relative_to(folder).parts
    except ValueError:
        return False
    if any(part.startswith(".") or part in UNWATCHED_FOLDERS for part in folders):
        return False
    return name in WATCHED_NAMES or (
        name.endswith(WATCHED_SUFFIXES) and not name.startswith((".", "#"))
    )


class DevServer:
    """Runs until `stop` is set or a signal comes. `environment` is asked anew at each restart, so
    that an edited .env file counts."""

    def __init__(
        self,
        entry: Entry,
        doors: Doors,
        *,
        overrides: Mapping[str, Any],
        environment: Callable[[], Mapping[str, str]],
        told: Told,
        schema_mark: SchemaMark,
        stdout_to_stderr: bool = False,
    ) -> None:
        self.stop = threading.Event()
        self._entry = entry
        self._doors = doors
        self._overrides = dict(overrides)
        self._environment = environment
        self._told = told
        self._schema_mark = schema_mark
        self._stdout_to_stderr = stdout_to_stderr
        self._serving: Child | None = None
        self._builds = 0

    def run(self) -> None:
        """Serve and restart until told to stop."""
        with _signals(self.stop):
            try:
                changes = self._changes()
                next(changes, None)  # From here on no change is missed.
                self._restart()
                for changed in changes:
                    if changed:
                        self._restart()
                    elif self._serving is not None and self._serving.has_ended():
                        self._told.ended(self._serving.exit_code())
                        self._serving = None
                    elif self._schema_mark.has_moved():
                        # By the command that was printed, say; the app may fit now, or no more.
                        self._restart()
            finally:
                if self._serving is not None:
                    self._serving.end()

    def _changes(self) -> Iterator[bool]:
        """True after a change, False when nothing changed for a while."""
        from watchfiles import watch  # It brings anyio; `--help` need not wait for that.

        folder = self._entry.folder
        for changes in watch(
            folder,
            watch_filter=lambda _, path: is_watched(path, folder),
            debounce=DEV_CHANGES_MILLISECONDS_MAX,
            step=DEV_CHANGE_QUIET_MILLISECONDS,
            rust_timeout=DEV_LOOK_MILLISECONDS,
            yield_on_timeout=True,
            stop_event=self.stop,
            raise_interrupt=False,
        ):
            yield bool(changes)

    def _restart(self) -> None:
        try:
            self._change_server()
        finally:
            self._schema_mark.note()

    def _change_server(self) -> None:
        self._builds += 1
        child = self._start_child()
        report = child.report(self.stop)
        if report["state"] != "ready":
            child.end()
            if not self.stop.is_set():
                still_serving = self._serving is not None and not self._serving.has_ended()
                self._told.broken(self._builds, report, still_serving)
            return
        schema = report.get("schema")
        decision = None if schema is None else self._told.schema(schema)
        if schema is not None and schema["blocked"] and decision is None:
            child.end()
            still_serving = self._serving is not None and not self._serving.has_ended()
            self._told.broken(self._builds, unreachable(schema), still_serving)
            return
        if self._serving is not None:
            self._serving.end()
        self._serving = child
        child.go(decision)
        answer = child.report(self.stop)
        if answer["state"] == "listening":
            self._told.serving(self._builds, report)
        elif not self.stop.is_set():
            child.end()
            self._serving = None
            self._told.broken(self._builds, answer, False)

    def _start_child(self) -> Child:
        return Child(
            self._entry,
            self._doors,
            overrides=self._overrides,
            environment=self._environment(),
            stdout_to_stderr=self._stdout_to_stderr,
        )


class Child:
    """One server process and the two pipes to it."""

    def __init__(
        self,
        entry: Entry,
        doors: Doors,
        *,
        overrides: Mapping[str, Any],
        environment: Mapping[str, str],
        stdout_to_stderr: bool,
    ) -> None:
        self._reports, report_fd = os.pipe()
        control_fd, self._control = os.pipe()
        order = {
            "file": str(entry.file),
            "folder": str(entry.folder),
            "overrides": overrides,
            "doors": doors.describe(),
            "report_fd": report_fd,
            "control_fd": control_fd,
        }
        path = codec.encode([each or os.getcwd() for each in sys.path]).decode()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD_PROGRAM, path, codec.encode(order).decode()],
            env=environment,
            pass_fds=(*doors.file_descriptors(), report_fd, control_fd),
            stdout=sys.stderr if stdout_to_stderr else None,
        )
        os.close(report_fd)
        os.close(control_fd)
        self._unread = b""
        self._has_reported = False
        self._ended = False

    def report(self, stop: threading.Event) -> Report:
        """The next report; a `failed` one of our own when none comes."""
        waited = 0.0
        look = DEV_LOOK_MILLISECONDS / 1_000
        while b"\n" not in self._unread:
            if stop.is_set():
                return _failure("STOPPED", "stopped")
            if waited > DEV_PREPARE_SECONDS_MAX:
                return _failure("APP_STUCK", "the app file is still not imported")
            ready, _, _ = select.select([self._reports], [], [], look)
            waited += 0 if ready else look
            if ready:
                chunk = os.read(self._reports, 65_536)
                if not chunk:
                    return _failure("SERVER_FAILED", "the server did not start; see above")
                self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        self._has_reported = True
        report: Report = codec.decode_trusted(line)
        return report

    def go(self, decision: Decision | None) -> None:
        """It is its turn to serve, after the steps in `decision`."""
        # A child that is gone already is told of by its next report.
        with _ignoring_broken_pipe():
            os.write(self._control, codec.encode(decision) + b"\n")

    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def exit_code(self) -> int:
        """The exit code of a process that is gone."""
        return self._process.wait()

    def end(self) -> None:
        """Stop it gracefully, and by force when that takes too long. One that still imports the app
        has nothing to finish and does not read its pipe: that one by force at once."""
        if self._ended:
            return
        self._ended = True
        os.close(self._control)
        if not self._has_reported:
            self._process.kill()
        try:
            self._process.wait(DEV_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._reports)


def _failure(code: str, message: str) -> Report:
    finding = {"severity": "error", "code": code, "message": message}
    return {"state": "failed", "findings": [finding], "traceback": None}


@contextmanager
def _ignoring_broken_pipe() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        return


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set `stop` while the block runs."""
    numbers: Iterable[signal.Signals] = (signal.SIGINT, signal.SIGTERM)
    before = [(number, signal.signal(number, lambda *_: stop.set())) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
