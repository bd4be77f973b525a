"""Places that callers take in turn: none has all of them, and who asks for little waits little."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.store.sqlite.places import Places, TooManyWaiting
from tests.policy.worlds import effort


class World:
    """Callers who take places and keep them until they are told to let go."""

    def __init__(self, count: int, **bounds: int) -> None:
        self.places = Places(count, **{"each": 2, "waiting": 8, "waiting_each": 4, **bounds})
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
        async with self.places.place(caller):
            self.inside.append(caller)
            self.served.append(caller)
            try:
                await end.wait()
            finally:
                self.inside.remove(caller)

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
    world = World(3, waiting_each=1)
    tasks = await world.ask([None] * 6)
    assert world.inside == [None] * 3
    await world.end(tasks[0])
    assert world.inside == [None] * 3
    await world.end_all()


async def test_the_queue_has_an_end_and_one_caller_has_a_part_of_it() -> None:
    world = World(1, waiting=3, waiting_each=2)
    tasks = await world.ask("aaaab")
    assert [task.done() for task in tasks] == [False, False, False, True, False]
    (refused, *_) = await world.ask("c")
    for each in (tasks[3], refused):
        with pytest.raises(TooManyWaiting):
            await each
    await world.end_all()
    assert "".join(map(str, world.served)) == "abaa"


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
