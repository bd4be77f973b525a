"""The live floors: bare uvloop servers that do no more than any hub must.

Upgrade, parse a POST, number the event, frame it once, write it to every reader, answer 201. No
database, no policy, no auth. `--write joined` (the default) joins the frames that came in one turn
of the loop and makes one write(2) of them per reader: what a hub that was thought about does.
`--write single` makes one write(2) per reader and event: the naive one. `--blast N` writes N joined
frames to every reader without end, to find out what the readers can take.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import os
import re
import struct
from typing import cast

import uvloop

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = re.compile(rb"sec-websocket-key:\s*(\S+)", re.IGNORECASE)
PROTOCOL = re.compile(rb"sec-websocket-protocol:\s*(\S+)", re.IGNORECASE)
LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
ROW_ID = "0" * 40
CREATED_BODY = f'{{"id":"{ROW_ID}"}}'.encode()
CREATED = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
CREATED += b"Content-Length: %d\r\n\r\n%s" % (len(CREATED_BODY), CREATED_BODY)


class Hub:
    """The readers, the number of the last event, and what waits for the end of the turn."""

    def __init__(self, *, joins: bool) -> None:
        self.readers: dict[asyncio.Transport, int] = {}
        self.joins = joins
        self.seq = 0
        self.waiting: list[bytes] = []

    def publish(self, row: bytes) -> None:
        """Frame one event and write it to each reader, now or with all others of this turn."""
        self.seq += 1
        head = f'{{"seq":{self.seq},"entity":"Post","row_id":"{ROW_ID}","kind":"insert","data":'
        self.waiting.append(text_frame(head.encode() + row + b',"timestamp":""}'))
        if not self.joins:
            self.flush()
        elif len(self.waiting) == 1:
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits to each reader."""
        frames, self.waiting = b"".join(self.waiting), []
        for transport, number in self.readers.items():
            write_now(transport, number, frames)

    async def blast(self, joined: int) -> None:
        """Write `joined` frames at once to each reader that has taken the last ones, for ever."""
        event = f'{{"seq":1,"entity":"Post","row_id":"{ROW_ID}","kind":"insert","data":'.encode()
        event += b'{"title":"sent 0000000000000000000"},"timestamp":""}'
        frames = text_frame(event) * joined
        while True:
            for transport, number in self.readers.items():
                if not transport.get_write_buffer_size():
                    write_now(transport, number, frames)
            await asyncio.sleep(0)


class Connection(asyncio.Protocol):
    """A reader after an upgrade, a writer otherwise."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, so there is nothing to assert.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._hub.readers.pop(self._transport, None)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if self._transport in self._hub.readers:
            return
        self._buffer += data
        head, mark, body = self._buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        if key := KEY.search(head):
            self._buffer = b""
            self._transport.write(accept(key[1], PROTOCOL.search(head)))
            number = self._transport.get_extra_info("socket").fileno()
            self._hub.readers[self._transport] = number
            return
        length = LENGTH.search(head)
        size = int(length[1]) if length else 0
        if len(body) < size:
            return
        self._buffer = body[size:]
        if size:
            self._hub.publish(body[:size])
            self._transport.write(CREATED)
        else:
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def write_now(transport: asyncio.Transport, number: int, data: bytes) -> None:
    """One write(2) past the transport; what the kernel does not take is left to the transport."""
    written = 0
    if not transport.get_write_buffer_size():
        try:
            written = os.write(number, data)
        except BlockingIOError:
            written = 0
        except OSError:
            return
    if written < len(data):
        transport.write(data[written:])


def accept(key: bytes, protocol: re.Match[bytes] | None) -> bytes:
    """The 101 answer, with the offered subprotocol."""
    digest = base64.b64encode(hashlib.sha1(key + GUID).digest())
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + digest,
    ]
    if protocol:
        lines.append(b"Sec-WebSocket-Protocol: " + protocol[1])
    return b"\r\n".join(lines) + b"\r\n\r\n"


def text_frame(payload: bytes) -> bytes:
    """One unmasked text frame of up to 65 535 bytes."""
    if len(payload) < 126:
        return struct.pack("!BB", 0x81, len(payload)) + payload
    return struct.pack("!BBH", 0x81, 126, len(payload)) + payload


async def serve(port: int, *, joins: bool, blast: int) -> None:
    """Listen until killed."""
    hub = Hub(joins=joins)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(hub), "127.0.0.1", port, backlog=2048)
    await asyncio.gather(server.serve_forever(), *([hub.blast(blast)] if blast else []))


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description="write events to sockets, and nothing else")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--write", choices=("joined", "single"), default="joined")
    parser.add_argument("--blast", type=int, default=0, help="frames joined; 0 is off")
    arguments = parser.parse_args()
    joins = arguments.write == "joined"
    uvloop.run(serve(arguments.port, joins=joins, blast=arguments.blast))


if __name__ == "__main__":
    main()
