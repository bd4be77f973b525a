"""Many live readers in one process, cheap enough not to be what is measured.

`python -m bench.readers` opens N sockets, then loops over epoll, reads big chunks into one shared
buffer and counts a marker in them; only every 50th socket also looks at the sending time inside
an event. Talks with its parent in lines: it prints one line of JSON when all are open, and one for
each `mark` or `base` line on stdin; `base` makes the readers' own counts start from 0 again. Linux
only (epoll).
"""

from __future__ import annotations

import argparse
import json
import re
import select
import socket
import sys
import time
from pathlib import Path

from bench.sockets import masked_frame, open_realtime, open_websocket

BUFFER_BYTES = 1 << 20
LATENCY_EVERY = 50
LATENCIES_MAX = 200_000
SENT_AT = re.compile(rb"sent (\d{19})")
PING_HEAD = 0x89


class Reader:
    """One socket: how many markers it has seen, and the last bytes of its last chunk."""

    __slots__ = ("count", "samples", "sock", "tail")

    def __init__(self, sock: socket.socket, *, samples: bool) -> None:
        self.sock = sock
        self.count = 0
        self.tail = b""
        self.samples = samples


class Counter:
    """Counts `marker` over all readers, also where a chunk ends inside one."""

    def __init__(self, marker: bytes) -> None:
        self.marker = marker
        self.total = 0
        self.reads = 0
        self.closed = 0
        self.latencies_ns: list[int] = []
        self._buffer = bytearray(BUFFER_BYTES)
        self._keep = len(marker) - 1

    def receive(self, reader: Reader) -> bool:
        """Read once from a readable socket; False when it is closed."""
        try:
            size = reader.sock.recv_into(self._buffer)
        except BlockingIOError:
            return True
        except OSError:
            size = 0
        if size == 0:
            self.closed += 1
            return False
        self.take(reader, size)
        return True

    def take(self, reader: Reader, size: int) -> None:
        """Count the markers in the first `size` bytes of the buffer for `reader`."""
        buffer, keep = self._buffer, self._keep
        found = buffer.count(self.marker, 0, size)
        if reader.tail:
            found += (reader.tail + bytes(buffer[: min(keep, size)])).count(self.marker)
        if buffer[size - 1] not in self.marker:
            reader.tail = b""  # the usual case: chunks end where events end
        elif size >= keep:
            reader.tail = bytes(buffer[size - keep : size])
        else:
            reader.tail = (reader.tail + bytes(buffer[:size]))[-keep:]
        reader.count += found
        self.total += found
        self.reads += 1
        if size == 2 and buffer[0] == PING_HEAD:
            reader.sock.send(masked_frame(0xA, b""))
        if reader.samples and found and len(self.latencies_ns) < LATENCIES_MAX:
            now = time.monotonic_ns()
            for sent in SENT_AT.finditer(buffer, 0, size):
                self.latencies_ns.append(now - int(sent[1]))

    def feed(self, reader: Reader, data: bytes) -> None:
        """Count bytes that were read elsewhere (with the handshake, or by a test)."""
        self._buffer[: len(data)] = data
        self.take(reader, len(data))


def open_all(arguments: argparse.Namespace, counter: Counter) -> list[Reader]:
    """Open every socket in turn; each token of the file serves its share of readers."""
    tokens = Path(arguments.tokens).read_text().split() or [""]
    readers: list[Reader] = []
    for number in range(arguments.count):
        token = tokens[number % len(tokens)]
        if arguments.sse_topic:
            sock, rest = open_realtime(
                arguments.port, number, topic=arguments.sse_topic, token=token
            )
        else:
            sock, rest = open_websocket(arguments.port, number, path=arguments.path, token=token)
        sock.setblocking(False)
        reader = Reader(sock, samples=number % LATENCY_EVERY == 0)
        if rest:
            counter.feed(reader, rest)
        readers.append(reader)
    return readers


def state(counter: Counter, readers: list[Reader]) -> dict[str, float | int]:
    """What a `mark` answers; latencies are those since the last mark."""
    counts = [reader.count for reader in readers]
    ordered = sorted(counter.latencies_ns)
    counter.latencies_ns = []
    return {
        "at": time.monotonic(),
        "total": counter.total,
        "reads": counter.reads,
        "open": len(readers) - counter.closed,
        "least": min(counts, default=0),
        "most": max(counts, default=0),
        "p50_ms": ordered[len(ordered) // 2] / 1e6 if ordered else 0.0,
        "p99_ms": ordered[len(ordered) * 99 // 100] / 1e6 if ordered else 0.0,
    }


def loop(counter: Counter, readers: list[Reader]) -> None:
    """Serve sockets and stdin until stdin closes."""
    poll = select.epoll()
    by_number = {reader.sock.fileno(): reader for reader in readers}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    control = sys.stdin.fileno()
    poll.register(control, select.EPOLLIN | select.EPOLLHUP)
    while True:
        for number, _ in poll.poll():
            if number == control:
                order = sys.stdin.readline()
                if not order:
                    return
                if order.strip() == "base":
                    for reader in readers:
                        reader.count = 0
                print(json.dumps(state(counter, readers)), flush=True)
            elif not counter.receive(by_number[number]):
                poll.unregister(number)


def main() -> None:
    """Parse the command line, open the sockets, count."""
    parser = argparse.ArgumentParser(description="count live events on many sockets")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--path", default="/ws")
    parser.add_argument("--tokens", required=True, help="file with one token a line")
    parser.add_argument("--sse-topic", default="", help="read PocketBase's realtime instead")
    parser.add_argument("--marker", default='"seq":')
    arguments = parser.parse_args()
    counter = Counter(arguments.marker.encode())
    readers = open_all(arguments, counter)
    print(json.dumps(state(counter, readers)), flush=True)
    loop(counter, readers)


if __name__ == "__main__":
    main()
