"""Streams rows into `POST /api/import` and reads the progress beside it, in constant memory.

Used to seed, and measured itself by the data suite.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from bench.processes import BenchError

CHUNK_BYTES = 1 << 18
SECONDS_MAX = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import answered: rows written, seconds, and how often it told its progress."""

    rows: int
    seconds: float
    progress: int


def lines(entity: str, rows: Iterable[Mapping[str, object]], *, first: int = 0) -> Iterator[bytes]:
    """Rows as lines; ids are running numbers in hex."""
    for number, values in enumerate(rows, first):
        row = {"id": row_id(number), **values}
        yield json.dumps({"entity": entity, "row": row}).encode() + b"\n"


def row_id(number: int) -> str:
    """The id of the row with this number."""
    return f"{number:040x}"


def import_lines(port: int, token: str, rows: Iterable[bytes]) -> Imported:
    """Send all rows; any that fails ends the run."""
    began = time.monotonic()
    answer: list[bytes] = []
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS_MAX) as connection:
        reader = threading.Thread(target=_read_all, args=(connection, answer), daemon=True)
        reader.start()
        head = [
            "POST /api/import HTTP/1.1",
            "Host: 127.0.0.1",
            f"Authorization: Bearer {token}",
            "Content-Type: application/x-ndjson",
            "Accept: application/x-ndjson",
            "Transfer-Encoding: chunked",
            "Connection: close",
        ]
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n")
        for chunk in joined(rows, CHUNK_BYTES):
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        connection.sendall(b"0\r\n\r\n")
        reader.join(SECONDS_MAX)
    seconds = time.monotonic() - began
    found = [json.loads(line) for line in b"".join(answer).split(b"\n") if line.startswith(b"{")]
    if not found or not found[-1].get("done") or found[-1]["failed"]:
        raise BenchError(f"the import failed: {b''.join(answer)[-800:]!r}")
    return Imported(rows=found[-1]["imported"], seconds=seconds, progress=len(found) - 1)


def joined(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The parts in chunks of at least `size` bytes, but for the last."""
    chunk = bytearray()
    for part in parts:
        chunk += part
        if len(chunk) >= size:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


def _read_all(connection: socket.socket, answer: list[bytes]) -> None:
    while part := connection.recv(65_536):
        answer.append(part)
