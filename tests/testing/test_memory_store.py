"""What the double in memory can do beyond the contract (`tests/store/contract`)."""

from __future__ import annotations

import asyncio

from pylon.errors import PylonError
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
