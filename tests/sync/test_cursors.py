"""Whatever moves a client's cursor, a pull with it brings what lies below: random histories of one
device, whose tabs pull by name or as nobody and hear event streams that carry no token."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pylon import limits
from pylon.errors import PylonError
from pylon.identity import ADMIN, ANONYMOUS, Identity
from pylon.sync.pulls import StreamStart
from pylon.sync.push import PushedChange
from tests.sync.replica import Replica
from tests.sync.world import World, process, world

ANN = Identity(user_id="ann", session_id=b"a" * 32)
BOB = Identity(user_id="bob", session_id=b"b" * 32)
WHO = (ANN, BOB, ANONYMOUS)
LONG = bool(os.environ.get("PYLON_LONG"))

tab = st.integers(0, 1)
note = st.fixed_dictionaries(
    {}, optional={"ownerId": st.sampled_from(["ann", "bob", None]), "public": st.booleans()}
)
step = st.one_of(
    st.tuples(st.just("insert"), note),
    st.tuples(st.just("insert"), st.just({"public": True})),
    st.tuples(st.just("update"), st.integers(0, 9), note),
    st.tuples(st.just("delete"), st.integers(0, 9)),
    st.tuples(st.just("sign_in"), st.integers(0, len(WHO) - 1)),
    st.tuples(st.just("pull"), tab),
    st.tuples(st.just("hear"), tab, st.booleans()),
    st.tuples(st.just("hear"), tab, st.booleans()),
    st.tuples(st.just("connect"), tab, st.booleans()),
    st.tuples(st.just("drop"), tab),
)


class Tab(Replica):
    """A tab: its rows, its cursor, and at most one stream."""

    def __init__(self) -> None:
        super().__init__(ANONYMOUS)
        self.stream: tuple[Identity, StreamStart] | None = None
        self.pulled_as: Identity | None = None

    async def pull(self, app: World) -> None:
        """On another sign-in every client starts anew. An event stream goes on."""
        if self.pulled_as not in (None, self.identity):
            self.rows, self.cursor = {}, 0
        self.pulled_as = self.identity
        await super().pull(app)


class Device:
    """One random history. Both tabs have the session and the address of the device."""

    def __init__(self, app: World) -> None:
        self.app = app
        self.tabs = [Tab(), Tab()]
        self.ids: list[str] = []

    async def run(self, steps: list[tuple[Any, ...]]) -> None:
        for kind, *parts in steps:
            await getattr(self, kind)(*parts)
            await self.app.settle()
        for each in self.tabs:
            await each.pull(self.app)
            await each.equals_truth(self.app, ["Note"])

    async def insert(self, data: dict[str, Any]) -> None:
        self.ids.append((await self.app.rows.insert(ADMIN, "Note", dict(data)))["id"])

    async def update(self, index: int, data: dict[str, Any]) -> None:
        if self.ids and data:
            await self.app.rows.update(ADMIN, "Note", self.ids[index % len(self.ids)], dict(data))

    async def delete(self, index: int) -> None:
        if self.ids:
            await self.app.rows.delete(ADMIN, "Note", self.ids.pop(index % len(self.ids)))

    async def sign_in(self, who: int) -> None:
        for number, each in enumerate(self.tabs):
            if each.stream is not None and each.stream[0] is not ANONYMOUS:
                await self.drop(number)
            each.identity = WHO[who]

    async def pull(self, number: int) -> None:
        await self.tabs[number].pull(self.app)

    async def hear(self, number: int, says_where: bool) -> None:
        """An event stream, which carries no token. Who does not say where it is has just pulled."""
        if self.tabs[number].stream is None:
            if not says_where:
                await self.pull(number)
            await self.open(number, ANONYMOUS, says_where)

    async def connect(self, number: int, says_where: bool) -> None:
        """A WebSocket of whoever is signed in, as a client opens it: after a pull."""
        each = self.tabs[number]
        if each.identity is not ANONYMOUS and each.stream is None:
            await each.pull(self.app)
            await self.open(number, each.identity, says_where)

    async def open(self, number: int, identity: Identity, says_where: bool) -> None:
        each = self.tabs[number]
        each.closed = None
        app, asked = self.app, each.cursor if says_where else None
        try:
            start = await app.pulls.start(identity, "here", asked)
        except PylonError:
            return
        each.stream = identity, start
        joined = await app.hub.join(
            identity,
            each,
            start.since,
            shows_all=start.shows_all,
            may_be_ahead=start.may_be_ahead,
            address=start.address,
        )
        if not joined:
            await app.pulls.too_far(start)
            await self.drop(number)

    async def drop(self, number: int) -> None:
        each = self.tabs[number]
        if each.stream is not None:
            self.app.hub.leave(each, "client")
            self.app.pulls.ended(each.stream[1], is_lost=True)
            each.stream = None


@settings(
    max_examples=4_000 if LONG else 400,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(step, max_size=30), st.booleans())
@example(
    [
        ("sign_in", 0),
        ("hear", 1, True),
        ("insert", {"ownerId": "ann"}),
        ("insert", {"public": True}),
    ],
    False,
)
@example(
    [
        *(("sign_in", 0), ("pull", 0), ("hear", 1, True)),
        *(("insert", {"ownerId": "ann"}), ("insert", {"public": True}), ("pull", 0)),
    ],
    False,
)
def test_a_pull_after_any_stream_ends_as_a_pull_from_0(
    steps: list[tuple[Any, ...]], small_pages: bool
) -> None:
    async def play() -> None:
        async with world() as app:
            await Device(app).run(steps)

    with ExitStack() as stack:
        if small_pages:
            stack.enter_context(mock.patch.object(limits, "PULL_ROWS_MAX", 2))
            stack.enter_context(mock.patch("pylon.sync.pull.SCAN_ROWS_FIRST", 1))
        asyncio.run(play())


async def test_a_cursor_that_another_sign_in_was_given_starts_anew() -> None:
    """Both sessions have pulled before, so neither is new to the server."""
    async with world() as app:
        page = Replica(BOB)
        await page.pull(app)
        page = Replica(ANN)
        await page.pull(app)
        await app.rows.insert(ADMIN, "Note", {"ownerId": "bob"})
        await app.rows.insert(ADMIN, "Note", {"ownerId": "ann"})
        await page.pull(app)
        assert page.resets == 0
        page.identity = BOB
        await page.pull(app)
        assert page.resets == 1
        await page.equals_truth(app, ["Note"])
        await app.rows.insert(ADMIN, "Note", {"ownerId": "bob"})
        with pytest.raises(PylonError, match="cannot be continued"):
            await app.pulls.start(ANN, "here", app.store.seq)


async def test_a_cursor_from_before_the_server_was_started_goes_on() -> None:
    async with world() as app:
        page = Replica(ANN)
        await app.rows.insert(ADMIN, "Note", {"ownerId": "ann"})
        await page.pull(app)
        again = await process(app.manifest, app.store, app.clock)
        await app.rows.insert(ADMIN, "Note", {"ownerId": "ann"})
        await page.pull(again)
        assert page.resets == 0
        assert len(page.rows["Note"]) == 2
        await again.close()


async def test_a_session_that_means_another_user_hears_nothing_of_the_rows_of_the_one_before() -> (
    None
):
    """Not of the names of temporary rows either."""
    async with world() as app:
        guest = replace(ANN, user_id="guest_1", is_guest=True)
        page = Replica(guest)
        await page.pull(app)
        change = PushedChange(
            entity="Note", row_id="_pending_1", kind="insert", data={"ownerId": "guest_1"}
        )
        assert (await app.push.push(guest, [change])).applied == 1
        told = (await app.pulls.pull(guest, "here", page.cursor)).events
        assert b"_pending_1" in told[0][1]
        await page.pull(app)
        with pytest.raises(PylonError, match="cannot be continued"):
            await app.pulls.pull(ANN, "here", page.cursor)
        assert (await app.pulls.pull(ANN, "here", 0)).events == []
        with pytest.raises(PylonError, match="cannot be continued"):
            await app.pulls.start(ANN, "here", page.cursor)
        start = await app.pulls.start(ANN, "here", None)
        assert start.since == app.store.seq, "where the pull of the new user has ended"


async def test_a_stream_that_was_allowed_before_somebody_came_does_not_begin_after() -> None:
    """Another process has allowed it, and the news of the pull was faster."""
    async with world() as app:
        start = await app.pulls.start(ANONYMOUS, "here", 0)
        await Replica(ANN).pull(app)
        await app.settle()
        late = Replica(ANONYMOUS)
        assert not await app.hub.join(ANONYMOUS, late, start.since, address=start.address)
        assert late.closed == 1013
        start = await app.pulls.start(ANONYMOUS, "here", 0)
        assert (start.address, start.shows_all) == (None, False)
