"""The writer and the readers, on a real database file."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import apsw
import pytest

from pylon import limits
from pylon.errors import ConfigError, PylonError
from pylon.store.base import ConstraintFailed, Row, Tx, Unit
from pylon.store.sqlite.store import SqliteStore, open_store
from pylon.store.sqlite.turns import State

TABLE = "CREATE TABLE IF NOT EXISTS t (id TEXT PRIMARY KEY NOT NULL, n INTEGER)"
SLOW = (
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ?)"
    " SELECT max(x) FROM c"
)

ENDLESS = SLOW.replace("?", "1000000000000").replace("max(x)", "count(x) AS x")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = open_store(tmp_path / "app.db", ddl=[TABLE])
    yield opened
    await opened.close()


def put(row_id: str) -> Unit[int]:
    async def unit(tx: Tx) -> int:
        seq = tx.next_seq
        await tx.execute("INSERT INTO t VALUES (?, ?)", (row_id, seq))
        tx.publish(row_id)
        return seq

    return unit


async def ids(store: SqliteStore) -> list[str]:
    return [row[0] for row in await store.read("SELECT id FROM t ORDER BY n, id")]


async def test_units_of_one_turn_share_a_commit_and_are_numbered_in_order(
    store: SqliteStore,
) -> None:
    heard: list[object] = []
    store.on_commit(heard.extend)
    seqs = await asyncio.gather(*(store.write(put(f"r{i}")) for i in range(20)))
    assert seqs == list(range(1, 21))
    assert heard == [f"r{i}" for i in range(20)]
    assert store.writer.batches == 1
    assert store.seq == 20


async def test_a_fact_rides_on_its_commit_and_takes_no_position(store: SqliteStore) -> None:
    heard: list[object] = []
    store.on_commit(heard.extend)

    async def undone(tx: Tx) -> None:
        async with tx.savepoint():
            tx.tell("with its savepoint")
            raise ValueError("undone")

    async def unit(tx: Tx) -> None:
        tx.tell("before")
        await put("a")(tx)
        with pytest.raises(ValueError, match="undone"):
            await undone(tx)
        tx.tell("after")

    await store.write(unit)
    assert (heard, store.seq) == (["before", "a", "after"], 1)


async def test_a_read_in_a_unit_ends_in_time_and_the_batch_goes_on(store: SqliteStore) -> None:
    async def long(tx: Tx) -> None:
        await put("undone")(tx)
        await tx.fetch(SLOW, (10**9,), seconds=0.02)

    async def after(tx: Tx) -> list[Row]:
        await put("b")(tx)
        await tx.fetch("SELECT 1", (), seconds=0.001)  # too short to be looked at
        return await tx.fetch(SLOW, (200_000,))

    first, refused, last = await asyncio.gather(
        store.write(put("a")), store.write(long), store.write(after), return_exceptions=True
    )
    assert (first, last) == (1, [(200_000,)])
    assert isinstance(refused, PylonError)
    assert (refused.status, refused.code) == (503, "QUERY_TIMEOUT")
    assert await ids(store) == ["a", "b"]


async def test_a_failed_unit_is_undone_alone_and_leaves_no_gap(store: SqliteStore) -> None:
    async def broken(tx: Tx) -> None:
        await tx.execute("INSERT INTO t VALUES ('broken', 0)")
        tx.publish("broken")
        raise ValueError("of the caller's own making")

    results: Sequence[object] = await asyncio.gather(
        store.write(put("a")),
        store.write(broken),
        store.write(put("b")),
        return_exceptions=True,
    )
    assert results[0] == 1
    assert isinstance(results[1], ValueError)
    assert results[2] == 2
    assert await ids(store) == ["a", "b"]


async def test_a_constraint_is_reported_with_its_column(store: SqliteStore) -> None:
    await store.write(put("a"))
    with pytest.raises(ConstraintFailed) as failure:
        await store.write(put("a"))
    assert (failure.value.kind, failure.value.columns) == ("UNIQUE", ("t.id",))


async def test_a_unit_may_await_nothing_but_its_transaction(store: SqliteStore) -> None:
    async def waits(tx: Tx) -> None:
        await tx.execute("INSERT INTO t VALUES ('waits', 0)")
        await asyncio.sleep(0)

    with pytest.raises(PylonError) as failure:
        await store.write(waits)
    assert failure.value.code == "MUTATION_AWAITED_IO"
    assert await ids(store) == []


async def test_a_cancelled_caller_does_not_stop_the_batch(store: SqliteStore) -> None:
    first = asyncio.ensure_future(store.write(put("gone")))
    second = asyncio.ensure_future(store.write(put("kept")))
    await asyncio.sleep(0)
    first.cancel()
    assert await second > 0
    assert "kept" in await ids(store)


async def test_positions_go_on_after_a_restart(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        store = open_store(tmp_path / "app.db", ddl=[TABLE])
        assert await store.write(put(f"r{expected}")) == expected
        await store.close()


@pytest.mark.parametrize("count", [1, 2, 3, 7])
async def test_the_position_of_a_batch_of_any_size_is_stored(tmp_path: Path, count: int) -> None:
    store = open_store(tmp_path / "app.db", ddl=[TABLE])
    await asyncio.gather(*(store.write(put(f"r{number}")) for number in range(count)))
    assert store.writer.batches == 1
    await store.close()
    again = open_store(tmp_path / "app.db", ddl=[TABLE])
    assert again.seq == count
    assert await again.write(put("next")) == count + 1
    await again.close()


@pytest.mark.parametrize(("is_volatile", "level"), [(False, 2), (True, 0)])
async def test_a_real_database_syncs_every_commit(
    tmp_path: Path, is_volatile: bool, level: int
) -> None:
    """2 is FULL: without it an acknowledged write may be gone after a power cut."""
    store = open_store(None if is_volatile else tmp_path / "app.db")

    async def unit(tx: Tx) -> object:
        return await tx.fetch("PRAGMA synchronous")

    assert await store.write(unit) == [(level,)]
    await store.close()


async def test_who_awaits_a_write_goes_on_after_all_listeners(store: SqliteStore) -> None:
    order: list[str] = []
    store.on_commit(lambda changes: order.extend(f"heard {change}" for change in changes))

    async def caller(name: str) -> None:
        await store.write(put(name))
        order.append(f"went on {name}")

    await asyncio.gather(caller("a"), caller("b"))
    assert order == ["heard a", "heard b", "went on a", "went on b"]


async def test_what_ends_a_unit_but_is_no_exception_leaves_the_writer_at_work(
    store: SqliteStore,
) -> None:
    class Panic(BaseException):
        pass

    async def broken(tx: Tx) -> None:
        await tx.execute("INSERT INTO t VALUES ('broken', 0)")
        raise Panic

    results = await asyncio.gather(
        store.write(put("a")), store.write(broken), store.write(put("b")), return_exceptions=True
    )
    assert isinstance(results[1], PylonError)
    assert (results[1].code, results[0], results[2]) == ("INTERNAL", 1, 2)
    with pytest.raises(PylonError):
        await store.write(broken)
    assert await ids(store) == ["a", "b"]


# --- somebody else's lock, and time in the queue ---------------------------------------------


@pytest.fixture
def other(store: SqliteStore) -> Iterator[apsw.Connection]:
    """Another process's connection to the same database."""
    connection = apsw.Connection(str(store.path))
    yield connection
    connection.close()


async def test_the_loop_goes_on_while_somebody_else_has_the_lock(
    store: SqliteStore, other: apsw.Connection
) -> None:
    other.execute("BEGIN IMMEDIATE")
    queued = asyncio.create_task(store.write(put("a")))
    for _ in range(50):
        await asyncio.sleep(0)
    assert store.writer._turns.state is State.LOCKING
    assert not queued.done()
    other.execute("ROLLBACK")
    assert await queued == 1

    async def unit(tx: Tx) -> object:
        return await tx.fetch("PRAGMA busy_timeout")

    assert await store.write(unit) == [(0,)], "on the loop it waits for nobody"


async def test_a_lock_is_not_waited_for_without_end(
    store: SqliteStore, other: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SQLITE_BUSY_MILLISECONDS", 20)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(PylonError) as refused:
        await store.write(put("a"))
    assert refused.value.code == "LOCK_FAILED"
    other.execute("ROLLBACK")
    assert await store.write(put("b")) == 1


async def test_a_unit_waits_so_long_in_the_queue_and_no_longer(
    store: SqliteStore, other: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a held unit has the writer, the others' time runs."""
    monkeypatch.setattr(limits, "WRITE_QUEUE_SECONDS_MAX", 0.02)
    monkeypatch.setattr(limits, "HELD_WAIT_SECONDS_MAX", 60.0)
    monkeypatch.setattr(limits, "HELD_SECONDS_MAX", 60.0)
    go = asyncio.Event()
    began = asyncio.Event()

    async def waits(tx: Tx) -> None:
        began.set()
        await go.wait()

    holding = asyncio.create_task(store.hold(waits))
    await began.wait()
    with pytest.raises(PylonError) as refused:
        await store.write(put("a"))
    error = refused.value
    assert (error.status, error.code, error.extra) == (503, "OVERLOADED", {"retry_after_secs": 1})
    go.set()
    await holding
    assert await store.write(put("b")) == 1
    assert await ids(store) == ["b"]


async def test_a_unit_alone_shares_its_commit_with_nobody(store: SqliteStore) -> None:
    results = await asyncio.gather(
        store.write(put("a")),
        store.write(put("b")),
        store.write(put("alone"), alone=True),
        store.write(put("c")),
        store.write(put("d")),
    )
    assert list(results) == [1, 2, 3, 4, 5]
    assert store.writer.batches == 3


async def test_a_statement_of_a_unit_alone_is_ended_even_when_it_writes(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UNIT_READ_SECONDS_MAX", 0.02)

    async def endless(tx: Tx) -> None:
        await tx.execute(f"INSERT INTO t SELECT 'x', x FROM ({ENDLESS})")

    before, failed, after = await asyncio.gather(
        store.write(put("before")),
        store.write(endless, alone=True),
        store.write(put("after")),
        return_exceptions=True,
    )
    assert isinstance(failed, PylonError)
    assert (failed.code, before, after) == ("QUERY_TIMEOUT", 1, 2)
    assert await ids(store) == ["before", "after"]


async def test_a_full_disk_refuses_writes_and_loses_nothing(store: SqliteStore) -> None:
    await store.write(put("before"))
    pages = (await store.read("PRAGMA page_count"))[0][0]

    async def limit(tx: Tx) -> None:
        await tx.fetch(f"PRAGMA max_page_count = {pages + 2}")

    async def big(tx: Tx) -> None:
        for number in range(64):
            await tx.execute("INSERT INTO t VALUES (?, 0)", (f"{number:04}" * 1000,))

    await store.write(limit)
    results: Sequence[object] = await asyncio.gather(
        store.write(put("beside")),
        store.write(big),
        return_exceptions=True,
    )
    assert isinstance(results[1], PylonError)
    assert results[1].code == "STORAGE_FULL"
    kept = await ids(store)
    assert ("beside" in kept) == (not isinstance(results[0], BaseException))
    assert "before" in kept


async def test_a_long_read_moves_to_a_thread_and_the_loop_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the loop the read would never end; on a thread it ends when the loop has gone on."""
    went_on = threading.Event()
    connect = SqliteStore._connect_reader

    def bound(*_: object) -> int:
        if threading.current_thread() is threading.main_thread():
            return 10**12
        went_on.wait()
        return 1_000

    def with_bound(store: SqliteStore) -> apsw.Connection:
        connection = connect(store)
        connection.create_scalar_function("bound", bound)
        return connection

    monkeypatch.setattr(SqliteStore, "_connect_reader", with_bound)
    store = open_store(tmp_path / "app.db")

    async def tick() -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        went_on.set()

    ticking = asyncio.create_task(tick())
    endless = SLOW.replace("x < ?", "x < bound()")
    assert await store.read(endless) == [(1_000,)]
    await ticking
    await store.close()


async def test_a_read_that_never_ends_is_abandoned(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_SECONDS_MAX", 0.05)
    with pytest.raises(PylonError) as failure:
        await store.read(SLOW, (10**12,))
    assert failure.value.code == "QUERY_TIMEOUT"
    assert await store.read("SELECT 1") == [(1,)]


async def test_queues_are_bounded(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WRITES_WAITING_MAX", 5)
    results = await asyncio.gather(
        *(store.write(put(f"r{i}")) for i in range(8)),
        return_exceptions=True,
    )
    refused = [r for r in results if isinstance(r, PylonError)]
    assert [r.code for r in refused] == ["OVERLOADED"] * 3
    assert len(await ids(store)) == 5


async def test_nothing_is_written_after_close(tmp_path: Path) -> None:
    store = open_store(tmp_path / "app.db", ddl=[TABLE])
    queued = asyncio.ensure_future(store.write(put("last")))
    await asyncio.sleep(0)
    await store.close()
    assert await queued == 1
    with pytest.raises(PylonError):
        await store.write(put("late"))


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is not a database" * 100)


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("spoil", [_garbage, _folder])
def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path, spoil: object) -> None:
    path = tmp_path / "app.db"
    spoil(path)  # type: ignore[operator]
    with pytest.raises(ConfigError) as failure:
        open_store(path)
    assert str(path) in failure.value.message
    assert "\n" not in failure.value.message


async def test_a_volatile_store_leaves_nothing_behind() -> None:
    store = open_store(None, ddl=[TABLE])
    await store.write(put("a"))
    assert await ids(store) == ["a"]
    folder: Sequence[Path] = [store.path.parent]
    await store.close()
    assert not folder[0].exists()


class Heavy:
    """What a unit may answer or publish."""


async def test_what_was_written_and_answered_is_let_go_before_the_next_write(
    store: SqliteStore,
) -> None:
    """The next may be hours away, and a large push answers tens of MB."""

    async def unit(tx: Tx) -> Heavy:
        await tx.execute("INSERT INTO t VALUES ('a', 1)")
        change = Heavy()
        tx.publish(change)
        kept.append(weakref.ref(change))
        return Heavy()

    kept: list[weakref.ref[Heavy]] = []
    kept.append(weakref.ref(await store.write(unit)))
    await asyncio.sleep(0)  # what woke us has the result
    gc.collect()
    assert [each() for each in kept] == [None, None]


async def test_the_page_caches_are_bounded(store: SqliteStore) -> None:
    async def unit(tx: Tx) -> None:
        for number in range(400):
            await tx.execute("INSERT INTO t VALUES (?, 1)", (f"{number:0>4000}-{tx.next_seq}",))
        tx.publish(None)

    for _ in range(20):  # 32 MiB, and as much again of the key's index
        await store.write(unit)
    await store.read("SELECT count(id) FROM t")
    connections = [
        (store.writer._connection, limits.SQLITE_CACHE_KIBIBYTES),
        (store._connect_reader(), limits.SQLITE_READER_CACHE_KIBIBYTES),
    ]
    connections[1][0].execute("SELECT max(length(id)) FROM t").fetchall()
    for connection, kibibytes in connections:
        used, _ = connection.status(apsw.SQLITE_DBSTATUS_CACHE_USED)
        # Pages have a head of their own.
        assert used < kibibytes * 1024 * 1.1
    connections[1][0].close()
