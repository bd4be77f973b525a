"""Child processes that never outlive the run: started pinned, waited for, killed at the end.

A `Fleet` is a context manager; leaving it, for whatever reason, ends every child and its process
group. On Linux the kernel also kills them should this process be killed itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

REPOSITORY = Path(__file__).resolve().parent.parent
STOP_SECONDS = 5.0
READY_SECONDS = 30.0
PORTS_FIRST = 20_000
PORTS_COUNT = 10_000
PR_SET_PDEATHSIG = 1
DESCRIPTORS_SPARE = 200
BYTECODE_KEPT = {"PYTHONDONTWRITEBYTECODE": ""}
"""An installed package is compiled; a shell that forbids it would have each start compile anew."""

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class BenchError(Exception):
    """The run cannot go on; the message says why and shows the child's last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A running child, its log and, when asked for, its pipes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    began: float

    @property
    def pid(self) -> int:
        return self.process.pid

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:]

    def ask(self, line: str) -> Any:
        """Write a line to its stdin, read a line of JSON from its stdout."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(line.encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise BenchError(f"{self.name} is gone:\n{self.last_words()}") from None
        return read_json_line(self, stdout)


class Fleet:
    """All children of a run, in `folder` (their logs and data)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: list[Child] = []

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in reversed(self._children):
            stop(child)
        self._children.clear()

    def spawn(
        self,
        name: str,
        command: Sequence[str],
        *,
        cores: AbstractSet[int],
        environment: Mapping[str, str] | None = None,
        pipes: bool = False,
        folder: Path = REPOSITORY,
    ) -> Child:
        """Start `command` in `folder`, pinned to `cores`; stdout goes to the log unless `pipes`."""
        began = time.perf_counter()
        log = self.folder / f"{name}-{len(self._children)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **BYTECODE_KEPT, **(environment or {})},
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else output,
                stderr=output,
                start_new_session=True,
                preexec_fn=lambda: _prepare_child(cores),
            )
        child = Child(name=name, process=process, log=log, began=began)
        self._children.append(child)
        return child

    def stop(self, child: Child) -> None:
        """End one child now."""
        stop(child)
        self._children.remove(child)


def stop(child: Child) -> None:
    """SIGTERM, a wait, SIGKILL; the whole process group, so that no grandchild stays."""
    for pipe in (child.process.stdin, child.process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        try:
            child.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        if number is signal.SIGKILL:
            return


def read_json_line(child: Child, stream: IO[bytes]) -> Any:
    """The next line of `stream` as JSON; blank lines are skipped."""
    for line in stream:
        if line.strip():
            return json.loads(line)
    raise BenchError(f"{child.name} ended early:\n{child.last_words()}")


def free_port(*, span: int = 1) -> int:
    """A port of the loopback address such that it and the `span - 1` after it are free.

    Below the range that the system gives to outgoing connections, of which the load has many.
    """
    for _ in range(100):
        port = PORTS_FIRST + secrets.randbelow(PORTS_COUNT)
        if all(_is_free(port + step) for step in range(span)):
            return port
    raise BenchError("no free ports on the loopback address")


def wait_answer(child: Child, port: int, path: str) -> float:
    """Poll until `path` answers 200; seconds from the fork to then, to about 1 ms."""
    while (seconds := time.perf_counter() - child.began) < READY_SECONDS:
        if child.process.poll() is not None:
            break
        if _answers(port, path):
            return seconds
        time.sleep(0.001)
    raise BenchError(f"{child.name} does not answer on port {port}:\n{child.last_words()}")


def call(
    port: int,
    method: str,
    path: str,
    *,
    body: object = None,
    token: str | None = None,
    source: str = "127.0.0.1",
) -> tuple[int, Any, list[tuple[str, str]]]:
    """One HTTP request for setting up; status, decoded JSON or None, headers."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=30, source_address=(source, 0)
    )
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        payload = json.dumps(body).encode() if body is not None else None
        connection.request(method, path, body=payload, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(content) if content.strip() else None, answer.getheaders()


def expect(
    port: int,
    method: str,
    path: str,
    *,
    body: object = None,
    token: str | None = None,
    source: str = "127.0.0.1",
) -> Any:
    """As `call`, but anything outside 2xx ends the run."""
    status, content, _ = call(port, method, path, body=body, token=token, source=source)
    if not 200 <= status < 300:
        raise BenchError(f"{method} {path} answered {status}: {content}")
    return content


def memory_kibibytes(pid: int, *, key: str = "VmRSS") -> int:
    """Resident memory of a process, or 0 where /proc is absent; `VmHWM` is its highest since
    the start or the last `forget_peak`."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    return 0


def forget_peak(pid: int) -> None:
    """Make `VmHWM` begin anew, where the system can."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, user and system; 0 where /proc is absent."""
    return sum(_ticks(pid)) / os.sysconf("SC_CLK_TCK")


def user_seconds(pid: int) -> float:
    """The same without what the kernel did for it, to a hundredth of a second."""
    return _ticks(pid)[0] / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> tuple[int, int]:
    """Of user and system time."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0
    return int(fields[11]), int(fields[12])


def sockets_possible() -> int:
    """Sockets that one child may have open: the hard limit of descriptors, less a few others."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard - DESCRIPTORS_SPARE


def thread_seconds(pid: int) -> float:
    """The same for all threads that live, to the nanosecond where the kernel keeps count."""
    try:
        files = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
        return sum(int(file.read_text().split()[0]) for file in files) / 1e9
    except OSError:
        return cpu_seconds(pid)


def _prepare_child(cores: AbstractSet[int]) -> None:
    # Before exec, because Go counts its cores when it starts.
    if cores:
        os.sched_setaffinity(0, cores)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _answers(port: int, path: str) -> bool:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(request)
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
