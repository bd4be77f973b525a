"""Replicas converge: whatever is written and whenever readers pull, connect or drop out, each ends
with exactly the rows that a list shows it, and has never been told of another."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pylon.errors import PylonError
from pylon.identity import ADMIN, ANONYMOUS, Identity
from tests.sync.replica import Replica
from tests.sync.world import World, world

ANN = Identity(user_id="ann", tenant_id="acme")
BOB = Identity(user_id="bob")
READERS = (ANN, BOB, ANONYMOUS, ADMIN)
ENTITIES = ("Note", "Open", "Room", "Member")
LONG = bool(os.environ.get("PYLON_LONG"))

owner = st.sampled_from(["ann", "bob", None])
org = st.sampled_from(["acme", None])
flag = st.sampled_from([True, False, None])
note = st.fixed_dictionaries(
    {},
    optional={
        "ownerId": owner,
        "orgId": org,
        "public": flag,
        "text": st.text(max_size=3),
        "secret": st.text(max_size=3),
    },
)
opened = st.fixed_dictionaries({}, optional={"n": st.integers(0, 9), "shown": flag})
team = st.sampled_from(["red", "blue", None])
few = st.integers(1, 3)
room = st.fixed_dictionaries({}, optional={"teamId": team, "text": st.text(max_size=3), "n": few})
member = st.fixed_dictionaries({}, optional={"teamId": team, "userId": owner, "n": few})
row = st.one_of(
    st.tuples(st.just("Note"), note),
    st.tuples(st.just("Open"), opened),
    st.tuples(st.just("Room"), room),
    st.tuples(st.just("Member"), member),
)
who = st.integers(0, len(READERS) - 1)
step = st.one_of(
    st.tuples(st.just("insert"), row),
    st.tuples(st.just("update"), st.integers(0, 9), row),
    st.tuples(st.just("update"), st.integers(0, 9), row),
    st.tuples(st.just("delete"), st.integers(0, 9)),
    st.tuples(st.just("revive"), st.integers(0, 9), row),
    st.tuples(st.just("pull"), who),
    st.tuples(st.just("connect"), who),
    st.tuples(st.just("connect"), who),
    st.tuples(st.just("drop"), who),
    st.tuples(st.just("settle")),
    st.tuples(st.just("purge")),
)


class Play:
    """One random history."""

    def __init__(self, app: World) -> None:
        self.app = app
        self.replicas = [Replica(identity) for identity in READERS]
        self.joins: dict[int, asyncio.Task[bool]] = {}
        self.ids: list[tuple[str, str]] = []
        self.writes: list[asyncio.Future[Any]] = []

    async def run(self, steps: list[tuple[Any, ...]]) -> None:
        for kind, *parts in steps:
            await getattr(self, kind)(*parts)
            await asyncio.sleep(0)
        await self.settle()
        for number, replica in enumerate(self.replicas):
            if number in self.joins and replica.closed is None:
                await self.joins[number]
                await self.settle()
            else:
                await replica.pull(self.app)
            assert replica.closed in (None, 1013), "only a stale cursor ends a stream"
            await replica.equals_truth(self.app, ENTITIES)

    def write(self, work: Any) -> None:
        """Start a write without waiting, so that writes, pulls and joins overlap."""
        self.writes.append(asyncio.ensure_future(self.app.rows.write(ADMIN, work)))

    async def settle(self) -> None:
        """Wait until every write is committed and sent."""
        for result in await asyncio.gather(*self.writes, return_exceptions=True):
            assert not isinstance(result, BaseException) or isinstance(result, PylonError), result
        self.writes = []
        while self.app.hub.is_flushing:  # noqa: ASYNC110
            await asyncio.sleep(0.0005)

    async def insert(self, target: tuple[str, dict[str, Any]]) -> None:
        entity, data = target
        row_id = self.app.rows.ids.new()
        self.ids.append((entity, row_id))
        self.write(lambda tx: tx.insert(entity, {**data, "id": row_id}))

    async def revive(self, index: int, target: tuple[str, dict[str, Any]]) -> None:
        """Insert again under the id of a row that may have been deleted."""
        found = [pair for pair in self.ids if pair[0] == target[0]]
        if found:
            entity, row_id = found[index % len(found)]
            self.write(lambda tx: tx.insert(entity, {**target[1], "id": row_id}))

    async def update(self, index: int, target: tuple[str, dict[str, Any]]) -> None:
        found = [pair for pair in self.ids if pair[0] == target[0]]
        if found and target[1]:
            entity, row_id = found[index % len(found)]
            self.write(lambda tx: tx.update(entity, row_id, dict(target[1])))

    async def delete(self, index: int) -> None:
        if self.ids:
            entity, row_id = self.ids[index % len(self.ids)]
            self.write(lambda tx: tx.delete(entity, row_id))

    async def pull(self, number: int) -> None:
        if number not in self.joins:
            await self.replicas[number].pull(self.app)

    async def connect(self, number: int) -> None:
        if number not in self.joins:
            replica = self.replicas[number]
            replica.closed = None
            self.joins[number] = asyncio.ensure_future(
                self.app.hub.join(replica.identity, replica, replica.cursor)
            )

    async def drop(self, number: int) -> None:
        join = self.joins.pop(number, None)
        if join is not None:
            await join
            self.app.hub.leave(self.replicas[number])

    async def purge(self) -> None:
        await self.settle()
        self.app.clock.advance(100)
        await self.app.log.purge(50)


@settings(
    max_examples=3000 if LONG else 300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(step, max_size=40))
def test_every_replica_ends_as_the_truth(steps: list[tuple[Any, ...]]) -> None:
    async def play() -> None:
        async with world() as app:
            await Play(app).run(steps)

    asyncio.run(play())
