"""The parts that have a loop: the alarm, the wait for a slow client, the date."""

from __future__ import annotations

import asyncio

from pylon.http.ending import NEVER
from pylon.http.shell import Alarm, DateLine, Drain
from tests.http.live import both_loops


async def a_few_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@both_loops
async def test_the_alarm_rings_at_the_earliest_time_and_once() -> None:
    loop = asyncio.get_running_loop()
    rang: list[float] = []
    ringing = asyncio.Event()

    def ring(now: float) -> None:
        rang.append(now)
        ringing.set()

    alarm = Alarm(loop, ring)
    start = loop.time()
    alarm.by(start + 3600)
    alarm.by(start + 0.01)
    alarm.by(start + 60)
    assert alarm.at == start + 0.01
    async with asyncio.timeout(60):
        await ringing.wait()
    assert alarm.at == NEVER
    assert len(rang) == 1
    assert rang[0] >= start + 0.01, "never early, whatever the loop's resolution"


@both_loops
async def test_a_stopped_alarm_is_silent() -> None:
    loop = asyncio.get_running_loop()
    rang: list[float] = []
    alarm = Alarm(loop, rang.append)
    alarm.by(loop.time() + 0.01)
    alarm.stop()
    alarm.by(loop.time())
    await asyncio.sleep(0.05)
    assert rang == []


@both_loops
async def test_a_drain_holds_everybody_until_it_is_resumed() -> None:
    drain = Drain()
    await drain.wait()
    drain.pause()
    waiting = [asyncio.create_task(drain.wait()) for _ in range(3)]
    await a_few_turns()
    assert not any(task.done() for task in waiting)
    drain.resume()
    drain.pause()  # At once again: nobody may slip through.
    await a_few_turns()
    assert not any(task.done() for task in waiting)
    drain.resume()
    async with asyncio.timeout(60):
        await asyncio.gather(*waiting)


def test_the_date_is_made_again_when_a_second_has_passed() -> None:
    date = DateLine()
    first = date.at(5.0)
    assert first.startswith(b"\r\ndate: ")
    assert first.endswith(b" GMT")
    assert date.at(5.9) is first
    assert date.at(6.0) is not first
