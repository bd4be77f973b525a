"""Requests at a fixed rate, whatever the server does: what a caller feels beside another load.

`python -m bench.paced`: latencies run from the moment a request was due, so a server that stalls
cannot hide behind a load that waits for it. Prints one line of JSON when its connections are open
and one for each `mark` or `stop` line on stdin; `stop` waits for what is under way.
`bench.generator` is the load without a pace.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import cast

import httptools
import uvloop

from bench.generator import STAMP, percentile

LAG_MAX = 100_000
"""Requests that may be due and unsent before the oldest are given up as errors."""


class Pace:
    """The schedule, the free connections, and what has been measured since the last mark."""

    def __init__(self, requests: list[bytes], rate: float) -> None:
        self.requests = requests
        self.rate = rate
        self.sent = 0
        self.errors = 0
        self.latencies_ns: list[int] = []
        self.free: deque[Connection] = deque()
        self.due: deque[int] = deque(maxlen=LAG_MAX)
        self.news = asyncio.Event()

    def send(self) -> None:
        """Send what is due over the connections that are free."""
        while self.free and self.due:
            request = self.requests[self.sent % len(self.requests)]
            self.sent += 1
            self.free.popleft().send(request, self.due.popleft())

    async def land(self, connections: int) -> None:
        """Send no more; return when all of the connections have their answers, or one is lost."""
        self.due.clear()
        while len(self.free) < connections and not self.errors:
            self.news.clear()
            await self.news.wait()

    def state(self) -> dict[str, float | int]:
        """What a mark answers; counts begin anew."""
        ordered = sorted(self.latencies_ns)
        found: dict[str, float | int] = {
            "answered": len(ordered),
            "waiting": len(self.due),
            "errors": self.errors,
            "p50_ms": percentile(ordered, 0.5) / 1e6,
            "p99_ms": percentile(ordered, 0.99) / 1e6,
            "most_ms": (ordered[-1] if ordered else 0) / 1e6,
        }
        self.latencies_ns, self.errors = [], 0
        return found


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._due = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, so there is nothing to assert.
        self._transport = cast("asyncio.Transport", transport)
        self._pace.free.append(self)

    def send(self, request: bytes, due: int) -> None:
        """Send a request that was due at `due`."""
        assert self._transport is not None
        self._due = due
        self._transport.write(request.replace(STAMP, b"%019d" % due))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        pace = self._pace
        pace.latencies_ns.append(time.monotonic_ns() - self._due)
        pace.errors += self._parser.get_status_code() >= 400
        pace.free.append(self)
        pace.news.set()
        pace.send()

    def connection_lost(self, error: Exception | None) -> None:
        self._pace.errors += 1
        self._pace.news.set()


async def keep(pace: Pace) -> None:
    """Make requests due, one each `1 / rate` seconds."""
    step = 1e9 / pace.rate
    due = float(time.monotonic_ns())
    while True:
        now = time.monotonic_ns()
        while due <= now:
            pace.due.append(int(due))
            due += step
        pace.send()
        await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))


async def drive(arguments: argparse.Namespace, texts: list[str]) -> None:
    """Open the connections, then answer marks until the end."""
    loop = asyncio.get_running_loop()
    pace = Pace([text.encode("latin-1") for text in texts], arguments.rate)
    for _ in range(arguments.connections):
        await loop.create_connection(lambda: Connection(pace), "127.0.0.1", arguments.port)
    print(json.dumps({"open": len(pace.free)}), flush=True)
    work = asyncio.create_task(keep(pace))
    while (order := await loop.run_in_executor(None, sys.stdin.readline)) and not work.done():
        if order.strip() == "stop":
            work.cancel()
            await pace.land(arguments.connections)
        print(json.dumps(pace.state()), flush=True)
    work.cancel()


def main() -> None:
    """Parse the command line and run under uvloop."""
    parser = argparse.ArgumentParser(description="HTTP requests at a fixed rate")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--plan", required=True, help="JSON list of raw requests")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--connections", type=int, default=16)
    arguments = parser.parse_args()
    uvloop.run(drive(arguments, json.loads(Path(arguments.plan).read_text())))


if __name__ == "__main__":
    main()
