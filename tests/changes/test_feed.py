"""The feed over a real store: who hears what, in which order, and what a fault costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from pylon.changes.epochs import EpochRaised, raise_epoch
from pylon.changes.facts import ClaimsChanged, OldestRaised, SessionEnded
from pylon.changes.feed import Feed, Gap, Message
from pylon.changes.log import LOG_TABLES
from pylon.store.base import Tx, Unit
from pylon.store.sqlite.store import SqliteStore, open_store

Heard = list[tuple[list[Message], int]]


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    store = open_store(None, tables={"changes": LOG_TABLES})
    yield store
    await store.close()


def hears(feed: Feed, *kinds: type) -> Heard:
    heard: Heard = []
    feed.subscribe("test", lambda news, seq: heard.append((list(news), seq)), kinds)
    return heard


def tells(*facts: Message) -> Unit[None]:
    async def unit(tx: Tx) -> None:
        for fact in facts:
            tx.tell(fact)

    return unit


async def raises(tx: Tx) -> int:
    return await raise_epoch(tx, "userId:ann")


ENDED = SessionEnded(session_id=b"s", user_id="ann", tenant_id=None)
CLAIMS = ClaimsChanged(user_id="ann")


async def test_messages_of_a_commit_come_in_order_with_its_last_position(
    store: SqliteStore,
) -> None:
    feed = Feed(store)
    heard = hears(feed)

    async def takes_a_position(tx: Tx) -> None:
        tx.publish(OldestRaised(oldest_seq=tx.next_seq))

    await asyncio.gather(
        store.write(tells(ENDED)), store.write(raises), store.write(takes_a_position)
    )
    raised = EpochRaised(seq=1, subject="userId:ann")
    assert heard == [([ENDED, raised, OldestRaised(oldest_seq=2)], 2)]
    assert feed.seq == 2
    await store.write(tells(CLAIMS))
    assert heard[1:] == [([CLAIMS], 2)]


async def test_what_a_unit_tells_is_undone_with_it(store: SqliteStore) -> None:
    heard = hears(Feed(store))

    async def fails(tx: Tx) -> None:
        tx.tell(ENDED)
        raise ValueError("of its own making")

    results = await asyncio.gather(
        store.write(fails), store.write(tells(CLAIMS)), return_exceptions=True
    )
    assert isinstance(results[0], ValueError)
    assert heard == [([CLAIMS], 0)]


async def test_whoever_awaits_a_write_goes_on_after_its_listeners(store: SqliteStore) -> None:
    """In whatever way it waits: what its own process keeps is current by then."""
    heard = hears(Feed(store))

    async def write(number: int) -> bool:
        fact = ClaimsChanged(user_id=str(number))
        await store.write(tells(fact))
        return any(fact in news for news, _ in heard)

    async def write_by_callback() -> bool:
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        writing = store.writer.submit(tells(ENDED))
        writing.add_done_callback(lambda _: done.set_result(any(ENDED in n for n, _ in heard)))
        return await done

    for _ in range(20):
        assert all(await asyncio.gather(write_by_callback(), *(write(n) for n in range(10))))
        heard.clear()


async def test_who_wants_some_kinds_is_called_for_commits_that_hold_them(
    store: SqliteStore,
) -> None:
    feed = Feed(store)
    some, every = hears(feed, SessionEnded, OldestRaised), hears(feed)
    for facts in ((CLAIMS,), (CLAIMS, ENDED), (ENDED,)):
        await store.write(tells(*facts))
    feed.gap(7)
    feed.deliver([Gap(since=7, until=8)], 8)
    assert [news for news, _ in some] == [
        [CLAIMS, ENDED],
        [ENDED],
        [Gap(since=0, until=7)],
        [Gap(since=7, until=8)],
    ]
    assert len(every) == 5


async def test_who_comes_later_hears_what_others_have_heard_before(store: SqliteStore) -> None:
    feed = Feed(store)
    first = hears(feed)
    await store.write(tells(ENDED))
    later, other = hears(feed, SessionEnded), hears(feed, OldestRaised)
    await store.write(tells(ENDED))
    assert (len(first), len(later), len(other)) == (2, 1, 0)


async def test_a_gap_never_takes_the_feed_back(store: SqliteStore) -> None:
    feed = Feed(store)
    heard = hears(feed)
    feed.deliver([ENDED], 5)
    feed.gap(3)
    feed.gap(9)
    assert heard[1:] == [([Gap(since=5, until=5)], 5), ([Gap(since=5, until=9)], 9)]


async def test_who_fails_to_hear_is_told_a_gap_and_others_hear_all(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    feed = Feed(store)
    before = hears(feed)
    told: list[Message] = []

    def fails(news: Sequence[Message], _: int) -> None:
        told.extend(news)
        if not isinstance(news[0], Gap):
            raise ValueError("of its own making")

    feed.subscribe("failing", fails)
    after = hears(feed)
    await store.write(raises)
    await store.write(tells(ENDED))
    assert told[1::2] == [Gap(since=0, until=1), Gap(since=1, until=1)]
    assert before == after
    assert len(after) == 2
    assert "failing failed to hear a commit" in caplog.text
    assert await store.write(raises) == 2, "the writer goes on"


async def test_facts_of_a_store_beside_come_at_the_position_heard_of_last(
    store: SqliteStore,
) -> None:
    beside = open_store(None)
    try:
        feed = Feed(store, beside)
        heard = hears(feed)
        await store.write(raises)
        await beside.write(tells(ENDED))
        await asyncio.gather(
            *(
                each
                for _ in range(20)
                for each in (store.write(raises), beside.write(tells(CLAIMS)))
            )
        )
        assert heard[1] == ([ENDED], heard[0][1])
        at = 0
        for news, seq in heard:
            if any(isinstance(each, EpochRaised) for each in news):
                assert seq > at
            else:
                assert seq == at
            at = seq
        assert at == store.seq
    finally:
        await beside.close()
