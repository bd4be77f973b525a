"""What the pipeline and the router cost over an empty ASGI callable (design section 6).

    python -m bench.http_overhead [--seconds 3] [--rounds 5] [--no-wire]

First in process: both apps are called in a loop with a fake `receive` and `send`. Then, where `wrk`
is installed, over sockets on the server that `pylon` runs on. Both answer the same bytes to
`GET /api/entities/Todo/<id>`. Prints medians, their difference in microseconds, and the ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop

from pylon.clock import SystemClock
from pylon.config import Config
from pylon.http.access_log import AccessLog
from pylon.http.asgi import Message, Receive, Scope, Send
from pylon.http.body_limit import BodyLimit
from pylon.http.connection import HttpConnection
from pylon.http.cors import Cors
from pylon.http.csrf import CsrfCheck
from pylon.http.finish import Finish
from pylon.http.pipeline import Pipeline
from pylon.http.probes import Probes
from pylon.http.rate_limit import RateLimit, RateLimiter
from pylon.http.request import Request
from pylon.http.response import Response, raw_json
from pylon.http.router import Router
from pylon.metrics import Metrics

PATH = "/api/entities/Todo/0000000000000000188e1f0a5b3c4d5e00000001"
BODY = b'{"id":"0000000000000000188e1f0a5b3c4d5e00000001","title":"milk","done":false}'
REQUEST_HEADERS = [
    (b"host", b"127.0.0.1:4321"),
    (b"user-agent", b"bench"),
    (b"accept", b"*/*"),
    (b"authorization", b"Bearer pylon_" + b"0" * 64),
]


def build_pipeline() -> Pipeline:
    """The kernel with every stage it has, and a handler that does nothing."""
    config = Config.from_env({}, dev_mode=True, rate_limit_max=1_000_000_000)
    clock = SystemClock()
    metrics = Metrics()
    router = Router()

    async def get_row(_request: Request, _entity: str, _row_id: str) -> Response:
        return raw_json(BODY)

    async def other(_request: Request, *_params: str) -> Response:
        return raw_json(BODY)

    router.add("GET", "/api/entities/{entity}/cursor", other)
    router.add("GET", "/api/entities/{entity}", other)
    router.add("GET", "/api/entities/{entity}/{id*}", get_row)
    router.add("PATCH", "/api/entities/{entity}/{id*}", other)

    def identify(request: Request) -> None:
        request.bearer()

    limiter = RateLimiter(
        requests_max=config.rate_limit_max,
        window_seconds=config.rate_limit_window_seconds,
        clock=clock,
    )
    return Pipeline(
        stages=(
            Probes(
                metrics=metrics,
                clock=clock,
                version="bench",
                dev_mode=True,
                admin_token=None,
                readiness=dict,
            ),
            RateLimit(limiter),
            CsrfCheck(config.csrf_origins),
            identify,
            BodyLimit({}),
        ),
        router=router,
        finish=Finish(
            cors=Cors(config.cors_origins),
            metrics=metrics,
            clock=clock,
            access_log=AccessLog(clock, write=lambda _lines: None),
        ),
        clock=clock,
    )


HEADERS: list[tuple[bytes, bytes]] = []
pipeline = build_pipeline()


async def empty(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Sends what the pipeline sends, knowing it beforehand."""
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


def scope_of_request() -> Scope:
    return {
        "type": "http",
        "method": "GET",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": REQUEST_HEADERS,
        "client": ("127.0.0.1", 50_000),
    }


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


async def _drop(message: Message) -> None:
    if not HEADERS and message["type"] == "http.response.start":
        HEADERS.extend(message["headers"])


async def in_process(rounds: int, calls: int = 20_000) -> tuple[float, float]:
    """Median microseconds per call of (empty, pipeline), taken in turn."""
    took: dict[str, list[float]] = {"empty": [], "pipeline": []}
    await pipeline(scope_of_request(), _nothing, _drop)  # fills HEADERS
    for _ in range(rounds):
        for name, app in (("empty", empty), ("pipeline", pipeline)):
            started = time.perf_counter()
            for _ in range(calls):
                await app(scope_of_request(), _nothing, _drop)
            took[name].append((time.perf_counter() - started) / calls * 1e6)
            await asyncio.sleep(0)
    return statistics.median(took["empty"]), statistics.median(took["pipeline"])


@contextmanager
def served(app: str) -> Iterator[tuple[int, int]]:
    """A server process with our connection class; yields its port and process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.http_overhead", "--serve", app, "--port", str(port)]
    )
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(10)


def serve(app: str, port: int) -> None:
    """Run one app as the server process."""
    uvloop.run(pipeline(scope_of_request(), _nothing, _drop))  # fills HEADERS
    uvicorn.run(
        empty if app == "empty" else build_pipeline(),
        port=port,
        loop="uvloop",
        http=HttpConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
    )


def processor_seconds(process_id: int) -> float:
    """Time that a process has had on a processor so far; 0 where the system does not tell."""
    try:
        with open(f"/proc/{process_id}/stat", encoding="ascii") as stat:
            columns = stat.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(columns[11]) + int(columns[12])) / os.sysconf("SC_CLK_TCK")


def load(port: int, seconds: int) -> int:
    """Requests answered in `seconds` at 32 connections."""
    output = subprocess.run(
        [
            *("wrk", "-t1", "-c32", f"-d{seconds}s"),
            *("-H", "Authorization: Bearer pylon_" + "0" * 64),
            f"http://127.0.0.1:{port}{PATH}",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = re.search(r"(\d+) requests in", output)
    assert found is not None, output
    return int(found[1])


def over_the_wire(rounds: int, seconds: int) -> dict[str, tuple[float, float]]:
    """Per app the median requests a second, and microseconds of processor per request.

    Both servers stand all the time and are loaded in turn, so that both meet the same noise; the
    processor time is the steadier of the two numbers on a shared machine.
    """
    rates: dict[str, list[float]] = {"empty": [], "pipeline": []}
    costs: dict[str, list[float]] = {"empty": [], "pipeline": []}
    with served("empty") as first, served("pipeline") as second:
        for number in range(rounds + 1):
            for name, (port, process_id) in (("empty", first), ("pipeline", second)):
                before = processor_seconds(process_id)
                count = load(port, seconds)
                spent = processor_seconds(process_id) - before
                if number:  # the first round warms up
                    rates[name].append(count / seconds)
                    costs[name].append(spent / count * 1e6)
    return {
        name: (statistics.median(rates[name]), statistics.median(costs[name])) for name in rates
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-wire", action="store_true")
    parser.add_argument("--serve", choices=("empty", "pipeline"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.port)
        return
    base, ours = uvloop.run(in_process(options.rounds))
    print(f"in process   empty {base:6.2f} us   pipeline {ours:6.2f} us   +{ours - base:.2f} us")
    if options.no_wire:
        return
    if shutil.which("wrk") is None:
        print("over sockets skipped: wrk is not installed")
        return
    wire = over_the_wire(options.rounds, options.seconds)
    (base, base_cost), (ours, our_cost) = wire["empty"], wire["pipeline"]
    print(
        f"over sockets empty {base:,.0f}/s   pipeline {ours:,.0f}/s   ratio {ours / base:.2f}"
        f"   +{our_cost - base_cost:.1f} us of processor per request"
    )


if __name__ == "__main__":
    main()
