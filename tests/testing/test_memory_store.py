"""What the double in memory can do beyond the contract (`tests/store/contract`)."""

from __future__ import annotations

import asyncio

import pytest

from pylon.errors import PylonError
from pylon.store.base import Tx
from pylon.testing.memory_store import MemoryStore
from tests.store.contract.stores import TABLE, ids, put


async def test_a_commit_can_be_made_to_fail_once() -> None:
    store = MemoryStore([TABLE])
    heard: list[object] = []
    store.on_commit(heard.extend)
    full = PylonError(507, "STORAGE_FULL", "The disk is full.")
    store.fail_next_commit = full
    failed = await asyncio.gather(
        store.write(put("a")), store.write(put("b")), return_exceptions=True
    )
    assert list(failed) == [full, full]
    assert (await ids(store), heard, store.seq) == ([], [], 0)
    assert await store.write(put("a")) == 1
    assert heard == ["a"]
    await store.close()


def test_it_is_made_outside_of_a_loop_and_holds_nothing_of_another() -> None:
    MemoryStore([TABLE])
    assert asyncio.run(ids(MemoryStore([TABLE]))) == []


async def test_a_read_ends_when_its_time_is_over() -> None:
    store = MemoryStore([TABLE])
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
    with pytest.raises(PylonError) as caught:
        await store.read(endless, seconds=0.01)
    assert (caught.value.status, caught.value.code) == (503, "QUERY_TIMEOUT")

    async def unit(tx: Tx) -> None:
        await put("a")(tx)
        with pytest.raises(PylonError):
            await tx.fetch(endless, seconds=0.05)
        await put("b")(tx)

    await store.write(unit)
    assert await ids(store) == ["a", "b"]
