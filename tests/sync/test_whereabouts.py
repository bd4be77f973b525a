"""Positions asked of another process, and what is assumed where there is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pylon.calls import CallTable, LoopbackCalls
from pylon.clock import ManualClock
from pylon.errors import PylonError
from pylon.sync.positions import RECENT_SECONDS, Positions, caller_at
from pylon.sync.whereabouts import (
    UNREACHED,
    Asked,
    Here,
    Known,
    Presented,
    Pulled,
    Whereabouts,
    WhereaboutsCalls,
)
from pylon.tasks import Tasks

ANN = b"ann"
HERE = caller_at("here")


class Broken:
    """The owner cannot be reached."""

    async def ask(self, *_: Any) -> Any:
        raise PylonError(503, "OVERLOADED", "The owner is away.")


class Two:
    """The owner and another process."""

    def __init__(self, tasks: Tasks) -> None:
        self.clock = ManualClock()
        self.here = Here(Positions(self.clock))
        table, ask = CallTable(lambda: 0), WhereaboutsCalls(self.here)
        for call in ask.all():
            table.add(call)
        self.there = Asked(ask, LoopbackCalls(table), tasks)
        self.cut_off = Asked(ask, Broken(), tasks)


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    tasks = Tasks()
    yield Two(tasks)
    await tasks.stop()


async def pulled(where: Whereabouts, since: int, until: int, began: int = 0) -> None:
    await where.pulled([Pulled(ANN, since, until, began, named=True)])


async def test_pulls_in_one_process_pay_for_streams_in_another(two: Two) -> None:
    await pulled(two.here, 0, 100, began=7)
    assert (await two.there.presented(ANN, HERE, 100)).whole_from == 7
    await pulled(two.there, 100, 200)
    taken = await two.here.of(ANN, takes=True)
    assert taken == Known(position=200, is_behind=False, is_named=True, is_young=True)
    assert (await two.there.of(ANN, takes=True)).position == 0, "the only pull is used up"
    assert (await two.there.of(b"bob", takes=True)).position is None


async def test_ends_of_streams_are_heard_of(two: Two) -> None:
    await pulled(two.there, 0, 100)
    await pulled(two.there, 0, 300)
    two.there.lost(ANN, 50)
    async with asyncio.timeout(60):
        while (await two.here.of(ANN, takes=False)).position != 50:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await two.there.too_far(ANN, 50)
    assert (await two.here.of(ANN, takes=False)).is_behind


async def test_the_owner_says_when_it_has_just_been_started(two: Two) -> None:
    two.clock.advance(RECENT_SECONDS)
    assert not (await two.there.of(ANN, takes=False)).is_young


async def test_without_the_owner_nothing_is_known_and_nothing_fails(two: Two) -> None:
    await pulled(two.here, 0, 100, began=7)
    await pulled(two.cut_off, 100, 200)
    assert await two.cut_off.presented(ANN, HERE, 100) == Presented(whole_from=0, is_given=True)
    assert await two.cut_off.of(ANN, takes=True) == UNREACHED
    assert UNREACHED.is_behind, "so the client is sent to pull"
    assert UNREACHED.is_young, "so the last minute is replayed to those who need not"
    await two.cut_off.too_far(ANN, 100)
    two.cut_off.lost(ANN, 100)
    await asyncio.sleep(0)
    assert (await two.here.of(ANN, takes=True)).position == 100
