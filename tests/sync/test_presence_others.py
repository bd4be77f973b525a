"""Members of other processes: over any history, with whatever is lost on the way, everybody comes
to see the same."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import codec, limits
from pylon.clock import ManualClock
from pylon.sync.presence_exchange import PresenceExchange, first_id
from pylon.sync.presence_news import Batch, News, Page, Stands
from pylon.sync.presence_others import Others
from pylon.sync.presence_state import PresenceState
from pylon.tasks import Tasks
from pylon.testing.bus import Network, Sent

SPACE = ("app", "")
TOPICS = [None, "a", "b"]
NODES = 3


class Process:
    """A process without a loop: its state, its batches, and what its witness is told."""

    def __init__(self, node: int) -> None:
        self.node = node
        self.state = PresenceState(first_id(node))
        self.state.news = News()
        self.others = Others(self.state)
        self.number = 0
        self.members = [self.join(), self.join()]
        self.witness = self.state.join(SPACE, f"witness{node}", 0.0)
        self.present: dict[str | None, set[int]] = defaultdict(set)
        """Whom its witness knows, by topic."""
        self.heard: list[str] = []
        for topic in TOPICS[1:]:
            assert topic is not None
            self.state.subscribe(self.witness, topic)

    def join(self) -> int:
        return self.state.join(SPACE, f"user{self.node}", 0.0)

    def batches(self) -> list[Batch]:
        """What it tells others now."""
        assert self.state.news is not None
        made = []
        for items in self.state.news.take(self.state.own):
            self.number += 1
            made.append(Batch(self.number, items))
        return made

    def relay(self) -> None:
        """Its sockets hear what is new."""
        for delivery in self.state.take():
            if self.witness not in delivery.members:
                continue
            for message in map(codec.decode, delivery.messages):
                topic = message.get("topic")
                if message["type"] == "topic":
                    self.heard.append(message["data"])
                elif message["event"] == "update":
                    self.present[topic].add(message["clientId"])
                elif message["event"] == "disconnect":
                    self.present[topic].discard(message["clientId"])

    def pages(self) -> list[Page]:
        """All that is so here, a member a page."""
        found = list(self.state.own_after(-1))
        pages = [Page(self.number, entries, member) for member, entries in found]
        return [*pages, Page(self.number, [], None)]

    def shown(self) -> dict[str | None, set[bytes]]:
        return {topic: set(self.state.listed(SPACE, topic)[0]) for topic in TOPICS}


who = st.integers(0, 1)
where = st.sampled_from(TOPICS)
step = st.one_of(
    st.tuples(st.just("announce"), who, where, st.sampled_from([b"1", b"2"])),
    st.tuples(st.just("withdraw"), who, where),
    st.tuples(st.sampled_from(["subscribe", "unsubscribe"]), who, st.sampled_from(["a", "b"])),
    st.tuples(st.just("again"), who),
    st.tuples(st.just("tell"), st.booleans()),
    st.tuples(st.just("tell"), st.booleans()),
    st.tuples(st.just("relay")),
    st.tuples(st.just("page")),
    st.tuples(st.just("page")),
)


@given(st.lists(st.tuples(st.integers(0, NODES - 1), step), min_size=20, max_size=120))
def test_everybody_comes_to_see_the_same(steps: list[tuple[int, tuple[Any, ...]]]) -> None:
    processes = [Process(node + 1) for node in range(NODES)]
    asking: dict[tuple[int, int], list[Page]] = {}

    def tell(process: Process, *, is_lost: bool) -> None:
        for batch in [*process.batches(), Batch(process.number)]:
            for other in processes:
                if other is not process and not (is_lost and batch.items):
                    other.others.hear(process.node, batch, 0.0)

    def page(process: Process) -> None:
        """It asks whom it wants to, and gets the next page of each that it has asked."""
        for node in process.others.wanting(1_000.0):
            process.others.ask(node, 0.0)
            asking[process.node, node] = processes[node - 1].pages()
        for (asker, node), pages in list(asking.items()):
            if asker == process.node and not process.others.page(node, pages.pop(0)):
                del asking[asker, node]

    for which, (kind, *parts) in steps:
        process = processes[which]
        if kind == "again":
            process.state.leave(process.members[parts[0]])
            process.members[parts[0]] = process.join()
        elif kind == "tell":
            tell(process, is_lost=parts[0])
        elif kind == "relay":
            process.relay()
        elif kind == "page":
            page(process)
        else:
            member, *rest = parts
            getattr(process.state, kind)(process.members[member], *rest)
        for each in processes:
            each.state.validate()
    for _ in range(40):
        for process in processes:
            tell(process, is_lost=False)
            page(process)
    assert not asking
    for process in processes:
        process.relay()
        process.state.validate()
        assert process.shown() == processes[0].shown()
        for topic in TOPICS:
            ids = {codec.decode(entry)["clientId"] for entry in process.shown()[topic]}
            assert process.present[topic] == ids, "what was told one by one is the list"
    processes[0].others.forget(2)
    processes[0].others.forget(3)
    own = set(processes[0].members)
    processes[0].relay()
    processes[0].state.validate()
    assert all(ids <= own for ids in processes[0].present.values())


def stands(member: int, topic: str | None = None, data: bytes = b"1") -> Stands:
    return Stands(member, "ann", SPACE, topic, True, None, data)


def test_a_process_that_is_silent_for_long_takes_its_members_along() -> None:
    here = Process(1)
    here.others.hear(2, Batch(1, [stands(first_id(2))]), 10.0)
    here.others.hear(3, Batch(1, [stands(first_id(3))]), 12.0)
    here.others.expire(10.0 + limits.PRESENCE_GONE_SECONDS)
    assert here.state.listed(SPACE, None)[1] == 2
    here.others.expire(10.1 + limits.PRESENCE_GONE_SECONDS)
    assert here.state.listed(SPACE, None)[1] == 1
    here.others.hear(3, Batch(1, is_last=True), 13.0)
    assert here.state.listed(SPACE, None)[1] == 0
    assert len(here.others) == 0


def test_nobody_takes_the_place_of_a_socket_here() -> None:
    here = Process(1)
    member = here.state.join(SPACE, "bob", 0.0)
    here.state.announce(member, None, b"mine")
    here.others.hear(2, Batch(1, [stands(member, data=b"theirs")]), 0.0)
    (entry,), _ = here.state.listed(SPACE, None)
    assert b"mine" in entry
    here.state.validate()


def test_what_is_kept_of_others_is_bounded() -> None:
    bounds: dict[str, Any] = {"PRESENCE_NODES_MAX": 1, "PRESENCE_OTHERS_MAX": 2}
    with mock.patch.multiple(limits, **bounds):
        here = Process(1)
        here.others.hear(2, Batch(1, [stands(first_id(2) + each) for each in range(5)]), 0.0)
        here.others.hear(3, Batch(1, [stands(first_id(3))]), 0.0)
        assert here.state.listed(SPACE, None)[1] == 2


def test_ids_are_apart_and_exact_in_javascript() -> None:
    assert first_id(0) == 0
    assert first_id(1) - first_id(0) > 4_000_000
    assert first_id(2**31 - 1) + 4_000_000 < 2**53


# --- over a bus ------------------------------------------------------------------------------


class Peer:
    """A process on a bus."""

    def __init__(self, network: Network, clock: ManualClock, tasks: Tasks) -> None:
        self.bus = network.join()
        self.state = PresenceState(first_id(self.bus.node))
        self.exchange = PresenceExchange(self.state, self.bus, tasks, clock, lambda: None)

    @property
    def count(self) -> int:
        return self.state.listed(SPACE, None)[1]

    def announce(self, data: bytes = b"1") -> int:
        member = self.state.join(SPACE, "ann", 0.0)
        self.state.announce(member, None, data)
        return member


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(at=1000)


async def test_who_comes_later_is_told_all_in_pages(clock: ManualClock) -> None:
    network, tasks = Network(), Tasks()
    first = Peer(network, clock, tasks)
    await first.exchange.start()
    with mock.patch.object(limits, "BUS_PAGE_BYTES", 500):
        for _ in range(50):
            first.announce(b"1" * 100)
        first.exchange.tell()
        assert network.sent == [], "alone"
        second = Peer(network, clock, tasks)
        await second.exchange.start()
        await first.exchange.beat()
        async with asyncio.timeout(60):
            while second.count < 50:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    questions = [sent for sent in network.sent if sent.receiver is None]
    assert len(questions) > 10
    assert second.state.listed(SPACE, None) == first.state.listed(SPACE, None)
    first.exchange.stop()
    await settle()
    assert second.count == 0
    await tasks.stop()


async def test_a_lost_message_is_noticed_at_the_next_beat(clock: ManualClock) -> None:
    network, tasks = Network(), Tasks()
    first, second = Peer(network, clock, tasks), Peer(network, clock, tasks)
    for each in (first, second):
        await each.exchange.start()
    await first.exchange.beat()
    await settle()

    def loses(sent: Sent) -> bool:
        return sent.topic == "presence"

    network.loses = loses
    first.announce()
    first.exchange.tell()
    await settle()
    assert second.count == 0
    network.loses = lambda sent: False
    clock.advance(limits.PRESENCE_BEAT_SECONDS)
    await first.exchange.beat()
    await settle()
    assert second.count == 1
    await tasks.stop()


async def test_a_question_that_is_lost_is_asked_again(clock: ManualClock) -> None:
    network, tasks = Network(), Tasks()
    first, second = Peer(network, clock, tasks), Peer(network, clock, tasks)
    first.announce()
    network.loses = lambda sent: sent.receiver is None
    with mock.patch.object(limits, "PRESENCE_ASK_SECONDS", 0.01):
        for each in (first, second):
            await each.exchange.start()
        await first.exchange.beat()
        await asyncio.sleep(0.05)
    assert second.count == 0
    network.loses = lambda sent: False
    await first.exchange.beat()
    await settle()
    assert second.count == 0, "not at every word of it"
    clock.advance(limits.PRESENCE_BEAT_SECONDS)
    await first.exchange.beat()
    await settle()
    assert second.count == 1
    await tasks.stop()


async def test_messages_to_topics_cross_in_order(clock: ManualClock) -> None:
    network, tasks = Network(), Tasks()
    first, second = Peer(network, clock, tasks), Peer(network, clock, tasks)
    for each in (first, second):
        await each.exchange.start()
    await first.exchange.beat()
    speaker = first.state.join(SPACE, "ann", 0.0)
    hearer = second.state.join(SPACE, "bob", 0.0)
    second.state.subscribe(hearer, "t")
    for number in range(30):
        first.state.say(speaker, "t", b"%d" % number)
        if number % 7 == 0:
            first.exchange.tell()
    first.exchange.tell()
    await settle()
    (delivery,) = second.state.take()
    assert [codec.decode(each)["data"] for each in delivery.messages] == list(range(30))
    assert second.state.hears(SPACE, "ann", "t"), "who speaks to a topic hears it, wherever it is"
    await tasks.stop()
