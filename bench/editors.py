"""People who write one text together: a Loro document each, pushes over HTTP, frames back.

`python -m bench.editors` opens them, waits for everybody's snapshot and prints one line of JSON;
then it obeys lines on stdin, each answered with one: `pace RATE SECONDS` (keystrokes at a fixed
rate), `write N` (N keystrokes in bursts of all at once), `settle` (wait until all hold the same
text).
"""

# The stubs of loro leave its constructors without types.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from loro import ExportMode, LoroDoc, LoroText, VersionRange

from bench.clients import BINARY, TEXT, HttpClient, SocketClient, open_http, open_socket
from bench.generator import percentile
from bench.load import request_bytes
from bench.processes import BenchError
from bench.typing_model import Keystroke, Typist
from pylon.wire.crdt_frames import SNAPSHOT, read_document_frame

FIELD = "body"
SAMPLE_EVERY = 10
"""Every so many editors one looks at when each keystroke arrives."""

SETTLE_SECONDS_MAX = 60.0
SETTLE_STEP_SECONDS = 0.1
BURST_STEP_SECONDS = 0.001


class Room:
    """What all editors share: the row, the counts, and when each keystroke was made."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.typed = 0
        self.edits = 0
        self.pushed_bytes = 0
        self.frame_bytes = 0
        self.event_bytes = 0
        self.latencies_ns: list[int] = []
        self.made_at: dict[tuple[int, int], int] = {}
        # The same keystrokes by one author: what a document takes that nobody shares.
        self.alone = LoroDoc()
        self.alone_text = self.alone.get_text(FIELD)

    def note_arrival(self, at: int, update: bytes) -> None:
        """An update came at `at`; how long ago was each keystroke in it made?"""
        meta = self.alone.decode_import_blob_meta(update, check_checksum=False)
        first = VersionRange.from_vv(meta.partial_start_vv).inner()
        for peer, (_, end) in VersionRange.from_vv(meta.partial_end_vv).inner().items():
            for counter in range(first.get(peer, (0, 0))[1], end):
                made = self.made_at.get((peer, counter))
                if made is not None:
                    self.latencies_ns.append(at - made)

    def state(self) -> dict[str, float | int]:
        """Counts since the last time."""
        ordered = sorted(self.latencies_ns)
        found: dict[str, float | int] = {
            "edits": self.edits,
            "pushed_bytes": self.pushed_bytes,
            "frame_bytes": self.frame_bytes,
            "event_bytes": self.event_bytes,
            "p50_ms": percentile(ordered, 0.5) / 1e6,
            "p99_ms": percentile(ordered, 0.99) / 1e6,
        }
        self.latencies_ns = []
        self.edits = self.pushed_bytes = self.frame_bytes = self.event_bytes = 0
        return found


class Editor:
    """One person: a document, a typist, a connection for pushes and a socket."""

    def __init__(self, room: Room, number: int, token: str) -> None:
        self.heard = 0
        """Updates that have come, one for each push of anybody."""
        self.ready = asyncio.get_running_loop().create_future()
        self._room = room
        self._token = token
        self._samples = number % SAMPLE_EVERY == 0
        self._typist = Typist(number)
        self._doc = LoroDoc()
        self._text: LoroText = self._doc.get_text(FIELD)
        self._keystrokes = 0
        self._made: list[bytes] = []
        self._came: list[bytes] = []
        self._following = self._doc.subscribe_local_update(self._note)
        self._turn = asyncio.Lock()
        self._http: HttpClient
        self._socket: SocketClient

    async def open(self, port: int, number: int, follow: bytes) -> None:
        """Connect, and follow the row."""
        self._http = await open_http(port, number)
        self._socket = await open_socket(
            port, number, path="/ws", token=self._token, on_message=self._receive
        )
        self._socket.send(TEXT, follow)
        await self.ready

    async def type(self) -> None:
        """Make one keystroke and push it; in order, as a client's queue does."""
        room = self._room
        self.catch_up()
        keystroke = self._typist.next(self._text.len_unicode)
        apply(self._text, keystroke)
        apply(room.alone_text, keystroke)
        self._doc.commit()
        room.made_at[self._doc.peer_id, self._keystrokes] = time.monotonic_ns()
        self._keystrokes += 1  # each is one operation in Loro's counting, too
        (update,) = self._made
        self._made = []
        room.edits += 1
        room.typed += 1
        room.pushed_bytes += len(update)
        body = b'{"update":"%b"}' % update.hex().encode()
        headers = {"Authorization": f"Bearer {self._token}"}
        request = request_bytes("POST", room.path, headers=headers, body=body)
        async with self._turn:
            status, answer = await self._http.request(request)
        if status != 200:
            raise BenchError(f"an edit was answered {status}: {answer[:300]!r}")

    def catch_up(self) -> None:
        """Import what has come. Only before this person types, and at the end: fifty documents that
        import each update at once would be more work than the server's, on one core."""
        if self._came:
            self._doc.import_batch(self._came)
            self._came = []

    def text(self) -> str:
        """What this person sees."""
        self.catch_up()
        return self._text.to_string()

    @property
    def is_open(self) -> bool:
        return self._socket.is_open

    def _note(self, update: bytes) -> bool:
        self._made.append(bytes(update))
        return True

    def _receive(self, opcode: int, payload: bytes) -> None:
        at = time.monotonic_ns()
        if opcode != BINARY:
            self._room.event_bytes += len(payload)
            return
        self._room.frame_bytes += len(payload)
        frame = read_document_frame(payload)
        assert frame is not None
        if frame.type == SNAPSHOT and not self.ready.done():
            self._doc.import_(frame.payload)
            self.ready.set_result(None)
            return
        self.heard += 1
        self._came.append(frame.payload)
        if self._samples:
            self._room.note_arrival(at, frame.payload)


def apply(text: LoroText, keystroke: Keystroke) -> None:
    """The keystroke in a text; one that is shorter than the typist thinks takes it at its end."""
    if keystroke.character:
        text.insert(min(keystroke.place, text.len_unicode), keystroke.character)
    elif keystroke.place < text.len_unicode:
        text.delete(keystroke.place, 1)


async def pace(editors: list[Editor], rate: float, seconds: float) -> None:
    """Keystrokes in turn at a fixed rate, whatever the server does; ends when all are answered."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            tasks.create_task(editors[number % len(editors)].type())


async def write(room: Room, editors: list[Editor], count: int) -> None:
    """`count` keystrokes in bursts: everybody types at once, then all wait until all have all.

    Without such moments, as they are in life, no edit would ever know of all before it, and the
    library then compares each with the whole history.
    """
    for start in range(0, count, len(editors)):
        async with asyncio.TaskGroup() as tasks:
            for editor in editors[: count - start]:
                tasks.create_task(editor.type())
        async with asyncio.timeout(SETTLE_SECONDS_MAX):
            while any(editor.heard < room.typed for editor in editors):  # noqa: ASYNC110
                await asyncio.sleep(BURST_STEP_SECONDS)


async def settle(room: Room, editors: list[Editor]) -> dict[str, float | int]:
    """Wait until all hold one text."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while True:
        texts = {editor.text() for editor in editors}
        if len(texts) == 1 or time.monotonic() > deadline:
            break
        await asyncio.sleep(SETTLE_STEP_SECONDS)
    room.alone.commit()
    return {
        "texts": len(texts),
        "open": sum(editor.is_open for editor in editors),
        "characters": len(next(iter(texts), "")),
        "alone_bytes": len(room.alone.export(ExportMode.Snapshot())),
    }


async def obey(order: list[str], room: Room, editors: list[Editor]) -> dict[str, float | int]:
    """Do what one line says."""
    began, used = time.monotonic(), time.process_time()
    known: dict[str, Callable[[], Awaitable[object]]] = {
        "pace": lambda: pace(editors, float(order[1]), float(order[2])),
        "write": lambda: write(room, editors, int(order[1])),
        "settle": lambda: settle(room, editors),
    }
    found = await known[order[0]]()
    if isinstance(found, dict):
        return found
    seconds = time.monotonic() - began
    busy = (time.process_time() - used) / seconds
    return {**room.state(), "seconds": seconds, "busy": busy}


async def serve(arguments: argparse.Namespace, tokens: list[str]) -> None:
    """Open everybody, then obey until stdin closes."""
    room = Room(f"/api/crdt/{arguments.entity}/{arguments.row}")
    follow = {"type": "crdt-subscribe", "entity": arguments.entity, "rowId": arguments.row}
    message = json.dumps(follow, separators=(",", ":")).encode()
    editors = [Editor(room, number, token) for number, token in enumerate(tokens)]
    for number, editor in enumerate(editors):
        await editor.open(arguments.port, number, message)
    print(json.dumps({"open": len(editors)}), flush=True)
    loop = asyncio.get_running_loop()
    while order := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await obey(order.split(), room, editors)), flush=True)


def main() -> None:
    """Parse the command line and run under uvloop."""
    parser = argparse.ArgumentParser(description="write one text together")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tokens", required=True, help="file with one token a line, one an editor")
    parser.add_argument("--entity", default="Page")
    parser.add_argument("--row", required=True)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments, Path(arguments.tokens).read_text().split()))


if __name__ == "__main__":
    main()
