"""The outlet that somebody else empties."""

from __future__ import annotations

import asyncio

from pylon.live.outlet import LINES
from pylon.live.sockets import QueueOutlet


async def test_what_is_written_is_taken_once_and_counted() -> None:
    outlet = QueueOutlet(LINES)
    taking = asyncio.create_task(outlet.take())
    await asyncio.sleep(0)
    assert not taking.done()
    outlet.write(b"ab")
    outlet.write(b"c")
    assert (outlet.backlog(), outlet.written()) == (3, 3)
    assert await taking == [b"ab", b"c"]
    assert (outlet.backlog(), outlet.written()) == (0, 3)


async def test_after_its_end_the_rest_is_taken_and_nothing_is_written() -> None:
    outlet = QueueOutlet(LINES)
    outlet.write(b"a")
    outlet.close(1013, "first")
    outlet.close(1001, "second")
    outlet.write(b"b")
    assert outlet.ended == (1013, "first")
    assert await outlet.take() == [b"a"]
    assert await outlet.take() == []
