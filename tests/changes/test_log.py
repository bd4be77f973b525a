"""What the log remembers of a row's earlier audiences. That pulls come out right over random
histories is held by tests/sync/test_convergence.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.changes.log import Audiences, read_audiences, remember
from pylon.codec import encode
from pylon.errors import PylonError
from pylon.identity import ADMIN, Identity
from pylon.store.base import Store
from tests.sync.carried import Carried
from tests.sync.world import process, world

ANN = Identity(user_id="ann")

values = st.fixed_dictionaries({"ownerId": st.sampled_from(["a", "b", "c", None])})


@given(st.lists(st.tuples(st.integers(1, 5), values), max_size=30), st.integers(0, 200))
def test_who_must_forget_is_known_for_every_cursor(
    history: list[tuple[int, dict[str, Any]]], cursor: int
) -> None:
    """Exactly the values that ended after a cursor are found there, however often they came."""
    audiences: Audiences = []
    ended: list[tuple[int, dict[str, Any]]] = []
    seq = 0
    for step, held in history:
        seq += step
        ended.append((seq, held))
        audiences, dropped = remember(audiences, seq, held)
        assert dropped == 0, "four different values are few"
    found = [held for until, held in audiences if until > cursor]
    expected = [held for until, held in ended if until > cursor]
    assert {encode(v) for v in found} == {encode(v) for v in expected}
    assert len({encode(v) for _, v in audiences}) == len(audiences)
    assert [until for until, _ in audiences] == sorted(until for until, _ in audiences)


@given(st.lists(st.integers(0, 9), max_size=60))
def test_what_is_dropped_is_told(owners: list[int]) -> None:
    """Cursors below the told position start anew; for all others nothing is missing."""
    bound = 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "AUDIENCES_PER_ROW_MAX", bound)
        audiences: Audiences = []
        oldest = 0
        for seq, owner in enumerate(owners, 1):
            audiences, dropped = remember(audiences, seq, {"ownerId": owner})
            oldest = max(oldest, dropped)
            assert len(audiences) <= bound
    for cursor in range(oldest, len(owners) + 1):
        expected = {owner for seq, owner in enumerate(owners, 1) if seq > cursor}
        assert {v["ownerId"] for until, v in audiences if until > cursor} == expected


def test_the_column() -> None:
    assert read_audiences(None) == []
    kept, _ = remember([], 3, {"ownerId": "ann"})
    assert read_audiences(encode(kept).decode()) == [(3, {"ownerId": "ann"})]


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_cursors_from_before_a_purged_delete_are_refused(is_restarted: bool) -> None:
    """By the mark in the database: this process may have heard nothing of the purge yet, and one
    that starts later knows of nothing else."""
    async with world() as app:
        row = await app.rows.insert(ADMIN, "Open", {"shown": True})
        cursor = app.store.seq
        await app.rows.delete(ADMIN, "Open", row["id"])
        purged = app.store.seq
        await app.rows.insert(ADMIN, "Open", {"shown": True})
        app.clock.advance(100)
        other = await process(app.manifest, app.store, app.clock, Unheard(app.store))
        assert await app.log.purge(50) == 1
        if is_restarted:
            other = await process(app.manifest, app.store, app.clock)
            assert other.log.oldest_seq == purged
        for each in (app, other):
            with pytest.raises(PylonError) as refused:
                await each.puller.page(ANN, cursor)
            assert (refused.value.status, refused.value.extra["oldest_seq"]) == (410, purged)
            assert len((await each.puller.page(ANN, purged)).events) == 1
            assert len((await each.puller.page(ANN, 0)).events) == 1
        await other.close()


async def test_cursors_from_before_a_forgotten_owner_are_refused() -> None:
    """A row that has had more owners than are remembered, also for a process that starts later."""
    async with world() as app:
        row = await app.rows.insert(ADMIN, "Note", {"ownerId": "owner"})
        cursor = app.store.seq
        for number in range(limits.AUDIENCES_PER_ROW_MAX + 1):
            await app.rows.update(ADMIN, "Note", row["id"], {"ownerId": f"owner {number}"})
        later = await process(app.manifest, app.store, app.clock)
        assert later.log.oldest_seq == app.log.oldest_seq == cursor + 1
        for each in (app, later):
            with pytest.raises(PylonError) as refused:
                await each.puller.page(ANN, cursor)
            assert refused.value.status == 410
        await later.close()


class Unheard(Carried):
    """A store of whose commits nothing is heard."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.is_cut = True


async def test_other_read_rules_make_every_older_cursor_void() -> None:
    """Rows may have appeared or vanished with the rules, without a change of their own."""
    async with world() as app:
        await app.rows.insert(ADMIN, "Open", {"shown": True})
        cursor = app.store.seq
        await app.log.start("rules")
        assert await app.puller.page(ANN, cursor)
        await app.log.start("other rules")
        assert app.log.oldest_seq == app.store.seq == cursor + 1
        with pytest.raises(PylonError) as refused:
            await app.puller.page(ANN, cursor)
        assert refused.value.status == 410
        assert len((await app.puller.page(ANN, 0)).events) == 1


async def test_rules_are_compared_by_the_owner_alone() -> None:
    """Another process takes the positions as they stand, whatever its rules are."""
    async with world() as app:
        await app.log.start("rules")
        await app.log.start("other rules")
        seq, oldest = app.store.seq, app.log.oldest_seq
        await app.log.start("rules of an older program", owns_database=False)
        assert (app.store.seq, app.log.oldest_seq) == (seq, oldest)
        await app.log.start("other rules")
        assert app.store.seq == seq
