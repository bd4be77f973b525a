"""Replicas converge: whatever is written and whenever readers pull, connect or drop out, each ends
with exactly the rows that a list shows it, and has never been told of another."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pylon import limits
from pylon.changes.facts import SessionChanged
from pylon.errors import PylonError
from pylon.identity import ADMIN, ANONYMOUS, Identity
from pylon.sync.push import PushedChange
from tests.sync.replica import Replica
from tests.sync.world import World, world

ANN = Identity(user_id="ann", tenant_id="acme")
BOB = Identity(user_id="bob")
CLEO = Identity(user_id="cleo", session_id=b"c" * 32)
CLEO_AT_ACME = replace(CLEO, tenant_id="acme")
READERS = (ANN, BOB, ANONYMOUS, ADMIN, CLEO)
CHANGEABLE = READERS.index(CLEO)
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
    st.tuples(st.just("start"), who),
    st.tuples(st.just("drop"), who),
    st.tuples(st.just("push"), who, note),
    st.tuples(st.just("switch")),
    st.tuples(st.just("settle")),
    st.tuples(st.just("purge")),
    st.tuples(st.just("jump"), st.sampled_from([-40 * 86_400, -3_600, 3_600, 40 * 86_400])),
)


class Play:
    """One random history."""

    def __init__(
        self,
        app: World,
        readers: Sequence[Identity] = READERS,
        entities: Sequence[str] = ENTITIES,
    ) -> None:
        self.app = app
        self.entities = entities
        self.replicas = [Replica(identity) for identity in readers]
        self.joins: dict[int, asyncio.Task[bool]] = {}
        self.ids: list[tuple[str, str]] = []
        self.writes: list[asyncio.Future[Any]] = []

    async def run(self, steps: list[tuple[Any, ...]]) -> None:
        for kind, *parts in steps:
            await getattr(self, kind)(*parts)
            await asyncio.sleep(0)
        await self.end()

    async def end(self) -> None:
        """Every reader that has no stream pulls; then each holds the truth."""
        await self.settle()
        for number, replica in enumerate(self.replicas):
            if number in self.joins:
                await self.joins[number]
                await self.settle()
            if number not in self.joins or replica.closed is not None:
                await replica.pull(self.app)
            assert replica.closed in (None, 1008, 1013), "only a stale cursor ends a stream"
            live = [event["seq"] for event in replica.events if event["seq"] > replica.joined_at]
            assert live == sorted(set(live)), "in order, none twice"
            await replica.equals_truth(self.app, self.entities)

    def write(self, work: Any) -> None:
        """Start a write without waiting, so that writes, pulls and joins overlap."""
        self.writes.append(asyncio.ensure_future(self.app.rows.write(ADMIN, work)))

    async def settle(self) -> None:
        """Wait until every write is committed and sent."""
        for result in await asyncio.gather(*self.writes, return_exceptions=True):
            assert not isinstance(result, BaseException) or isinstance(result, PylonError), result
        self.writes = []
        await self.app.settle()

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
        """Open a stream from the cursor, as a client does that says where it is."""
        if number not in self.joins:
            self.open(number, self.replicas[number].cursor)

    async def start(self, number: int) -> None:
        """Pull, then open a stream without a word of the cursor, as the official client does."""
        if number not in self.joins and self.replicas[number].identity.user_id is not None:
            await self.replicas[number].pull(self.app)
            self.open(number, None)

    def open(self, number: int, since: int | None) -> None:
        replica = self.replicas[number]
        replica.closed, replica.events, replica.joined_at = None, [], replica.cursor
        self.joins[number] = asyncio.ensure_future(self.join(replica, since))

    async def join(self, replica: Replica, since: int | None) -> bool:
        mark, identity = self.app.sessions.ended.mark, replica.identity
        try:
            start = await self.app.pulls.start(identity, "here", since)
        except PylonError:
            replica.close(1013, "resync required")
            return False
        if start.since is None:
            replica.joined_at = self.app.store.seq
        if self.app.sessions.ended.since(identity.session_id, mark) != "open":
            replica.close(1008, "session ended")  # as the doors do
            return True
        return await self.app.hub.join(identity, replica, start.since)

    async def push(self, number: int, data: dict[str, Any]) -> None:
        """Show a row under a temporary id until the server names the real one."""
        replica = self.replicas[number]
        if replica.identity.user_id is None or (replica.closed is not None):
            return
        temporary = f"_pending_{number}_{len(self.writes)}_{len(replica.events)}"
        replica.rows.setdefault("Note", {})[temporary] = {"id": temporary, **data}
        change = PushedChange(entity="Note", row_id=temporary, kind="insert", data=data)

        async def push() -> None:
            done = await self.app.push.push(replica.identity, [change])
            if done.errors:  # the client keeps it; this one is tidy
                replica.rows.get("Note", {}).pop(temporary, None)

        self.writes.append(asyncio.ensure_future(push()))

    async def switch(self) -> None:
        """A session chooses another tenant, or none: its streams end, its cursors are void."""
        replica = self.replicas[CHANGEABLE]
        replica.identity = CLEO if replica.identity == CLEO_AT_ACME else CLEO_AT_ACME
        await self.app.tell(
            SessionChanged(
                session_id=b"c" * 32, user_id="cleo", tenant_id=replica.identity.tenant_id
            )
        )
        join = self.joins.get(CHANGEABLE)
        if join is not None:
            await join

    async def drop(self, number: int) -> None:
        join = self.joins.pop(number, None)
        if join is not None:
            await join
            self.app.hub.leave(self.replicas[number], "client")

    async def purge(self) -> None:
        await self.settle()
        self.app.clock.advance(100)
        await self.app.log.purge(50)
        await self.app.pulls._epochs.purge()

    async def jump(self, seconds: int) -> None:
        """The wall clock is set."""
        self.app.clock.jump(seconds)


@settings(
    max_examples=3000 if LONG else 300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(step, max_size=40), st.booleans(), st.booleans(), st.booleans())
def test_every_replica_ends_as_the_truth(
    steps: list[tuple[Any, ...]], small_pages: bool, slow: bool, keeps: bool
) -> None:
    """Also where the database is behind a network, and where what a reader belongs to is too much
    to be kept, so that turns of the hub wait for it."""

    async def play() -> None:
        async with world(slow=slow) as app:
            await Play(app).run(steps)

    with ExitStack() as stack:
        if not keeps:
            stack.enter_context(
                mock.patch("pylon.policy.membership.POLICY_MEMBERS_REMEMBERED_MAX", 0)
            )
        if small_pages:
            stack.enter_context(mock.patch.object(limits, "PULL_ROWS_MAX", 2))
            stack.enter_context(mock.patch("pylon.sync.pull.SCAN_ROWS_FIRST", 1))
        asyncio.run(play())


async def test_a_full_pull_of_many_pages_survives_a_purge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cursors on the way up lie below the newest purged delete."""
    monkeypatch.setattr(limits, "PULL_ROWS_MAX", 2)
    monkeypatch.setattr("pylon.sync.pull.SCAN_ROWS_FIRST", 1)
    async with world() as app:
        for n in range(7):
            row = await app.rows.insert(ADMIN, "Open", {"n": n, "shown": True})
        await app.rows.delete(ADMIN, "Open", row["id"])
        app.clock.advance(100)
        assert await app.log.purge(50) == 1
        replica = Replica(ANN)
        await replica.pull(app)
        assert len(replica.rows["Open"]) == 6
        assert replica.resets == 0
        await app.rows.insert(ADMIN, "Open", {"n": 9, "shown": True})
        await replica.pull(app)
        assert replica.resets == 0


async def test_a_session_never_starts_in_the_middle() -> None:
    """What a page has kept from whoever was signed in before is void."""
    async with world() as app:
        await app.rows.insert(ADMIN, "Note", {"ownerId": "ann"})
        replica = Replica(CLEO)
        replica.cursor = app.store.seq
        await replica.pull(app)
        assert replica.resets == 1


async def test_all_tabs_of_a_session_start_anew_when_it_means_another_reader() -> None:
    async with world() as app:
        tabs = [Replica(CLEO), Replica(CLEO)]
        await app.rows.insert(ADMIN, "Note", {"orgId": "acme"})
        for tab in tabs:
            await tab.pull(app)
            tab.identity = CLEO_AT_ACME
        for tab in tabs:
            await tab.pull(app)
            assert tab.resets == 1
            assert len(tab.rows["Note"]) == 1
