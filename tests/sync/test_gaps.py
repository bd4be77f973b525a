"""A process that missed commits: every reader that it serves converges all the same."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pylon import limits
from pylon.changes.facts import SessionChanged
from pylon.identity import ADMIN, ANONYMOUS, Identity
from pylon.store.base import Row, Tx
from pylon.sync.push import PushedChange
from tests.sync.carried import Second, second
from tests.sync.replica import Replica
from tests.sync.test_convergence import CHANGEABLE, CLEO, CLEO_AT_ACME, LONG, Play, step
from tests.sync.world import World, world

ANN = Identity(user_id="ann")
ADD_SESSION = """INSERT INTO _pylon_sessions (token_hash, session_id, token_prefix, user_id,
    created_at, expires_at, last_seen_at) VALUES (?1, ?1, 'x', ?2, 0, 0, 0)"""
SET_TENANT = "UPDATE _pylon_sessions SET tenant_id = ?2 WHERE session_id = ?1"

gap_step = st.one_of(
    step,
    step,
    step,
    st.tuples(st.just("cut")),
    st.tuples(st.just("mend")),
    st.tuples(st.just("mend")),
)


async def add_session(app: World, session_id: bytes, user_id: str) -> None:
    async def unit(tx: Tx) -> None:
        await tx.execute(ADD_SESSION, (session_id, user_id))

    await app.store.write(unit)


class GapPlay(Play):
    """A history of which a second process, whose readers these are, hears only parts."""

    def __init__(self, line: Second) -> None:
        super().__init__(line.app)
        self.line = line

    async def cut(self) -> None:
        self.line.cut()

    async def mend(self) -> None:
        self.line.mend()

    async def switch(self) -> None:
        replica = self.replicas[CHANGEABLE]
        replica.identity = CLEO if replica.identity == CLEO_AT_ACME else CLEO_AT_ACME
        tenant = replica.identity.tenant_id

        async def unit(tx: Tx) -> None:
            await tx.execute(SET_TENANT, (b"c" * 32, tenant))
            tx.tell(SessionChanged(session_id=b"c" * 32, user_id="cleo", tenant_id=tenant))

        await self.app.store.write(unit)

    async def end(self) -> None:
        await asyncio.gather(*self.joins.values())
        await self.settle()
        self.line.mend()
        await super().end()


@settings(
    max_examples=3000 if LONG else 200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(gap_step, max_size=40), st.booleans())
def test_whatever_is_missed_every_replica_ends_as_the_truth(
    steps: list[tuple[Any, ...]], small_pages: bool
) -> None:
    async def play() -> None:
        async with world() as first, second(first) as line:
            await add_session(first, b"c" * 32, "cleo")
            await GapPlay(line).run(steps)

    with ExitStack() as stack:
        if small_pages:
            stack.enter_context(mock.patch.object(limits, "PULL_ROWS_MAX", 2))
            stack.enter_context(mock.patch("pylon.sync.pull.SCAN_ROWS_FIRST", 1))
        asyncio.run(play())


async def note(app: World, **data: Any) -> Row:
    row = await app.rows.insert(ADMIN, "Note", data)
    return (row["id"],)


async def test_what_one_process_writes_and_ends_reaches_the_readers_of_another() -> None:
    ended = Identity(user_id="ann", session_id=b"e" * 32)
    async with world() as first, second(first) as line:
        await add_session(first, b"e" * 32, "ann")
        reader, other = Replica(ended), Replica(ANN)
        for each in (reader, other):
            await line.app.hub.join(each.identity, each, None)
        await note(first, ownerId="ann")
        await line.app.settle()
        assert await first.sessions.revoke_by_id(b"e" * 32, user_id="ann")
        assert (reader.closed, len(reader.events)) == (1008, 1)
        assert (other.closed, len(other.events)) == (None, 1)


async def test_what_was_missed_comes_as_events_and_then_what_happens() -> None:
    async with world() as first, second(first) as line:
        reader = Replica(ANN)
        await line.app.hub.join(ANN, reader, None)
        (seen,) = await note(first, ownerId="ann")
        (shown,) = await note(first, ownerId="bob")
        line.cut()
        await first.rows.update(ADMIN, "Note", seen, {"ownerId": "bob"})
        await first.rows.update(ADMIN, "Note", shown, {"ownerId": "ann"})
        (hidden,) = await note(first, ownerId="bob")
        line.mend()
        await note(first, ownerId="ann")
        await line.app.settle()
        told = [(event["kind"], event["row_id"]) for event in reader.events]
        assert told[:3] == [("insert", seen), ("delete", seen), ("insert", shown)]
        assert len(told) == 4
        assert hidden not in [row_id for _, row_id in told]
        assert reader.closed is None


async def test_streams_of_sessions_that_ended_meanwhile_hear_nothing_more() -> None:
    ended, kept = (Identity(user_id="ann", session_id=bytes([n]) * 32) for n in (1, 2))
    async with world() as first, second(first) as line:
        readers = [Replica(ended), Replica(kept)]
        for reader in readers:
            session_id = reader.identity.session_id
            assert session_id is not None
            await add_session(first, session_id, "ann")
            await line.app.hub.join(reader.identity, reader, None)
        line.cut()
        assert ended.session_id is not None
        assert await first.sessions.revoke_by_id(ended.session_id, user_id="ann")
        await note(first, ownerId="ann")
        line.mend()
        await note(first, ownerId="ann")
        await line.app.settle()
        assert (readers[0].closed, len(readers[0].events)) == (1008, 0)
        assert (readers[1].closed, len(readers[1].events)) == (None, 2)


async def test_a_stream_opened_after_its_session_changed_is_kept_and_the_older_one_ends() -> None:
    """Both are of one session, whose change was missed."""
    async with world() as first, second(first) as line:
        await add_session(first, b"c" * 32, "cleo")
        old, new = Replica(CLEO), Replica(CLEO_AT_ACME)
        await line.app.hub.join(CLEO, old, None)
        line.cut()

        async def unit(tx: Tx) -> None:
            await tx.execute(SET_TENANT, (b"c" * 32, "acme"))

        await first.store.write(unit)
        await line.app.hub.join(CLEO_AT_ACME, new, None)
        line.mend()
        await note(first, orgId="acme")
        await line.app.settle()
        assert (old.closed, len(old.events)) == (1008, 0)
        assert (new.closed, len(new.events)) == (None, 1)


async def test_a_reader_whose_view_changed_with_a_row_of_others_has_to_pull() -> None:
    async with world() as first, second(first) as line:
        ann, bob = Replica(ANN), Replica(Identity(user_id="bob"))
        for reader in (ann, bob):
            await line.app.hub.join(reader.identity, reader, None)
        await note(first, public=True)
        line.cut()
        await first.rows.insert(ADMIN, "Member", {"teamId": "red", "userId": "ann", "n": 3})
        line.mend()
        await line.app.settle()
        assert (ann.closed, bob.closed) == (1013, None)


async def test_a_page_of_somebody_unknown_is_closed_when_something_hidden_was_missed() -> None:
    async with world() as first, second(first) as line:
        page, program = Replica(ANONYMOUS), Replica(ANONYMOUS)
        await line.app.hub.join(ANONYMOUS, page, None, shows_all=False)
        await line.app.hub.join(ANONYMOUS, program, None)
        line.cut()
        await note(first, ownerId="ann")
        line.mend()
        await line.app.settle()
        assert (page.closed, program.closed) == (1013, None)


async def test_a_temporary_row_is_dropped_though_its_push_was_missed() -> None:
    async with world() as first, second(first) as line:
        mine, other = Replica(ANN), Replica(Identity(user_id="bob"))
        for reader in (mine, other):
            await line.app.hub.join(reader.identity, reader, None)
        line.cut()
        change = PushedChange(
            entity="Note", row_id="_pending_1", kind="insert", data={"ownerId": "ann"}
        )
        await first.push.push(ANN, [change])
        line.mend()
        await line.app.settle()
        assert [event["kind"] for event in mine.events] == ["delete", "insert"]
        assert mine.events[0]["row_id"] == "_pending_1"
        assert other.events == []


async def test_a_replay_that_was_under_way_reads_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last page was read before what was missed, and asked for no more."""
    async with world() as first, second(first) as line:
        await note(first, ownerId="ann")
        puller, reader = line.app.puller, Replica(ANN)
        read, may_go_on = asyncio.Event(), asyncio.Event()
        page = puller.page

        async def slow(*arguments: Any, **more: Any) -> Any:
            found = await page(*arguments, **more)
            read.set()
            await may_go_on.wait()
            return found

        monkeypatch.setattr(puller, "page", slow)
        joining = asyncio.ensure_future(line.app.hub.join(ANN, reader, 0))
        await read.wait()
        line.cut()
        await note(first, ownerId="ann")
        line.mend()
        await asyncio.sleep(0)
        may_go_on.set()
        assert await joining
        await line.app.settle()
        assert len(reader.rows["Note"]) == 2
        await note(first, ownerId="ann")
        await line.app.settle()
        assert len(reader.rows["Note"]) == 3


async def test_a_gap_that_cannot_be_read_closes_the_streams(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with world() as first, second(first) as line:
        readers = [Replica(ANN), Replica(ANONYMOUS)]
        for reader in readers:
            await line.app.hub.join(reader.identity, reader, None)

        async def page(*_: Any, **__: Any) -> None:
            raise ValueError("a fault of ours")

        monkeypatch.setattr(line.app.puller, "page", page)
        line.cut()
        await note(first, ownerId="ann")
        line.mend()
        await line.app.settle()
        assert [reader.closed for reader in readers] == [1013, 1013]
        assert line.app.hub.closes == {"gap": 2}
        assert "replay after a gap failed" in caplog.text


async def test_what_is_kept_of_readers_and_positions_follows_the_other_process() -> None:
    async with world() as first, second(first) as line:
        for app in (first, line.app):
            await app.pulls.pull(CLEO, "here", 0)
        (row,) = await note(first, ownerId="ann")
        epochs = line.app.pulls._epochs
        assert await epochs.begun(CLEO) == 0
        # The first process begins anew for this session, the second hears of it.
        with pytest.raises(Exception, match="cannot be continued"):
            await first.pulls.pull(CLEO_AT_ACME, "here", first.store.seq)
        assert await epochs.begun(CLEO_AT_ACME) == first.store.seq
        assert await epochs.begun(CLEO) is None
        await first.rows.delete(ADMIN, "Note", row)
        first.clock.advance(100)
        assert await first.log.purge(50) == 1
        assert line.app.log.oldest_seq == first.log.oldest_seq == first.store.seq
        line.cut()
        with pytest.raises(Exception, match="cannot be continued"):
            await first.pulls.pull(CLEO, "here", first.store.seq)
        line.mend()
        assert await epochs.begun(CLEO) == first.store.seq


async def test_what_was_read_of_a_reader_before_a_gap_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as first, second(first) as line:
        await note(first, ownerId="ann")
        await first.pulls.pull(CLEO, "here", 0)
        line.cut()
        epochs = line.app.pulls._epochs
        epochs._cache.clear()
        held, may_go_on, read = asyncio.Event(), asyncio.Event(), epochs._store.read

        async def slow(*arguments: Any, **more: Any) -> Any:
            found = await read(*arguments, **more)
            held.set()
            await may_go_on.wait()
            return found

        monkeypatch.setattr(epochs._store, "read", slow)
        asking = asyncio.ensure_future(epochs.begun(CLEO))
        await held.wait()
        with pytest.raises(Exception, match="cannot be continued"):
            await first.pulls.pull(CLEO_AT_ACME, "here", first.store.seq)
        line.mend()
        may_go_on.set()
        assert await asking is None, "it means another reader by now"
