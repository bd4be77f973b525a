"""Units: atomic, serial, told of in order."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pylon import limits
from pylon.errors import PylonError
from pylon.store.base import ConstraintFailed, Store, Tx
from tests.store.contract.stores import TABLE, Kind, ids, put


async def test_a_write_returns_after_its_commit_and_reads_see_it(store: Store) -> None:
    assert await store.write(put("a")) == 1
    assert await ids(store) == ["a"]
    assert store.seq == 1


async def test_many_at_once_are_numbered_and_told_in_order(store: Store) -> None:
    heard: list[object] = []
    store.on_commit(heard.extend)
    names = [f"r{i:02}" for i in range(40)]
    assert await asyncio.gather(*[store.write(put(name)) for name in names]) == [*range(1, 41)]
    assert heard == names == await ids(store)
    assert store.seq == 40


async def test_units_are_serial(store: Store) -> None:
    await store.write(put("a"))

    async def add(tx: Tx) -> None:
        ((n,),) = await tx.fetch("SELECT n FROM t WHERE id = 'a'")
        await tx.execute("UPDATE t SET n = ? WHERE id = 'a'", (n + 1,))

    await asyncio.gather(*[store.write(add) for _ in range(30)])
    assert await store.read("SELECT n FROM t") == [(30,)]


async def test_a_unit_that_raises_is_undone_alone_and_only_its_caller_hears(store: Store) -> None:
    heard: list[object] = []
    store.on_commit(heard.extend)
    mine = ValueError("mine")

    async def fail(tx: Tx) -> None:
        await put("lost")(tx)
        tx.tell("a fact that is lost")
        assert tx.next_seq == 3
        raise mine

    first, failed, last = await asyncio.gather(
        store.write(put("a")), store.write(fail), store.write(put("b")), return_exceptions=True
    )
    assert (first, last) == (1, 2)  # the number of the failed one is given again
    assert failed is mine
    assert await ids(store) == ["a", "b"]
    assert heard == ["a", "b"]


async def test_a_unit_sees_its_own_writes_and_others_do_not_before_the_commit(
    store: Store,
) -> None:
    async def unit(tx: Tx) -> None:
        await put("a")(tx)
        assert await tx.fetch("SELECT id FROM t") == [("a",)]
        assert heard == []

    heard: list[object] = []
    store.on_commit(heard.extend)
    await store.write(unit)
    assert heard == ["a"]


async def test_execute_counts_the_rows_it_changed(store: Store) -> None:
    async def unit(tx: Tx) -> list[int]:
        for name in ("a", "b", "c"):
            await put(name)(tx)
        return [
            await tx.execute("UPDATE t SET n = 1 WHERE id <> 'a'"),
            await tx.execute("DELETE FROM t WHERE id = ?", ("nobody",)),
            await tx.execute("DELETE FROM t"),
        ]

    assert await store.write(unit) == [2, 0, 3]


async def test_a_savepoint_is_undone_alone_with_what_it_told(store: Store) -> None:
    heard: list[object] = []
    store.on_commit(heard.extend)

    async def part(tx: Tx, *, fails: bool) -> None:
        async with tx.savepoint():
            await put("inner")(tx)
            tx.tell("told inside")
            if fails:
                raise ValueError

    async def unit(tx: Tx) -> int:
        await put("a")(tx)
        with pytest.raises(ValueError):  # noqa: PT011 - any of ours
            await part(tx, fails=True)
        await part(tx, fails=False)
        with pytest.raises(ConstraintFailed):
            await part(tx, fails=False)
        async with tx.savepoint():
            await put("outer")(tx)
            with pytest.raises(ConstraintFailed):
                await part(tx, fails=False)
        return tx.next_seq

    assert await store.write(unit) == 4
    assert await ids(store) == ["a", "inner", "outer"]
    assert heard == ["a", "inner", "told inside", "outer"]


async def test_facts_ride_in_order_and_take_no_position(store: Store) -> None:
    heard: list[object] = []
    store.on_commit(heard.extend)

    async def unit(tx: Tx) -> int:
        tx.tell("first")
        await put("a")(tx)
        tx.tell("then")
        return tx.next_seq

    assert await store.write(unit) == 2
    assert heard == ["first", "a", "then"]
    assert store.seq == 1


async def test_every_listener_hears_and_none_of_a_commit_that_told_nothing(store: Store) -> None:
    calls: list[tuple[str, list[object]]] = []
    store.on_commit(lambda told: calls.append(("one", list(told))))
    store.on_commit(lambda told: calls.append(("two", list(told))))

    async def quiet(tx: Tx) -> None:
        await tx.execute("INSERT INTO t (id) VALUES ('q')")

    await store.write(quiet)
    await store.write(put("a"))
    assert calls == [("one", ["a"]), ("two", ["a"])]


async def test_a_listener_finds_the_position_already_passed(store: Store) -> None:
    positions: list[int] = []
    store.on_commit(lambda told: positions.append(store.seq))
    await store.write(put("a"))
    await store.write(put("b"))
    assert positions == [1, 2]


async def test_who_has_gone_before_their_turn_is_passed_over(store: Store) -> None:
    gone = asyncio.ensure_future(store.write(put("gone")))
    await asyncio.sleep(0)  # the unit is queued
    gone.cancel()
    await store.write(put("a"))
    assert await ids(store) == ["a"]


async def test_waiting_for_something_else_is_refused(store: Store) -> None:
    async def unit(tx: Tx) -> None:
        await put("a")(tx)
        await asyncio.sleep(0)

    with pytest.raises(PylonError) as caught:
        await store.write(unit)
    assert (caught.value.status, caught.value.code) == (500, "MUTATION_AWAITED_IO")
    assert await ids(store) == []


async def test_the_queue_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WRITES_WAITING_MAX", 3)
    found = await asyncio.gather(*[store.write(put(n)) for n in "abcd"], return_exceptions=True)
    assert found[:3] == [1, 2, 3]
    assert isinstance(found[3], PylonError)
    assert (found[3].status, found[3].code) == (503, "OVERLOADED")
    assert await store.write(put("e")) == 4


async def test_closing_finishes_what_is_queued_and_takes_no_more(
    kind: Kind, tmp_path: Path
) -> None:
    store = kind.open(tmp_path, [TABLE])
    heard: list[object] = []
    store.on_commit(heard.extend)
    writing = asyncio.gather(*[store.write(put(name)) for name in "abc"])
    await asyncio.sleep(0)
    await store.close()
    assert await writing == [1, 2, 3]
    assert heard == ["a", "b", "c"]
    with pytest.raises(PylonError) as caught:
        await store.write(put("d"))
    assert (caught.value.status, caught.value.code) == (503, "SHUTTING_DOWN")


async def test_a_held_unit_may_wait_and_others_come_after_it(store: Store) -> None:
    heard: list[object] = []
    store.on_commit(heard.extend)
    said = asyncio.Event()

    async def unit(tx: Tx) -> int:
        await put("held")(tx)
        await asyncio.wait_for(said.wait(), 30)
        return await put("held too")(tx)

    held = asyncio.ensure_future(store.hold(unit))
    await asyncio.sleep(0)
    other = asyncio.ensure_future(store.write(put("other")))
    await asyncio.sleep(0)
    said.set()
    assert (await held, await other) == (2, 3)
    assert heard == ["held", "held too", "other"]


async def test_a_held_unit_that_is_cancelled_leaves_nothing(store: Store) -> None:
    begun = asyncio.Event()

    async def unit(tx: Tx) -> None:
        await put("lost")(tx)
        begun.set()
        await asyncio.Event().wait()

    held = asyncio.ensure_future(store.hold(unit))
    await begun.wait()
    held.cancel()
    with pytest.raises(asyncio.CancelledError):
        await held
    assert await store.write(put("kept")) == 1
    assert await ids(store) == ["kept"]
