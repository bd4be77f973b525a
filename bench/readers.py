"""Many live readers in one process, cheap enough not to be what is measured.

`python -m bench.readers` opens N sockets, then loops over epoll, reads big chunks into one shared
buffer and counts a marker in them; only every 50th socket also looks at the sending time inside
an event. Talks with its parent in lines: it prints one line of JSON when all are open, and one
for each order on stdin: `mark`; `look`, which leaves the latencies for the next mark; `base`,
which makes the readers' own counts start from 0 again; `stall`, at which every N-th reader
(`--stall-every N`) stops reading, and `resume`. Readers that may stall are not counted with the
others. Linux only (epoll).
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
STALLED_RECEIVE_BYTES = 4096
"""Receive buffer of a reader that is to stop, so that what it leaves soon stays at the server."""

SENT_AT = re.compile(rb"sent (\d{19})")
PING_HEAD = 0x89
PING = b"\x89\x00"
"""A ping as servers send it; in frames of JSON only a length may have these bytes."""

TEXT = 1
FRAME_HEAD_BYTES_MAX = 10


class Reader:
    """One socket: how many markers it has seen, and the last bytes of its last chunk."""

    __slots__ = ("count", "left", "samples", "sock", "stalls", "tail")

    def __init__(self, sock: socket.socket, *, samples: bool, stalls: bool = False) -> None:
        self.sock = sock
        self.count = 0
        self.left = 0
        self.tail = b""
        self.samples = samples
        self.stalls = stalls


class Counter:
    """Counts `marker` over all readers, also where a chunk ends inside one."""

    def __init__(self, marker: bytes) -> None:
        self.marker = marker
        self.total = 0
        self.bytes = 0
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
        self.bytes += size
        self.reads += 1
        if buffer.find(PING, 0, size) >= 0:  # Perhaps behind events: a reader may lag.
            reader.sock.send(masked_frame(0xA, b""))
        if reader.samples and found and len(self.latencies_ns) < LATENCIES_MAX:
            now = time.monotonic_ns()
            for sent in SENT_AT.finditer(buffer, 0, size):
                self.latencies_ns.append(now - int(sent[1]))

    def feed(self, reader: Reader, data: bytes) -> None:
        """Count bytes that were read elsewhere (with the handshake, or by a test)."""
        self._buffer[: len(data)] = data
        self.take(reader, len(data))


class FrameCounter(Counter):
    """Counts text frames, which may be compressed, so that no marker can be looked for."""

    def take(self, reader: Reader, size: int) -> None:
        """Count the frames that begin in the first `size` bytes of the buffer for `reader`."""
        data = reader.tail + bytes(self._buffer[:size]) if reader.tail else self._buffer
        end = size + len(reader.tail)
        place, found = reader.left, 0
        while place + FRAME_HEAD_BYTES_MAX <= end or (place + 2 <= end and data[place + 1] < 126):
            length = data[place + 1]
            head = {126: 4, 127: 10}.get(length, 2)
            if head > 2:
                length = int.from_bytes(data[place + 2 : place + head], "big")
            found += data[place] & 15 == TEXT
            if data[place] == PING_HEAD:
                reader.sock.send(masked_frame(0xA, b""))
            place += head + length
        reader.tail = bytes(data[place:end])
        reader.left = max(0, place - end)
        reader.count += found
        self.total += found
        self.bytes += size
        self.reads += 1


def open_all(arguments: argparse.Namespace, counter: Counter) -> list[Reader]:
    """Open every socket in turn; each token of the file serves its share of readers."""
    tokens = Path(arguments.tokens).read_text().split() or [""]
    readers: list[Reader] = []
    for number in range(arguments.count):
        token = tokens[number % len(tokens)]
        stalls = has_to_stall(number, arguments.stall_every)
        if arguments.sse_topic:
            sock, rest = open_realtime(
                arguments.port, number, topic=arguments.sse_topic, token=token
            )
        else:
            sock, rest = open_websocket(
                arguments.port,
                number,
                path=arguments.path,
                token=token,
                receive_bytes=STALLED_RECEIVE_BYTES if stalls else 0,
                deflate=arguments.deflate,
            )
        sock.setblocking(False)
        reader = Reader(sock, samples=number % LATENCY_EVERY == 0, stalls=stalls)
        if rest:
            counter.feed(reader, rest)
        readers.append(reader)
    return readers


def has_to_stall(number: int, every: int) -> bool:
    """Every so many readers, and none whose latencies are sampled (if `every` divides 50)."""
    return every > 0 and number % every == every // 2


def state(
    counter: Counter, readers: list[Reader], *, forget: bool = True
) -> dict[str, float | int]:
    """What a `mark` answers; latencies are those since the last one that made it `forget`."""
    counts = [reader.count for reader in readers if not reader.stalls]
    ordered = sorted(counter.latencies_ns)
    if forget:
        counter.latencies_ns = []
    return {
        "at": time.monotonic(),
        "total": counter.total,
        "bytes": counter.bytes,
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
                elif order.strip() in ("stall", "resume"):
                    wanted = select.EPOLLIN if order.strip() == "resume" else 0
                    for reader in readers:
                        if reader.stalls and reader.sock.fileno() >= 0:
                            poll.modify(reader.sock, wanted)
                told = state(counter, readers, forget=order.strip() != "look")
                print(json.dumps(told), flush=True)
            elif not counter.receive(by_number[number]):
                poll.unregister(number)
                by_number[number].sock.close()


def main() -> None:
    """Parse the command line, open the sockets, count."""
    parser = argparse.ArgumentParser(description="count live events on many sockets")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--path", default="/ws")
    parser.add_argument("--tokens", required=True, help="file with one token a line")
    parser.add_argument("--sse-topic", default="", help="read PocketBase's realtime instead")
    parser.add_argument("--marker", default='"seq":')
    parser.add_argument("--stall-every", type=int, default=0, help="0: nobody ever stops")
    parser.add_argument("--frames", action="store_true", help="count frames, not markers")
    parser.add_argument("--deflate", action="store_true", help="offer compression")
    arguments = parser.parse_args()
    marker = arguments.marker.encode()
    counter = FrameCounter(marker) if arguments.frames else Counter(marker)
    readers = open_all(arguments, counter)
    print(json.dumps(state(counter, readers)), flush=True)
    loop(counter, readers)


if __name__ == "__main__":
    main()
