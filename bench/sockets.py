"""The client side of a live socket by hand: WebSocket upgrade, SSE request, source addresses.

Only bytes and blocking connects; who reads them afterwards is `readers`.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from urllib.parse import quote

from bench.processes import BenchError, expect

READERS_PER_ADDRESS = 40
"""Servers bound the streams of one address; loopback has 16 million addresses, so use several."""

CONNECT_SECONDS = 10.0
HEAD_BYTES_MAX = 16_384


def source_address(number: int) -> str:
    """The loopback address from which reader `number` connects."""
    block = number // READERS_PER_ADDRESS
    return f"127.0.{1 + block // 250}.{1 + block % 250}"


def upgrade_request(path: str, token: str, *, deflate: bool = False) -> bytes:
    """A WebSocket upgrade with the token in the subprotocol header, as browsers send it; with the
    offer of compression that Chromium makes, if asked."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
    ]
    if deflate:
        lines.append("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    if token:
        lines.append(f"Sec-WebSocket-Protocol: bearer.{quote(token, safe='')}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def connect(port: int, number: int, *, receive_bytes: int = 0) -> socket.socket:
    """A TCP connection to the loopback server from reader `number`'s own address, with a receive
    buffer of that size unless the system is to choose."""
    connection = socket.socket()
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(CONNECT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.bind((source_address(number), 0))
    connection.connect(("127.0.0.1", port))
    return connection


def open_websocket(
    port: int,
    number: int,
    *,
    path: str,
    token: str,
    receive_bytes: int = 0,
    deflate: bool = False,
) -> tuple[socket.socket, bytes]:
    """A reading WebSocket, and the bytes that came after the handshake."""
    connection = connect(port, number, receive_bytes=receive_bytes)
    connection.sendall(upgrade_request(path, token, deflate=deflate))
    head, rest = read_until(connection, b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise BenchError(f"the server refused a WebSocket: {head[:400]!r}")
    return connection, rest


def open_realtime(port: int, number: int, *, topic: str, token: str) -> tuple[socket.socket, bytes]:
    """A subscribed SSE stream of PocketBase, and the bytes that came after its first message."""
    connection = connect(port, number)
    connection.sendall(b"GET /api/realtime HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    head, rest = read_until(connection, b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise BenchError(f"PocketBase refused a stream: {head[:400]!r}")
    while b"\n\n" not in rest:
        rest += connection.recv(4096)
    data = next(line for line in rest.split(b"\n") if line.startswith(b"data:"))
    body = {"clientId": json.loads(data[5:])["clientId"], "subscriptions": [topic]}
    # PocketBase takes subscriptions only from the address of the stream.
    source = source_address(number)
    expect(port, "POST", "/api/realtime", body=body, token=token, source=source)
    return connection, b""


def read_until(connection: socket.socket, mark: bytes) -> tuple[bytes, bytes]:
    """Read to `mark`; what came before it and what came after it."""
    data = b""
    while mark not in data:
        chunk = connection.recv(4096)
        if not chunk or len(data) > HEAD_BYTES_MAX:
            raise BenchError(f"the server closed a stream while it opened: {data[:400]!r}")
        data += chunk
    head, _, rest = data.partition(mark)
    return head, rest


def masked_frame(opcode: int, payload: bytes) -> bytes:
    """A short client frame (under 126 bytes); the mask is zero, so the payload stays readable."""
    assert len(payload) < 126
    return struct.pack("!BB4x", 0x80 | opcode, 0x80 | len(payload)) + payload
