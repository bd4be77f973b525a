"""What processes tell one another of presence, as it crosses the bus, and what has gathered.

States cross, not events: of a member in a channel what is so now, so that what is heard twice or in
part does no harm. Batches are numbered, so that whoever misses one notices (`presence_others.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from pylon import limits

Space = tuple[str, str]
"""A circle of callers that may see one another; see `presence_state.space_of`."""


class Stands(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """A member hears a channel (a topic) or is present in one; `data` is JSON."""

    member: int
    name: str
    space: Space
    topic: str | None
    is_present: bool
    room: str | None
    data: bytes | None


class Left(msgspec.Struct, frozen=True, array_like=True, tag="l"):
    """It does neither any more."""

    member: int
    topic: str | None


class Said(msgspec.Struct, frozen=True, array_like=True, tag="m"):
    """A message for those in a channel, as clients get it."""

    space: Space
    topic: str | None
    message: bytes


Item = Stands | Left | Said


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """News of one process. A batch with items has the number after that of the last; one without is
    a sign of life and has the number of the last."""

    number: int
    items: list[Item] = []
    is_last: bool = False
    """Whether the process stops, and all its members go."""


class Page(msgspec.Struct, frozen=True, array_like=True):
    """What is so in a process after its batch `number`, of the members above those asked for;
    `after`: there is more above this one."""

    number: int
    entries: list[Stands]
    after: int | None


ITEM_BYTES: Final = 64
"""What an item weighs beside its texts."""


def weight(item: Item) -> int:
    """About how many bytes it takes, rather more than fewer."""
    if isinstance(item, Left):
        return ITEM_BYTES + 4 * len(item.topic or "")
    if isinstance(item, Said):
        return ITEM_BYTES + 4 * len(item.topic or "") + len(item.message)
    texts = len(item.topic or "") + len(item.room or "") + len(item.name) + len(item.space[1])
    return ITEM_BYTES + 4 * texts + len(item.data or b"")


class News:
    """What has gathered since the last batch: who has changed, and messages, in order."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, str | None] | int, Said | None] = {}
        self._messages = 0
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, member: int, topic: str | None) -> None:
        """Something is different about a member in a channel; what is so when it is told counts."""
        self._waiting.pop((member, topic), None)
        self._waiting[member, topic] = None

    def add(self, space: Space, topic: str | None, message: bytes) -> bool:
        """A message; False where there are too many."""
        if self._bytes + len(message) > limits.PRESENCE_NEWS_BYTES_MAX:
            return False
        self._bytes += len(message)
        self._messages += 1
        self._waiting[self._messages] = Said(space, topic, message)
        return True

    def take(self, own: Callable[[int, str | None], Stands | None]) -> Iterator[list[Item]]:
        """All of it, in pieces that fit into a message each; `own` tells what is so of a member."""
        waiting, self._waiting, self._bytes = self._waiting, {}, 0
        items: list[Item] = []
        size = 0
        for key, said in waiting.items():
            item: Item
            if said is not None:
                item = said
            else:
                assert isinstance(key, tuple)
                item = own(*key) or Left(*key)
            items.append(item)
            size += weight(item)
            if size > limits.BUS_PAGE_BYTES:
                yield items
                items, size = [], 0
        if items:
            yield items
