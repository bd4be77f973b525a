"""A bus between several services in one process, which loses, delays and cuts on demand.

For tests of what must hold when messages are late or gone. It keeps the promises of `bus/base.py`
and no more than those: everything is delivered in a later step of the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from msgspec import Struct, field

from pylon import limits
from pylon.bus.base import Answer, Hear, Unanswered, check
from pylon.ids import new_node


class Sent(Struct, frozen=True, kw_only=True):
    """A message on its way; `receiver` None for a question, whose owner is not known yet."""

    sender: int
    receiver: int | None
    topic: str
    message: bytes


def never(_sent: Sent) -> bool:
    """Nothing is lost."""
    return False


def at_once(_sent: Sent) -> float:
    """Nothing is late."""
    return 0.0


class _Link(Struct):
    """What one process has published and another has not heard yet, in order."""

    waiting: deque[tuple[float, Sent]] = field(default_factory=deque)
    is_moving: bool = False


class Network:
    """What its buses have in common."""

    def __init__(self) -> None:
        self.loses: Callable[[Sent], bool] = never
        """Which messages and questions vanish."""
        self.delay: Callable[[Sent], float] = at_once
        """How many seconds each takes; those of one sender to one receiver stay in order."""
        self.sent: list[Sent] = []
        """All that was published and asked."""
        self.lost = 0
        self._buses: dict[int, NetworkBus] = {}
        self._links: dict[tuple[int, int], _Link] = {}
        self._questions = 0

    def join(self) -> NetworkBus:
        """The bus of one more process."""
        bus = NetworkBus(self, new_node())
        self._buses[bus.node] = bus
        return bus

    def leave(self, bus: NetworkBus) -> None:
        """The process is gone, as if it had been killed: what it said may still be heard."""
        self._buses.pop(bus.node, None)

    def others(self, node: int) -> list[NetworkBus]:
        """Everybody that a process can reach."""
        if node not in self._buses:
            return []
        return [bus for bus in self._buses.values() if bus.node != node]

    def send(self, sender: int, receiver: NetworkBus, topic: str, message: bytes) -> None:
        """Put one message on its way."""
        sent = Sent(sender=sender, receiver=receiver.node, topic=topic, message=message)
        self.sent.append(sent)
        link = self._links.setdefault((sender, receiver.node), _Link())
        if self.loses(sent) or len(link.waiting) >= limits.BUS_QUEUE_MESSAGES_MAX:
            self.lost += 1
            return
        due = asyncio.get_running_loop().time() + self.delay(sent)
        if link.waiting:
            due = max(due, link.waiting[-1][0])
        link.waiting.append((due, sent))
        if not link.is_moving:
            link.is_moving = True
            self._move_later(link)

    def _move_later(self, link: _Link) -> None:
        loop = asyncio.get_running_loop()
        wait = link.waiting[0][0] - loop.time()
        if wait > 0:
            loop.call_later(wait, self._move, link)
        else:
            loop.call_soon(self._move, link)

    def _move(self, link: _Link) -> None:
        _, sent = link.waiting.popleft()
        if link.waiting:
            self._move_later(link)
        else:
            link.is_moving = False
        assert sent.receiver is not None
        receiver = self._buses.get(sent.receiver)
        if receiver is not None:
            receiver.hear(sent)

    async def ask(self, sender: int, name: str, question: bytes, seconds: float) -> bytes:
        """Carry a question to the owner of a name, and its answer back."""
        sent = Sent(sender=sender, receiver=None, topic=name, message=question)
        self.sent.append(sent)
        if self._questions >= limits.BUS_QUESTIONS_WAITING_MAX or sender not in self._buses:
            raise Unanswered(name)
        self._questions += 1
        try:
            async with asyncio.timeout(seconds):
                return await self._carry(sent)
        except TimeoutError:
            raise Unanswered(name) from None
        finally:
            self._questions -= 1

    async def _carry(self, sent: Sent) -> bytes:
        await asyncio.sleep(self.delay(sent))
        owner = next((bus for bus in self._buses.values() if sent.topic in bus.answers), None)
        if owner is None:
            raise Unanswered(sent.topic)
        if self.loses(sent):
            self.lost += 1
            await asyncio.Event().wait()  # until the deadline
        said = await owner.answers[sent.topic](sent.message)
        check(sent.topic, said)
        await asyncio.sleep(self.delay(sent))
        return said


class NetworkBus:
    """A `Bus` of one of the processes."""

    def __init__(self, network: Network, node: int) -> None:
        self._network = network
        self._hears: dict[str, list[Hear]] = {}
        self.node = node
        self.answers: dict[str, Answer] = {}

    @property
    def is_alone(self) -> bool:
        return not self._network.others(self.node)

    def publish(self, topic: str, message: bytes) -> None:
        check(topic, message)
        for other in self._network.others(self.node):
            self._network.send(self.node, other, topic, message)

    def subscribe(self, topic: str, hear: Hear) -> None:
        self._hears.setdefault(topic, []).append(hear)

    def answer(self, name: str, answer: Answer) -> None:
        assert not any(name in bus.answers for bus in self._network.others(self.node))
        self.answers[name] = answer

    async def ask(self, name: str, question: bytes, *, seconds: float) -> bytes:
        check(name, question)
        return await self._network.ask(self.node, name, question, seconds)

    def hear(self, sent: Sent) -> None:
        """A message has arrived."""
        for hear in self._hears.get(sent.topic, ()):
            hear(sent.sender, sent.message)

    def leave(self) -> None:
        """See `Network.leave`."""
        self._network.leave(self)
