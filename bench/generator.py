"""Our own load generator: keep-alive connections, one request in flight on each.

A process of its own (`python -m bench.generator`), used where wrk is absent, for seeding
(`--once`), and as the writers of the live suite (`--stamp` puts the time of sending into the
body). Prints one line of JSON; `--control` waits for `go` and `stop` lines on stdin instead of
running for a fixed time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import cast

import httptools
import uvloop

STAMP = b"@" * 19
"""Stands in a request where the nanoseconds of the monotonic clock go (19 digits)."""


class Run:
    """What all connections share: the plan, the counts, and whether to go on."""

    def __init__(self, requests: list[bytes], *, once: bool, stamp: bool) -> None:
        self.requests = requests
        self.once = once
        self.stamp = stamp
        self.place = 0
        self.going = True
        self.answered = 0
        self.errors = 0
        self.latencies_ns: list[int] = []
        self.finished = asyncio.Event()
        self.open = 0

    def next_request(self) -> bytes | None:
        """The next request to send, or None when the run is over."""
        if not self.going or (self.once and self.place >= len(self.requests)):
            return None
        request = self.requests[self.place % len(self.requests)]
        self.place += 1
        if self.stamp:
            return request.replace(STAMP, b"%019d" % time.monotonic_ns())
        return request


class Connection(asyncio.Protocol):
    """One keep-alive connection: send, wait for the whole answer, send again."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._sent_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, so there is nothing to assert.
        self._transport = cast("asyncio.Transport", transport)
        self._run.open += 1
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        run = self._run
        run.answered += 1
        run.latencies_ns.append(time.monotonic_ns() - self._sent_at)
        if self._parser.get_status_code() >= 400:
            run.errors += 1
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        run = self._run
        run.open -= 1
        if self._transport is not None and run.going and not run.once:
            run.errors += 1
        if run.open == 0:
            run.finished.set()

    def _send(self) -> None:
        request = self._run.next_request()
        assert self._transport is not None
        if request is None:
            self._transport.close()
            self._transport = None
            return
        self._sent_at = time.monotonic_ns()
        self._transport.write(request)


def percentile(ordered: list[int], share: float) -> int:
    """The value below which `share` of the ordered values lie; 0 of nothing."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0


async def drive(arguments: argparse.Namespace, texts: list[str]) -> None:
    """Open the connections, run, report."""
    loop = asyncio.get_running_loop()
    requests = [text.encode("latin-1") for text in texts]
    run = Run(requests, once=arguments.once, stamp=arguments.stamp)
    if arguments.control:
        await loop.run_in_executor(None, sys.stdin.readline)
    began = time.monotonic()
    for _ in range(arguments.connections):
        await loop.create_connection(lambda: Connection(run), "127.0.0.1", arguments.port)
    if arguments.control:
        await loop.run_in_executor(None, sys.stdin.readline)
    else:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(run.finished.wait(), arguments.seconds)
    ended = time.monotonic()
    answered = run.answered
    run.going = False
    try:
        await asyncio.wait_for(run.finished.wait(), 10)
    except TimeoutError:
        run.errors += run.open
    if run.once:
        run.errors += max(0, len(run.requests) - run.answered)
    _report(run, seconds=ended - began, answered=answered)


def _report(run: Run, *, seconds: float, answered: int) -> None:
    ordered = sorted(run.latencies_ns)
    result = {
        "requests": answered,
        "acknowledged": run.answered - run.errors,
        "seconds": seconds,
        "p50_us": percentile(ordered, 0.5) / 1000,
        "p99_us": percentile(ordered, 0.99) / 1000,
        "errors": run.errors,
    }
    print(json.dumps(result), flush=True)


def main() -> None:
    """Parse the command line and run under uvloop."""
    parser = argparse.ArgumentParser(description="keep-alive HTTP load")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--plan", required=True, help="JSON list of raw requests")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--once", action="store_true", help="send each request once, then end")
    parser.add_argument("--stamp", action="store_true", help="put the sending time into bodies")
    parser.add_argument("--control", action="store_true", help="start and stop by stdin lines")
    arguments = parser.parse_args()
    uvloop.run(drive(arguments, json.loads(Path(arguments.plan).read_text())))


if __name__ == "__main__":
    main()
