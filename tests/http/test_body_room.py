"""Room for bodies in memory: shares of addresses, the order of waiting, and who makes way."""

from __future__ import annotations

import asyncio
from collections import Counter
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.clock import ManualClock, SystemClock
from pylon.errors import PylonError
from pylon.http.asgi import Message
from pylon.http.body_room import BodyRoom, Place
from pylon.http.request import Request
from pylon.tasks import Tasks
from tests.http.test_request import part, receiving, request


def room_of(bytes_max: int = 80, body_bytes_max: int = 10) -> BodyRoom:
    """Room for 80 bytes, 10 an address."""
    return BodyRoom(SystemClock(), bytes_max=bytes_max, body_bytes_max=body_bytes_max)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def waiting(tasks: Tasks, room: BodyRoom, address: str, size: int) -> asyncio.Task[Place]:
    return tasks.start(f"{address} {size}", room.take(address, size), logs=False)


async def test_an_address_has_its_share_and_the_others_go_on() -> None:
    room, tasks = room_of(), Tasks()
    first = await room.take("a", 6)
    second = waiting(tasks, room, "a", 5)
    third = waiting(tasks, room, "a", 4)
    await settle()
    assert (room.taken, room.waiting) == (6, 2), "the third fits, but came later"
    await room.take("b", 10)
    first.give_back()
    first.give_back()
    assert (await second).size == 5
    assert (await third).size == 4
    assert (room.taken, room.waiting) == (19, 0)


async def test_one_that_is_too_large_for_the_rest_comes_to_its_turn() -> None:
    room, tasks = room_of(), Tasks()
    places = [await room.take(str(n), 10) for n in range(8)]
    large = waiting(tasks, room, "x", 10)
    await settle()
    small = waiting(tasks, room, "y", 1)
    places[0].end()  # of which nothing has come
    await settle()
    assert large.done()
    assert not small.done()
    places[1].give_back()
    await small
    assert room.taken == 71


async def test_what_is_larger_than_a_share_counts_as_one() -> None:
    room = room_of()
    assert (await room.take("a", 1_000)).size == 10


async def test_who_waits_too_long_is_told_whose_fault_it_is() -> None:
    room = room_of()
    with patch.object(limits, "BODY_WAIT_SECONDS_MAX", 0.02):
        await room.take("a", 6)
        with pytest.raises(PylonError) as refused:
            await room.take("a", 6)
        assert (refused.value.status, refused.value.code) == (429, "TOO_MANY_BODIES")
        assert b"retry-after" in dict(refused.value.headers)
        for n in range(7):
            await room.take(str(n), 10)
        with pytest.raises(PylonError) as refused:
            await room.take("x", 10)
        assert (refused.value.status, refused.value.code) == (503, "OVERLOADED")
    assert (room.taken, room.waiting, room.refused) == (76, 0, 2)


async def test_few_may_wait() -> None:
    room, tasks = room_of(), Tasks()
    place = await room.take("a", 10)
    with (
        patch.object(limits, "BODIES_WAITING_PER_ADDRESS", 2),
        patch.object(limits, "BODIES_WAITING_MAX", 3),
    ):
        for _ in range(2):
            waiting(tasks, room, "a", 10)
        await settle()
        with pytest.raises(PylonError) as refused:
            await room.take("a", 1)
        assert refused.value.code == "TOO_MANY_BODIES"
        for n in range(7):
            await room.take(str(n), 10)
        waiting(tasks, room, "b", 10)
        await settle()
        with pytest.raises(PylonError):
            await room.take("c", 10)
    await tasks.stop()
    place.give_back()
    assert (room.taken, room.waiting) == (70, 0), "who gives up waiting leaves nothing"


async def test_who_gives_up_in_the_turn_of_its_admission_leaves_nothing() -> None:
    room, tasks = room_of(), Tasks()
    place = await room.take("a", 10)
    second = waiting(tasks, room, "a", 10)
    await settle()
    place.give_back()
    second.cancel()
    await settle()
    assert (room.taken, room.waiting) == (0, 0)


@given(
    st.lists(st.tuples(st.sampled_from("abcdefghij"), st.integers(1, 12)), max_size=60), st.data()
)
def test_no_more_than_the_room_and_everybody_in_the_end(
    bodies: list[tuple[str, int]], data: st.DataObject
) -> None:
    async def run() -> None:
        room, tasks = BodyRoom(ManualClock(), bytes_max=40, body_bytes_max=8), Tasks()
        tries = [waiting(tasks, room, address, size) for address, size in bodies]
        await settle()
        given_back: set[Place] = set()
        while True:
            held = [task.result() for task in tries if task.done()]
            held = [place for place in held if place not in given_back]
            assert room.taken == sum(place.size for place in held) <= 40
            shares = Counter[str]()
            for place in held:
                shares[place.key] += place.size
            assert all(share <= 8 for share in shares.values())
            if not held:
                break
            place = held[data.draw(st.integers(0, len(held) - 1))]
            given_back.add(place)
            place.give_back()
            await settle()
        assert all(task.done() for task in tries)
        assert room.taken == 0

    asyncio.run(run())


# --- requests --------------------------------------------------------------------------------

KIB = 1_024


def sending(room: BodyRoom, *messages: Message, announced: int | None = None) -> Request:
    headers = [] if announced is None else [(b"content-length", b"%d" % announced)]
    found = request(headers=headers, receive=receiving(*messages))
    found.room = room
    return found


async def test_a_body_takes_its_room_before_it_is_read_and_gives_it_back() -> None:
    room = room_of(bytes_max=800 * KIB, body_bytes_max=100 * KIB)
    body = part(b"x" * (70 * KIB))
    first, second = (sending(room, body, announced=70 * KIB) for _ in range(2))
    assert len(await first.body()) == 70 * KIB
    reading, tasks = asyncio.Event(), Tasks()

    async def receive() -> Message:
        reading.set()
        return body

    second.receive = receive
    late = tasks.start("late", second.body())
    await settle()
    assert room.waiting == 1
    assert not reading.is_set(), "nothing is taken from its socket"
    first.forget_body()
    assert len(await late) == 70 * KIB
    second.forget_body()
    assert room.taken == 0


async def test_small_bodies_need_no_room() -> None:
    room = room_of(bytes_max=1, body_bytes_max=1)
    full = b"x" * limits.BODY_BYTES_FREE
    assert await sending(room, part(full), announced=len(full)).body() == full
    pieces = [part(full[:-1], more=True), part(b"x")]
    assert await sending(room, *pieces).body() == full
    assert room.taken == 0


async def test_a_body_of_unknown_length_takes_what_it_may_have_and_keeps_what_it_has() -> None:
    room = room_of(bytes_max=8_000 * KIB, body_bytes_max=1_000 * KIB)
    found = sending(room, part(b"x" * 65 * KIB, more=True), part(b"y" * KIB, more=True), part(b""))
    found.body_bytes_max = 1_000 * KIB
    seen: list[int] = []
    receive = found.receive

    async def look() -> Message:
        seen.append(room.taken)
        return await receive()

    found.receive = look
    assert len(await found.body()) == 66 * KIB
    assert seen == [0, 1_000 * KIB, 1_000 * KIB]
    assert room.taken == 66 * KIB
    found.forget_body()
    assert room.taken == 0


async def test_a_slow_body_makes_way_for_one_that_waits() -> None:
    room = room_of(bytes_max=800 * KIB, body_bytes_max=100 * KIB)
    slow = sending(room, part(b"x", more=True), announced=100 * KIB)
    tasks = Tasks()
    with patch.object(limits, "BODY_PACE_SECONDS", 0.02):
        reading = tasks.start("slow", slow.body(), logs=False)
        await settle()
        quick = sending(room, part(b"y" * 70 * KIB), announced=70 * KIB)
        waits = tasks.start("quick", quick.body())
        with pytest.raises(PylonError) as refused:
            await reading
        assert (refused.value.status, refused.value.code) == (408, "REQUEST_TIMEOUT")
        slow.forget_body()
        assert len(await waits) == 70 * KIB
    assert room.too_slow == 1


async def test_a_slow_body_of_another_address_stays_where_it_is_in_nobodys_way() -> None:
    room = room_of(bytes_max=800 * KIB, body_bytes_max=100 * KIB)
    slow = sending(room, part(b"x", more=True), announced=70 * KIB)
    slow.client = "10.0.0.9"
    tasks = Tasks()
    with patch.multiple(limits, BODY_PACE_SECONDS=0.02, BODY_WAIT_SECONDS_MAX=0.2):
        reading = tasks.start("slow", slow.body(), logs=False)
        await room.take("10.0.0.1", 100 * KIB)
        with pytest.raises(PylonError):
            await room.take("10.0.0.1", 100 * KIB)
        assert not reading.done()
    await tasks.stop()
