"""The contract of the bus: what the processes of one service tell one another in passing.

For what may be lost and is soon said again: who is present, messages to topics, counts of rate
limits. What must not be lost is in the database, and is heard of as part of a commit
(`Store.on_commit`); what must be done by the owner of the database is a call (`calls.py`). Used by
features and by `assembly/`; `local.py` is a service of one process, `testing/bus.py` one of several
within a test.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from pylon import limits

Hear: TypeAlias = Callable[[int, bytes], None]
"""Takes the node that published and its message; on the loop, quick, and raises nothing."""

Answer: TypeAlias = Callable[[bytes], Awaitable[bytes]]
"""Takes a question and gives the answer; both at most `limits.BUS_MESSAGE_BYTES_MAX`."""


class Unanswered(Exception):
    """A question had no answer in time: nobody has the name, its owner has gone or has failed, or
    one of the two messages was lost. The owner may have done what it was asked."""


class Bus(Protocol):
    """The bus as one process has it. All of it is called on the loop.

    - A message reaches each other process at most once. It may be lost, without a word to anybody:
      on its way, because a process is not there yet, or because one has more than
      `limits.BUS_QUEUE_MESSAGES_MAX` to hear. Who cares numbers its messages and repeats itself.
    - Messages of one process on one topic arrive in the order in which they were published. There
      is no order between two processes, between two topics, or between messages and answers.
    - Nobody hears itself: whoever publishes has done its own part.
    - Nothing waits for a reader.
    """

    @property
    def node(self) -> int:
        """The number of this process: 0 where it is the only one for ever; else of up to 31 bits,
        and no other process has it or had it lately (`ids.new_node`)."""
        ...

    @property
    def is_alone(self) -> bool:
        """Whether certainly nobody else would hear; then nothing needs to be encoded. May change at
        any time."""
        ...

    def publish(self, topic: str, message: bytes, /) -> None:
        """Send to all others that have subscribed. Never waits. See `check` for the bounds."""
        ...

    def subscribe(self, topic: str, hear: Hear, /) -> None:
        """Hear what others publish from now on, until this process leaves the bus."""
        ...

    def answer(self, name: str, answer: Answer) -> None:
        """Be the owner of a name: questions to it come here. One process has it at a time."""
        ...

    async def ask(self, name: str, question: bytes, *, seconds: float) -> bytes:
        """The answer of the owner of `name`, which may be this process; `Unanswered` when there is
        none within `seconds`, or at once where `limits.BUS_QUESTIONS_WAITING_MAX` wait already."""
        ...


def check(topic: str, message: bytes) -> None:
    """Assert the bounds of what is published or asked: to break one is a fault of ours."""
    assert 0 < len(topic) <= limits.BUS_TOPIC_CHARACTERS_MAX, f"the name {topic!r} is too long"
    assert len(message) <= limits.BUS_MESSAGE_BYTES_MAX, f"{len(message)} bytes for {topic}"
