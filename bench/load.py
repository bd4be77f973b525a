"""Plans of requests and the generators that play them: wrk, or our own where wrk is absent.

Both get the same raw request bytes, so they load both sides of a ratio alike. A plan is checked
once by hand before it is played: a fast stream of errors must not look like a good figure. A paced
caller plays a plan at a fixed rate beside something else.
"""

from __future__ import annotations

import http.client
import io
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BenchError, Child, Fleet, read_json_line, user_seconds
from bench.ratio import Sample

CONNECTIONS = 32
GRACE_SECONDS = 20.0
"""How much longer than its load a generator may live."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Raw HTTP/1.1 requests that are sent round and round on each connection, one at a time."""

    name: str
    port: int
    requests: tuple[bytes, ...]
    expect: int = 200
    pid: int = 0
    """The server's process, where its user time is wanted."""


def request_bytes(
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> bytes:
    """One request as it goes on the wire, with `Host` and, where it has a body, its length."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def send_raw(port: int, request: bytes) -> bytes:
    """Send one request and return the raw answer, read until it is whole."""
    request = request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        while chunk := connection.recv(65_536):
            answer += chunk
    return answer


def split_answer(raw: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of a raw HTTP/1.1 answer, however its body is delimited."""
    answer = http.client.HTTPResponse(_Bytes(raw))  # type: ignore[arg-type]
    answer.begin()
    return answer.status, answer.getheaders(), answer.read()


class _Bytes:
    """As much of a socket as `HTTPResponse` wants."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)


def check_plan(plan: Plan) -> bytes:
    """Play the first and the last request once; the first raw answer."""
    answers = [send_raw(plan.port, request) for request in (plan.requests[0], plan.requests[-1])]
    for answer in answers:
        if not answer.startswith(f"HTTP/1.1 {plan.expect} ".encode()):
            raise BenchError(f"{plan.name}: expected {plan.expect}, got {answer[:600]!r}")
    return answers[0]


def play(
    fleet: Fleet,
    plan: Plan,
    *,
    seconds: float,
    cores: AbstractSet[int],
    connections: int = CONNECTIONS,
) -> Sample:
    """Play `plan` for `seconds`; more than 0.1 % of bad answers ends the run."""
    command = _wrk_command if shutil.which("wrk") else _own_command
    used = user_seconds(plan.pid) if plan.pid else 0.0
    output = _run(
        fleet, command(fleet.folder, plan, connections, seconds), cores, seconds + GRACE_SECONDS
    )
    used = user_seconds(plan.pid) - used if plan.pid else 0.0
    sample = parse_result(output, used_seconds=used)
    if not sample.rate:
        raise BenchError(f"{plan.name}: not one answer in {seconds:g} s (is the machine idle?)")
    if sample.errors > sample.rate * seconds * 0.001:
        raise BenchError(f"{plan.name}: {sample.errors} bad answers at {sample.rate:.0f}/s")
    return sample


def send_all(
    fleet: Fleet, requests: Sequence[bytes], *, port: int, cores: AbstractSet[int]
) -> None:
    """Send each request exactly once (seeding); any bad answer ends the run."""
    plan = Plan(name="seed", port=port, requests=tuple(requests))
    command = [*_own_command(fleet.folder, plan, CONNECTIONS * 2, 600.0), "--once"]
    sample = parse_result(_run(fleet, command, cores, 600.0 + GRACE_SECONDS))
    if sample.errors:
        raise BenchError(f"seeding port {port}: {sample.errors} requests were refused")


def open_paced(fleet: Fleet, plan: Plan, *, rate: float, cores: AbstractSet[int]) -> Child:
    """A caller at a fixed rate (`bench.paced`); `felt` tells what came of it."""
    file = fleet.folder / "paced.json"
    file.write_text(json.dumps([request.decode("latin-1") for request in plan.requests]))
    child = fleet.spawn(
        "paced",
        [
            *(sys.executable, "-m", "bench.paced", "--port", str(plan.port)),
            *("--plan", str(file), "--rate", str(rate)),
        ],
        cores=cores,
        pipes=True,
    )
    assert child.process.stdout is not None
    read_json_line(child, child.process.stdout)
    return child


def felt(caller: Child, *, order: str = "mark") -> Sample:
    """What a paced caller felt since the last time; `rate` is how many answers it got. A bad
    answer, or none at all, ends the run. With the order `stop` it calls no more, and has the
    answers to all that it sent."""
    state = caller.ask(order)
    if state["errors"] or not state["answered"]:
        raise BenchError(f"the paced caller got {state}")
    return Sample(rate=state["answered"], p50_ms=state["p50_ms"], p99_ms=state["p99_ms"])


def parse_result(output: str, *, used_seconds: float = 0.0) -> Sample:
    """The generator's one line of JSON, which is the last that starts with a brace; the user time
    is that of the server meanwhile."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise BenchError(f"the load generator reported nothing:\n{output[-2000:]}")
    found = json.loads(lines[-1])
    return Sample(
        rate=found["requests"] / max(found["seconds"], 1e-9),
        p50_ms=found["p50_us"] / 1000,
        p99_ms=found["p99_us"] / 1000,
        errors=found["errors"],
        user_us=used_seconds / max(found["requests"], 1) * 1e6,
    )


def lua_script(requests: Sequence[bytes]) -> str:
    """A wrk script that plays raw requests in turn and reports as JSON."""
    items = ",\n".join(f'"{lua_escape(request)}"' for request in requests)
    return f"""local plan = {{
{items}
}}
local size, place = #plan, 0
request = function()
  place = place % size + 1
  return plan[place]
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\\n{{"requests":%d,"seconds":%f,"p50_us":%f,"p99_us":%f,"errors":%d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def lua_escape(text: bytes) -> str:
    """Bytes as the inside of a Lua string literal."""
    plain = set(range(0x20, 0x7F)) - {0x22, 0x5C}
    return "".join(chr(byte) if byte in plain else f"\\{byte:03d}" for byte in text)


def _wrk_command(folder: Path, plan: Plan, connections: int, seconds: float) -> list[str]:
    script = folder / "plan.lua"
    script.write_text(lua_script(plan.requests))
    return [
        *("wrk", "--threads", "1", "--connections", str(connections)),
        *("--duration", f"{max(1, round(seconds))}s", "--timeout", "10s", "--latency"),
        *("--script", str(script), f"http://127.0.0.1:{plan.port}/"),
    ]


def _own_command(folder: Path, plan: Plan, connections: int, seconds: float) -> list[str]:
    file = folder / "plan.json"
    file.write_text(json.dumps([request.decode("latin-1") for request in plan.requests]))
    return [
        *(sys.executable, "-m", "bench.generator", "--port", str(plan.port)),
        *("--plan", str(file), "--connections", str(connections), "--seconds", str(seconds)),
    ]


def _run(fleet: Fleet, command: list[str], cores: AbstractSet[int], seconds: float) -> str:
    child = fleet.spawn("load", command, cores=cores)
    try:
        child.process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise BenchError(f"the load generator hangs: {command}") from None
    output = child.log.read_text(errors="replace")
    fleet.stop(child)
    return output
