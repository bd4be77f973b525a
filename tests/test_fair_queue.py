"""Places that callers take in turn: none has all of them, and who asks for little waits little."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.fair_queue import FairQueue
from tests.policy.worlds import effort


class TooManyWaiting(Exception):
    """The refusal of these places."""


class World:
    """Callers who take places and keep them until they are told to let go."""

    def __init__(self, count: int, **bounds: int) -> None:
        bounds = {"each": 2, "waiting_max": 8, "waiting_each_max": 4, **bounds}
        self.places = FairQueue(count or None, refusal=TooManyWaiting, **bounds)
        self.inside: list[str | None] = []
        self.served: list[str | None] = []
        self._ends: dict[asyncio.Task[None], asyncio.Event] = {}

    async def ask(self, callers: Iterable[str | None]) -> list[asyncio.Task[None]]:
        tasks = []
        for caller in callers:
            end = asyncio.Event()
            task = asyncio.create_task(self._stay(caller, end))
            self._ends[task] = end
            tasks.append(task)
            await turns()
        return tasks

    async def _stay(self, caller: str | None, end: asyncio.Event) -> None:
        await self.places.take(caller)
        try:
            self.inside.append(caller)
            self.served.append(caller)
            await end.wait()
        finally:
            self.inside.remove(caller)
            self.places.give(caller)

    async def end(self, task: asyncio.Task[None]) -> None:
        self._ends[task].set()
        await turns()

    async def end_all(self) -> None:
        for end in self._ends.values():
            end.set()
        await asyncio.gather(*self._ends, return_exceptions=True)


async def turns() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def test_one_caller_leaves_a_place_to_others() -> None:
    world = World(3)
    await world.ask(["a"] * 5)
    assert world.inside == ["a", "a"]
    await world.ask("b")
    assert world.inside == ["a", "a", "b"]
    assert len(world.places) == 6
    await world.end_all()
    assert (world.inside, len(world.places)) == ([], 0)


async def test_callers_have_their_turns_one_after_another() -> None:
    world = World(1, each=1)
    await world.ask("aaabbc")
    await world.end_all()
    assert "".join(map(str, world.served)) == "abcaba"


async def test_the_server_is_not_bounded_by_itself() -> None:
    world = World(3, waiting_each_max=1)
    tasks = await world.ask([None] * 6)
    assert world.inside == [None] * 3
    await world.end(tasks[0])
    assert world.inside == [None] * 3
    await world.end_all()


async def test_the_queue_has_an_end_and_one_caller_has_a_part_of_it() -> None:
    world = World(1, waiting_max=3, waiting_each_max=2)
    tasks = await world.ask("aaaab")
    assert [task.done() for task in tasks] == [False, False, False, True, False]
    (refused, *_) = await world.ask("c")
    for each in (tasks[3], refused):
        with pytest.raises(TooManyWaiting):
            await each
    await world.end_all()
    assert "".join(map(str, world.served)) == "abaa"


async def test_where_only_one_caller_s_own_places_are_few() -> None:
    """As many in all as are asked for: nobody waits for anybody else."""
    world = World(0, waiting_max=99)
    tasks = await world.ask("aaabab")
    assert world.inside == ["a", "a", "b", "b"]
    await world.end(tasks[3])
    assert world.inside == ["a", "a", "b"]
    await world.end(tasks[0])
    assert world.inside == ["a", "b", "a"]
    await world.end_all()
    assert (world.inside, len(world.places)) == ([], 0)


async def test_who_waits_for_too_long_is_refused() -> None:
    places = FairQueue(1, refusal=TooManyWaiting, waiting_each_max=2, seconds_max=0.01)
    assert not await places.take("a")
    with pytest.raises(TooManyWaiting):
        await places.take("b")
    assert (places.waiting, places.refused) == (0, 1)
    places.give("a")
    assert not await places.take("b")


async def test_who_leaves_the_queue_gives_the_place_on() -> None:
    world = World(1, each=1)
    tasks = await world.ask("aabc")
    tasks[1].cancel()
    await turns()
    world._ends[tasks[0]].set()
    await asyncio.sleep(0)
    tasks[2].cancel()  # with the place in its hand
    await turns()
    assert world.inside == ["c"]
    await world.end_all()
    assert len(world.places) == 0


Step = tuple[str, int]


@effort(200)
@given(
    steps=st.lists(st.tuples(st.sampled_from(("a", "b", "c", "end", "cancel")), st.integers(0, 20)))
)
def test_no_place_is_lost_or_given_twice(steps: list[Step]) -> None:
    async def run() -> None:
        world = World(3)
        tasks: list[asyncio.Task[None]] = []
        for word, number in steps:
            if word in ("a", "b", "c"):
                tasks += await world.ask(word)
            elif tasks and word == "end":
                await world.end(tasks[number % len(tasks)])
            elif tasks:
                tasks[number % len(tasks)].cancel()
                if number % 2:  # else together with what comes next
                    await turns()
            counts = {caller: world.inside.count(caller) for caller in world.inside}
            assert len(world.inside) <= 3
            assert all(count <= 2 for count in counts.values())
        await turns()
        waiting = len(world.places) - len(world.inside)
        assert not waiting or len(world.inside) == 3 or len(set(world.inside)) == 1
        await world.end_all()
        assert len(world.places) == 0
        await world.ask("abc")
        assert world.inside == ["a", "b", "c"]
        await world.end_all()

    asyncio.run(run())
