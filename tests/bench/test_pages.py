"""A whole pull against a real socket: pages in pieces, rows counted, the cursor followed."""

from __future__ import annotations

import asyncio
import contextlib

from bench.puller import Puller
from pylon.wire.events import event_json, pull_page_json

ROWS = 250
PAGE_ROWS = 100
PIECE_BYTES = 1000


def page(since: int) -> bytes:
    numbers = range(since + 1, min(ROWS, since + PAGE_ROWS) + 1)
    events = [
        event_json(seq=number, entity="Item", row_id="a", kind="insert", data=b"{}", timestamp="1Z")
        for number in numbers
    ]
    last = numbers[-1] if numbers else since
    return pull_page_json(events, last_seq=last, has_more=last < ROWS)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = await reader.readuntil(b"\r\n\r\n")
    body = page(int(request.split(b"since=")[1].split(b" ")[0]))
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    for start in range(0, len(whole), PIECE_BYTES):
        writer.write(whole[start : start + PIECE_BYTES])
        await writer.drain()


async def test_a_whole_pull_counts_every_row_each_time() -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await answer(reader, writer)
        writer.close()
        await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        puller = Puller(server.sockets[0].getsockname()[1], "token")
        for _ in range(2):
            found = await asyncio.to_thread(puller.pull)
            assert (found["rows"], found["pages"]) == (ROWS, 3)
        puller.close()
        await gone.wait()
