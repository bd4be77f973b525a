"""Writes whose work is done beside the server: again when others were faster, within shares."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylon import limits
from pylon.asking import ASKER
from pylon.crdt.documents import Documents
from pylon.crdt.shares import Shares, share_keys
from pylon.crdt.work import Answer, Job
from pylon.crdt.workshop import Process, Workshop, document_processes
from pylon.errors import PylonError
from pylon.hooks import Row, RowTx
from pylon.identity import ADMIN, ANONYMOUS, Identity
from pylon.pools import ProcessPool
from tests.crdt.people import ANN, BOB, Desk, Replica, desk
from tests.crdt.test_convergence import history

LONG = "a long paste " * 1_000


class Interrupted(Workshop):
    """Somebody comes between the work and the unit that takes it."""

    def __init__(self, comes: Callable[[int], Awaitable[object]]) -> None:
        super().__init__()
        self._comes = comes
        self.merges = 0

    async def _run(self, identity: Identity, job: Job, asked: bytes, process: Process) -> Answer:
        answer = await super()._run(identity, job, asked, process)
        if not job.is_read:
            self.merges += 1
            await self._comes(self.merges)
        return answer


async def type_key(d: Desk, replica: Replica) -> None:
    replica.text().insert(0, "k")
    await d.merge(replica.row_id, replica.take_update(), BOB)


async def pasting(d: Desk, times: int) -> tuple[Replica, Replica, Interrupted]:
    """Ann is about to paste much into a page on which Bob types, as often as `times` meanwhile."""
    page = await d.page(body="start")
    ann, bob = await d.replica(page), await d.replica(page)

    async def comes(merges: int) -> None:
        if merges <= times:
            await type_key(d, bob)

    d.rows.workshop = workshop = Interrupted(comes)
    ann.text().insert(5, LONG)
    return ann, bob, workshop


@pytest.mark.parametrize("times", range(limits.DOCUMENT_CONFLICTS_FREE + 1))
async def test_a_row_that_was_changed_meanwhile_is_merged_again(times: int) -> None:
    async with desk() as d:
        ann, bob, workshop = await pasting(d, times)
        row = await ann.push(ANN)
        assert row["body"] == "k" * times + "start" + LONG
        assert (workshop.merges, workshop.conflicts) == (times + 1, times)
        for replica in (ann, bob):
            replica.hear()
            assert replica.row["body"] == replica.root().to_string() == row["body"]
        assert (await d.replica(ann.row_id)).row["body"] == row["body"]
        assert d.documents.reserved == set()


async def test_who_was_too_slow_twice_is_waited_for() -> None:
    """Bob types without end, and yet Ann's paste comes through; nothing is lost."""
    async with desk() as d:
        ann, bob, _ = await pasting(d, 0)
        keys: list[asyncio.Task[None]] = []

        async def comes(merges: int) -> None:
            if len(keys) > limits.DOCUMENT_CONFLICTS_FREE:
                return
            keys.append(asyncio.create_task(type_key(d, bob)))
            if merges <= limits.DOCUMENT_CONFLICTS_FREE:
                await keys[-1]
            else:
                assert (await asyncio.wait(keys[-1:], timeout=0.05))[0] == set(), "it waits"

        d.rows.workshop = workshop = Interrupted(comes)
        row = await ann.push(ANN)
        assert workshop.conflicts == limits.DOCUMENT_CONFLICTS_FREE
        await asyncio.gather(*keys)
        assert row["body"] == "kkstart" + LONG
        assert (await d.row(ann.row_id))["body"] == "kkkstart" + LONG
        for replica in (ann, bob):
            replica.hear()
            assert replica.row["body"] == "kkkstart" + LONG


async def test_a_row_that_never_rests_is_busy() -> None:
    async with desk() as d:
        ann, _, _ = await pasting(d, 0)
        documents = d.rows.documents

        async def comes(merges: int) -> None:
            d.rows.documents = None  # such writers know nothing of documents
            await d.rows.update(ADMIN, "Page", ann.row_id, {"n": merges})
            d.rows.documents = documents

        d.rows.workshop = workshop = Interrupted(comes)
        with pytest.raises(PylonError) as caught:
            await ann.push(ANN)
        assert (caught.value.status, caught.value.code) == (503, "CRDT_BUSY")
        assert caught.value.extra["retry_after_secs"] > 0
        assert workshop.merges == limits.DOCUMENT_CONFLICTS_MAX + 1
        assert (await d.row(ann.row_id))["body"] == "start"
        assert d.documents.reserved == set()


async def test_values_that_are_written_win_over_what_came_meanwhile() -> None:
    async with desk() as d:
        ann, bob, workshop = await pasting(d, 2)
        row = await d.rows.update(ANN, "Page", ann.row_id, {"body": "ab" * 40_000, "n": 7})
        assert (row["body"], row["n"]) == ("ab" * 40_000, 7)
        assert workshop.conflicts == 2
        bob.hear()
        assert bob.row["body"] == bob.root().to_string() == "ab" * 40_000


async def test_a_row_that_is_gone_meanwhile_is_not_found() -> None:
    async with desk() as d:
        ann, _, _ = await pasting(d, 0)

        async def comes(merges: int) -> None:
            await d.rows.delete(ADMIN, "Page", ann.row_id)

        d.rows.workshop = Interrupted(comes)
        with pytest.raises(PylonError) as caught:
            await ann.push(ANN)
        assert caught.value.code == "NOT_FOUND"
        assert await d.stored("_pylon_crdt_snapshots") == []


async def test_a_right_that_is_lost_meanwhile_is_asked_for_again() -> None:
    async with desk() as d:
        ann, _, _ = await pasting(d, 0)

        async def comes(merges: int) -> None:
            await d.rows.update(ADMIN, "Page", ann.row_id, {"ownerId": "bob"})

        d.rows.workshop = Interrupted(comes)
        with pytest.raises(PylonError) as caught:
            await ann.push(ANN)
        assert caught.value.code == "NOT_FOUND"
        assert (await d.row(ann.row_id))["body"] == "start"


async def test_hooks_change_what_is_merged_beside_the_server() -> None:
    async with desk() as d:
        page = await d.page(body="start", title="t")

        async def shout(
            tx: RowTx, identity: Identity, entity: str, before: Row | None, data: Row
        ) -> None:
            data["title"] = "hooked"
            if "body" in data:
                data["body"] = data["body"].upper()

        d.hooks.before_update.append(shout)
        replica = await d.replica(page)
        replica.text().insert(5, LONG)
        row = await replica.push(ANN)
        assert (row["title"], row["body"]) == ("hooked", "START" + LONG.upper())
        replica.hear()
        assert (replica.row["title"], replica.row["body"]) == ("hooked", row["body"])


async def test_one_write_may_change_so_many_large_documents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_JOBS_PER_WRITE_MAX", 3)
    async with desk() as d:
        pages = [await d.page(body="x") for _ in range(4)]
        for page in pages:
            await d.snapshot(page)

        def writing(count: int) -> Callable[[Any], Awaitable[None]]:
            async def work(tx: Any) -> None:
                for page in pages[:count]:
                    await tx.update("Page", page, {"body": LONG * 6})

            return work

        await d.rows.write(ADMIN, writing(3))
        assert {(await d.row(page))["body"] for page in pages[:3]} == {LONG * 6}
        for page in pages:
            await d.rows.update(ADMIN, "Page", page, {"body": "y"})
        with pytest.raises(PylonError) as caught:
            await d.rows.write(ADMIN, writing(4))
        assert (caught.value.status, caught.value.code) == (413, "CRDT_TOO_MUCH_WORK")
        assert {(await d.row(page))["body"] for page in pages} == {"y"}, "all or nothing"


async def test_one_document_twice_in_one_write() -> None:
    async with desk() as d:
        page = await d.page(body="x")
        replica = await d.replica(page)

        async def work(tx: Any) -> None:
            await tx.update("Page", page, {"body": LONG * 6})
            await tx.update("Page", page, {"body": "short"})

        await d.rows.write(ADMIN, work)
        assert (await d.row(page))["body"] == "short"
        replica.hear()
        assert replica.row["body"] == "short"


async def test_readers_of_a_large_document_share_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_INLINE_STORED_BYTES_MAX", 0)
    async with desk() as d:
        page = await d.page(body=LONG * 6)
        await d.snapshot(page)
        await d.store.write(lambda tx: tx.execute("DELETE FROM _pylon_crdt_costs"))
        d.rows.documents = Documents(d.rows.clock)
        before = d.rows.workshop.jobs
        snapshots = await asyncio.gather(*(d.snapshot(page) for _ in range(10)))
        assert len(set(snapshots)) == 1
        assert d.rows.workshop.jobs == before + 1


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 5), st.integers(5, 40))
def test_random_schedules_converge_with_all_work_beside(
    seed: int, editors: int, steps: int
) -> None:
    """The history of `tests/crdt/test_convergence.py`, and others come between all the time."""

    async def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limits, "DOCUMENT_INLINE_CHARACTERS_MAX", -1)
            patch.setattr(limits, "DOCUMENT_CONFLICTS_MAX", 1_000)
            patch.setattr(limits, "DOCUMENT_JOBS_PER_WRITE_MAX", 1_000)
            async with desk() as d:
                random = Random(seed)
                other = await d.page(body="")
                typist = await d.replica(other)

                async def comes(merges: int) -> None:
                    if random.random() < 0.5:
                        patch.setattr(d.rows, "workshop", Workshop())
                        await type_key(d, typist)
                        patch.setattr(d.rows, "workshop", workshop)

                workshop = Interrupted(comes)
                d.rows.workshop = workshop
                await history(d, seed, editors, steps)

    asyncio.run(run())


async def test_pushes_of_many_at_once_converge_with_all_work_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_INLINE_CHARACTERS_MAX", -1)
    monkeypatch.setattr(limits, "DOCUMENT_CONFLICTS_MAX", 100)
    monkeypatch.setattr(limits, "DOCUMENT_JOBS_PER_WRITE_MAX", 200)
    async with desk() as d:
        page = await d.page(body="")
        replicas = [await d.replica(page) for _ in range(12)]
        for i, replica in enumerate(replicas):
            (replica.text() if i % 2 else replica.root()).insert(0, f"[{i}]")
        await asyncio.gather(*(replica.push() for replica in replicas))
        for replica in replicas:
            replica.hear()
        body = (await d.row(page))["body"]
        assert {replica.row["body"] for replica in replicas} == {body}
        assert {replica.root().to_string() for replica in replicas} == {body}
        assert sorted(body.replace("][", "] [").split()) == sorted(f"[{i}]" for i in range(12))
        assert d.rows.workshop.jobs >= 12


# --- processes -------------------------------------------------------------------------------


async def test_a_process_that_ends_loses_nothing_but_its_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = ProcessPool("lost", "tests.pool_work:die", 1, waiting_max=9, per_key_max=9)
    good = document_processes()
    async with desk() as d:
        page = await d.page(body="start")
        replica = await d.replica(page)
        replica.text().insert(5, LONG)
        update = replica.take_update()
        d.rows.workshop = Workshop(lost)
        with pytest.raises(PylonError) as caught:
            await d.merge(page, update, ANN)
        assert (caught.value.status, caught.value.code) == (503, "CRDT_WORK_LOST")
        assert (await d.row(page))["body"] == "start"
        d.rows.workshop = Workshop(good)
        assert (await d.merge(page, update, ANN))["body"] == "start" + LONG
        assert good.figures.done == 1
        await good.close()
        await lost.close()


async def test_a_process_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_JOB_SECONDS_MAX", 0.5)
    pool = ProcessPool("hangs", "tests.pool_work:hang", 1, waiting_max=9, per_key_max=9)
    async with desk() as d:
        page = await d.page(body="start")
        replica = await d.replica(page)
        replica.text().insert(5, LONG)
        d.rows.workshop = Workshop(pool)
        with pytest.raises(PylonError) as caught:
            await replica.push(ANN)
        assert (caught.value.status, caught.value.code) == (413, "CRDT_UPDATE_TOO_COSTLY")
        assert (await d.row(page))["body"] == "start"
        assert pool.figures.lost == 1
        await pool.close()


# --- shares ----------------------------------------------------------------------------------


def test_time_is_counted_for_session_address_and_row() -> None:
    shares, burst = Shares(), limits.DOCUMENT_BURST_SECONDS
    token = ASKER.set(("10.0.0.1", ANONYMOUS))
    try:
        ann, bob = (share_keys(who, ("Page", "1")) for who in (ANN, BOB))
        assert {kind for kind, _ in ann} == {"session", "address", "row"}
        assert share_keys(ADMIN, ("Page", "1")) == []
    finally:
        ASKER.reset(token)
    elsewhere = share_keys(BOB, ("Page", "2"))
    assert shares.wait(ann, 100.0) == 0.0
    shares.take(ann, burst, 100.0)
    assert shares.wait(ann, 100.0) == 0.0, "as much at once as is free after a quiet while"
    shares.take(ann, 1.0, 100.0)
    assert shares.wait(ann, 100.0) == pytest.approx(1.0 / limits.DOCUMENT_SESSION_SHARE)
    shared = 1.0 / max(limits.DOCUMENT_ADDRESS_SHARE, limits.DOCUMENT_ROW_SHARE)
    assert shares.wait(bob, 100.0) == pytest.approx(shared), "a guest of the same address and row"
    assert shares.wait(elsewhere, 100.0) == 0.0
    assert shares.wait(ann, 100.0 + 1.0 / limits.DOCUMENT_SESSION_SHARE) == 0.0


def test_what_is_remembered_of_times_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_KEYS_KEPT_MAX", 5)
    shares = Shares()
    for number in range(20):
        shares.take([("session", number)], 9.0, 0.0)
    assert [shares.wait([("session", number)], 0.0) > 0 for number in (14, 15, 19)] == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("kind", ["session", "address", "row"])
async def test_who_takes_too_much_is_told_to_wait(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: dict[str, float] = {"session": 1e9, "address": 1e9, "row": 1e9, kind: 1e-9}
    monkeypatch.setattr("pylon.crdt.shares.SHARES", shares)
    monkeypatch.setattr(limits, "DOCUMENT_BURST_SECONDS", 0.0)
    monkeypatch.setattr(limits, "DOCUMENT_MERGE_SECONDS_FREE", -1.0)
    monkeypatch.setattr(limits, "DOCUMENT_INLINE_SECONDS_MAX", 60.0)
    pool = document_processes()
    async with desk() as d:
        d.rows.workshop = Workshop(pool)
        pages = [await d.page(body="start") for _ in range(2)]
        for page in pages:
            await d.snapshot(page)
        ASKER.set(("10.0.0.1", ANONYMOUS))
        large = {"body": LONG * 6}
        await d.rows.update(ANN, "Page", pages[0], large)
        # The same in one respect, and in no other.
        who = ANN if kind == "session" else BOB
        ASKER.set(("10.0.0.1" if kind == "address" else "10.0.0.2", ANONYMOUS))
        page = pages[0] if kind == "row" else pages[1]
        with pytest.raises(PylonError) as caught:
            await d.rows.update(who, "Page", page, {"body": "ab" * 40_000})
        assert (caught.value.status, caught.value.code) == (429, "RATE_LIMITED")
        assert caught.value.extra["retry_after_secs"] > 0
        # Whoever shares nothing is not concerned, nor is what is small.
        ASKER.set(("10.0.0.3", ANONYMOUS))
        other = await d.page(body="start")
        await d.snapshot(other)
        await d.rows.update(Identity(user_id="cleo"), "Page", other, large)
        await d.rows.update(who, "Page", page, {"title": "small"})
    await pool.close()


# --- what is known of documents --------------------------------------------------------------


async def test_what_loading_takes_is_known_after_a_restart() -> None:
    """After a restart many come at once: what was quick to load is loaded on the loop again."""
    async with desk() as d:
        page = await d.page(body="".join(Random(1).choices("abcdefgh", k=60_000)))
        replica = await d.replica(page)
        ((*_, snapshot),) = await d.stored("_pylon_crdt_snapshots")
        assert len(snapshot) > limits.DOCUMENT_INLINE_STORED_BYTES_MAX
        assert len(await d.stored("_pylon_crdt_costs")) == 1
        d.rows.documents = Documents(d.rows.clock)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limits, "DOCUMENT_INLINE_SECONDS_MAX", 60.0)
            d.rows.workshop = Workshop()
            replica.text().insert(0, "x")
            await replica.push(ANN)
            assert d.rows.workshop.jobs == 0


async def test_a_document_of_which_nobody_knows_is_loaded_elsewhere() -> None:
    async with desk() as d:
        page = await d.page(body="".join(Random(1).choices("abcdefgh", k=60_000)))
        replica = await d.replica(page)
        await d.store.write(lambda tx: tx.execute("DELETE FROM _pylon_crdt_costs"))
        d.rows.documents, d.rows.workshop = Documents(d.rows.clock), Workshop()
        replica.text().insert(0, "x")
        row = await replica.push(ANN)
        assert row["body"][0] == "x"
        assert d.rows.workshop.jobs == 1


async def test_marks_that_come_one_by_one_are_weighed_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DOCUMENT_UPDATES_MAX", 8)
    monkeypatch.setattr(limits, "DOCUMENT_INLINE_SECONDS_MAX", 60.0)
    monkeypatch.setattr(limits, "DOCUMENT_INLINE_STORED_BYTES_MAX", 500)
    async with desk() as d:
        page = await d.page(body="".join(Random(1).choices("abcdefgh", k=2_000)))
        replica = await d.replica(page)
        for number in range(20):
            replica.text().mark(number, 1_000 + number, "bold", number)
            await replica.push(ANN)
        assert d.rows.workshop.jobs == 2, "one for each new snapshot"
        ((*_, micros),) = await d.stored("_pylon_crdt_costs")
        assert micros > 0
        await d.rows.delete(ADMIN, "Page", page)
        assert await d.stored("_pylon_crdt_costs") == []
