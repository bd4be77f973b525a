"""Who may pass at a time: some of each client, in their order."""

from __future__ import annotations

import asyncio

import pytest

from pylon.api.gate import Gate
from pylon.errors import PylonError

ANN, BOB = "1.1.1.1", "2.2.2.2"


class World:
    """A gate, and who is inside."""

    def __init__(self) -> None:
        self.gate = Gate(2, 3)
        self.inside: list[str] = []
        self.doors: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str, address: str = ANN) -> None:
        for name in names:
            self.doors[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._pass(name, address))
        await asyncio.sleep(0)

    async def _pass(self, name: str, address: str) -> None:
        await self.gate.enter(address)
        try:
            self.inside.append(name)
            await self.doors[name].wait()
        finally:
            self.inside.remove(name)
            self.gate.leave(address)

    async def go(self, name: str) -> None:
        self.doors[name].set()
        await self.tasks[name]
        await asyncio.sleep(0)

    async def leave(self, name: str) -> None:
        """Its client goes."""
        self.tasks[name].cancel()
        await asyncio.gather(self.tasks[name], return_exceptions=True)
        await asyncio.sleep(0)


async def test_some_of_each_pass_at_a_time_in_their_order() -> None:
    world = World()
    await world.come("a", "b", "c", "d")
    await world.come("e", address=BOB)
    assert world.inside == ["a", "b", "e"]
    await world.go("b")
    assert world.inside == ["a", "e", "c"]
    for name in ("a", "c", "d", "e"):
        await world.go(name)
    assert (world.gate._inside, world.gate._waiting) == ({}, {})


async def test_too_many_are_refused() -> None:
    world = World()
    await world.come("a", "b", "c", "d", "e")
    with pytest.raises(PylonError) as caught:
        await world.gate.enter(ANN)
    assert (caught.value.status, caught.value.code) == (503, "OVERLOADED")
    assert caught.value.extra["retry_after_secs"] > 0
    await world.gate.enter(BOB)
    world.gate.leave(BOB)
    for name in "abcde":
        await world.leave(name)


async def test_who_leaves_holds_up_nobody() -> None:
    world = World()
    await world.come("a", "b", "c", "d", "e")
    await world.leave("c")
    await world.leave("a")
    assert world.inside == ["b", "d"]
    # One that goes at the moment at which it becomes its turn hands the place on.
    world.doors["b"].set()
    await asyncio.sleep(0)
    await world.leave("e")
    for name in ("b", "d"):
        await world.go(name)
    assert (world.gate._inside, world.gate._waiting) == ({}, {})
