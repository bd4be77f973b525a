"""Every bus keeps the promises of `bus/base.py`; the one for tests breaks what it may."""

from __future__ import annotations

import asyncio

import pytest

from pylon import limits
from pylon.bus.base import Bus, Unanswered
from pylon.bus.local import LocalBus
from pylon.testing.bus import Network, NetworkBus


class Ear:
    """Notes what it hears."""

    def __init__(self, *buses: Bus, topic: str = "t") -> None:
        self.heard: list[tuple[int, bytes]] = []
        for bus in buses:
            bus.subscribe(topic, lambda node, message: self.heard.append((node, message)))

    async def wait(self, count: int) -> list[tuple[int, bytes]]:
        async with asyncio.timeout(60):
            while len(self.heard) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        return self.heard


async def echo(question: bytes) -> bytes:
    return b"re: " + question


@pytest.fixture(params=["local", "network"])
def bus(request: pytest.FixtureRequest) -> Bus:
    return LocalBus() if request.param == "local" else Network().join()


# --- every bus -------------------------------------------------------------------------------


async def test_nobody_hears_itself(bus: Bus) -> None:
    ear = Ear(bus)
    bus.publish("t", b"hello")
    await asyncio.sleep(0.01)
    assert ear.heard == []
    assert bus.is_alone


async def test_one_may_ask_what_is_ones_own(bus: Bus) -> None:
    with pytest.raises(Unanswered):
        await bus.ask("name", b"?", seconds=1)
    bus.answer("name", echo)
    assert await bus.ask("name", b"?", seconds=1) == b"re: ?"


async def test_an_answer_that_takes_too_long_is_none(bus: Bus) -> None:
    async def slow(_: bytes) -> bytes:
        await asyncio.sleep(30)
        return b""

    bus.answer("slow", slow)
    with pytest.raises(Unanswered):
        await bus.ask("slow", b"", seconds=0.01)


def test_alone_for_ever_has_no_number() -> None:
    assert LocalBus().node == 0
    assert 0 < Network().join().node < 2**31


# --- between processes -----------------------------------------------------------------------


def three() -> tuple[Network, NetworkBus, NetworkBus, NetworkBus]:
    network = Network()
    return network, network.join(), network.join(), network.join()


async def test_all_others_hear_in_the_order_of_each_publisher() -> None:
    network, a, b, c = three()
    # Every other message is late, and a's are later than b's.
    network.delay = lambda sent: (
        0.01 * (sent.message[0] % 2) + (0.02 if sent.sender == a.node else 0)
    )
    ear, deaf = Ear(c), Ear(c, topic="other")
    for number in range(20):
        a.publish("t", bytes([number]))
        b.publish("t", bytes([number]))
    assert ear.heard == [], "nothing is heard in the same step"
    heard = await ear.wait(40)
    for sender in (a, b):
        mine = [message[0] for node, message in heard if node == sender.node]
        assert mine == list(range(20))
    assert [node for node, _ in heard] != [a.node, b.node] * 20, "two publishers have no order"
    assert deaf.heard == []


async def test_what_is_lost_is_lost_without_a_word() -> None:
    network, a, b, c = three()
    network.loses = lambda sent: sent.receiver == b.node and sent.message == b"1"
    to_b, to_c = Ear(b), Ear(c)
    for message in (b"1", b"2"):
        a.publish("t", message)
    assert await to_c.wait(2) == [(a.node, b"1"), (a.node, b"2")]
    assert await to_b.wait(1) == [(a.node, b"2")]
    assert network.lost == 1


async def test_a_reader_that_is_behind_misses_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BUS_QUEUE_MESSAGES_MAX", 3)
    _, a, b, _ = three()
    ear = Ear(b)
    for number in range(5):
        a.publish("t", bytes([number]))
    assert [message[0] for _, message in await ear.wait(3)] == [0, 1, 2]
    a.publish("t", b"\x09")
    assert (await ear.wait(4))[-1] == (a.node, b"\x09")


async def test_the_owner_of_a_name_answers_everybody() -> None:
    network, a, b, c = three()
    b.answer("name", echo)
    assert await a.ask("name", b"?", seconds=1) == await c.ask("name", b"?", seconds=1) == b"re: ?"
    network.loses = lambda sent: sent.topic == "name"
    with pytest.raises(Unanswered):
        await a.ask("name", b"?", seconds=0.01)
    network.loses = lambda sent: False
    b.leave()
    with pytest.raises(Unanswered):
        await a.ask("name", b"?", seconds=1)


async def test_who_has_gone_neither_hears_nor_is_heard() -> None:
    _, a, b, c = three()
    ear = Ear(b, c)
    b.leave()
    a.publish("t", b"1")
    b.publish("t", b"2")
    assert await ear.wait(1) == [(a.node, b"1")]
    assert not a.is_alone
    c.leave()
    assert a.is_alone


@pytest.mark.parametrize(
    ("topic", "size"), [("t", limits.BUS_MESSAGE_BYTES_MAX + 1), ("", 1), ("t" * 129, 1)]
)
async def test_what_is_too_large_is_a_fault_of_ours(topic: str, size: int) -> None:
    _, a, _, _ = three()
    with pytest.raises(AssertionError):
        a.publish(topic, b"x" * size)
