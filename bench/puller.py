"""A fresh client that pulls everything from 0, in constant memory and as cheaply as Python can.

`python -m bench.puller`: each line on stdin is one whole pull, answered with one line of JSON. It
counts the rows of each page and reads the cursor at its end; it does not decode them.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import time

from bench.load import request_bytes

BUFFER_BYTES = 1 << 22
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
TAIL_BYTES = 100
CURSOR = re.compile(rb'"last_seq":(\d+)\},"has_more":(true|false)\}$')


class Puller:
    """One keep-alive connection and one buffer, which holds a page at a time."""

    def __init__(self, port: int, token: str) -> None:
        self._token = token
        self._buffer = bytearray(BUFFER_BYTES)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pull(self) -> dict[str, float | int]:
        """From 0 to the end of the log."""
        began = time.monotonic()
        since, has_more, rows, pages, size = 0, True, 0, 0, 0
        while has_more:
            end = self._page(since)
            found = CURSOR.search(self._buffer, max(0, end - TAIL_BYTES), end)
            if found is None:
                raise SystemExit(f"no page: {bytes(self._buffer[:400])!r}")
            rows += self._buffer.count(b'"seq":', 0, end)
            since, has_more = int(found[1]), found[2] == b"true"
            pages, size = pages + 1, size + end
        seconds = time.monotonic() - began
        return {"rows": rows, "pages": pages, "bytes": size, "seconds": seconds}

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _page(self, since: int) -> int:
        """Read one answer into the buffer; where it ends."""
        headers = {"Authorization": f"Bearer {self._token}"}
        path = f"/api/sync/pull?since={since}"
        self._socket.sendall(request_bytes("GET", path, headers=headers))
        view = memoryview(self._buffer)
        end, whole = 0, BUFFER_BYTES
        while end < whole:
            received = self._socket.recv_into(view[end:])
            if not received:
                raise SystemExit("the server closed the connection")
            end += received
            if whole == BUFFER_BYTES and (head := self._buffer.find(b"\r\n\r\n", 0, end)) >= 0:
                length = LENGTH.search(self._buffer, 0, head)
                if length is None:
                    raise SystemExit(f"no length: {bytes(self._buffer[:head])!r}")
                whole = head + 4 + int(length[1])
        return end


def main() -> None:
    """Parse the command line and pull at each line."""
    parser = argparse.ArgumentParser(description="pull everything, again and again")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", required=True)
    arguments = parser.parse_args()
    puller = Puller(arguments.port, arguments.token)
    for _ in sys.stdin:
        print(json.dumps(puller.pull()), flush=True)


if __name__ == "__main__":
    main()
