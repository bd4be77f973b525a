"""Whole clients that leave and come back: pull from the cursor to the end, then the WebSocket.

`python -m bench.returners` obeys lines on stdin and answers each with one line of JSON: `join`
(pull from 0, open the socket), `leave` (close the sockets), `return` (all at once, from where each
was), `count` (events that each has seen live since it returned). Runs at a lower priority, so that
a paced caller on the same core is not kept waiting by it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import time
from pathlib import Path

import uvloop

from bench.clients import SocketClient, open_http, open_socket
from bench.generator import percentile
from bench.load import request_bytes
from bench.processes import BenchError

CURSOR = re.compile(rb'"last_seq":(\d+)\},"has_more":(true|false)\}$')
EVENT = re.compile(rb'\{"seq":(\d+),')
JOINING_AT_ONCE = 32
NICENESS = 10


class Returner:
    """One client: its token, its cursor, its socket."""

    def __init__(self, port: int, number: int, token: str) -> None:
        self.cursor = 0
        self.pulled = 0
        self.heard = 0
        self._port = port
        self._number = number
        self._token = token
        self._socket: SocketClient | None = None

    async def connect(self) -> int:
        """Catch up and go live; nanoseconds that it took."""
        began = time.monotonic_ns()
        self.heard = 0
        await self._pull()
        self._socket = await open_socket(
            self._port,
            self._number,
            path=f"/ws?since={self.cursor}",
            token=self._token,
            on_message=self._hear,
        )
        return time.monotonic_ns() - began

    def leave(self) -> None:
        """Cut the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def is_open(self) -> bool:
        return self._socket is not None and self._socket.is_open

    async def _pull(self) -> None:
        http = await open_http(self._port, self._number)
        has_more = True
        while has_more:
            status, body = await http.request(
                request_bytes(
                    "GET",
                    f"/api/sync/pull?since={self.cursor}",
                    headers={"Authorization": f"Bearer {self._token}"},
                )
            )
            found = CURSOR.search(body)
            if status != 200 or found is None:
                raise BenchError(f"a pull was answered {status}: {body[:200]!r}")
            self.pulled += body.count(b'"seq":')
            self.cursor, has_more = int(found[1]), found[2] == b"true"
        http.close()

    def _hear(self, opcode: int, payload: bytes) -> None:
        found = EVENT.match(payload)
        if found is not None:
            self.heard += 1
            self.cursor = int(found[1])


async def connect_all(returners: list[Returner], at_once: int) -> dict[str, float | int]:
    """Everybody connects, `at_once` at a time; what it took."""
    places = asyncio.Semaphore(at_once)

    async def one(returner: Returner) -> int:
        async with places:
            return await returner.connect()

    before = sum(returner.pulled for returner in returners)
    began, used = time.monotonic(), time.process_time()
    taken = await asyncio.gather(*map(one, returners))
    seconds = time.monotonic() - began
    ordered = sorted(taken)
    return {
        "seconds": seconds,
        "busy": (time.process_time() - used) / seconds,
        "p50_ms": percentile(ordered, 0.5) / 1e6,
        "p99_ms": percentile(ordered, 0.99) / 1e6,
        "pulled": sum(returner.pulled for returner in returners) - before,
        "open": sum(returner.is_open for returner in returners),
    }


async def obey(order: str, returners: list[Returner]) -> dict[str, float | int]:
    """Do what one line says."""
    if order == "join":
        return await connect_all(returners, JOINING_AT_ONCE)
    if order == "return":
        return await connect_all(returners, len(returners))
    if order == "leave":
        for returner in returners:
            returner.leave()
    heard = [returner.heard for returner in returners]
    return {
        "open": sum(returner.is_open for returner in returners),
        "least": min(heard),
        "most": max(heard),
    }


async def serve(port: int, tokens: list[str], count: int) -> None:
    """Obey until stdin closes."""
    returners = [Returner(port, number, tokens[number % len(tokens)]) for number in range(count)]
    loop = asyncio.get_running_loop()
    while order := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await obey(order.strip(), returners)), flush=True)


def main() -> None:
    """Parse the command line and run under uvloop."""
    parser = argparse.ArgumentParser(description="clients that come back all at once")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--tokens", required=True, help="file with one token a line")
    arguments = parser.parse_args()
    os.nice(NICENESS)
    tokens = Path(arguments.tokens).read_text().split()
    uvloop.run(serve(arguments.port, tokens, arguments.count))


if __name__ == "__main__":
    main()
