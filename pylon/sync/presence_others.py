"""What is known of the members at other processes, decided without I/O; `PresenceState` shows it.

    unknown -> (anything heard) heard, not whole -> asked -> whole -> (a batch missed) not whole
    -> (nothing heard for long, or its last word) unknown

News are taken as they come, whole or not. A process that is not whole is asked for all that is so
in it; what it said meanwhile comes on top, and the difference to what was known is applied.
"""

from __future__ import annotations

from msgspec import Struct, field

from pylon import limits
from pylon.sync.presence_news import Batch, Item, Left, Page, Said, Stands
from pylon.sync.presence_state import PresenceState

Entries = dict[tuple[int, str | None], Stands]
"""By member and topic."""


class _Asked(Struct):
    """What has come since a process was asked for all that is so in it."""

    number: int | None = None
    entries: Entries = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)


class _Node(Struct):
    """One other process."""

    number: int
    heard_at: float
    entries: Entries = field(default_factory=dict)
    is_whole: bool = False
    asked: _Asked | None = None
    asked_at: float | None = None


class Others:
    """All other processes, by their numbers on the bus. Times are monotonic seconds."""

    def __init__(self, state: PresenceState) -> None:
        self._state = state
        self._nodes: dict[int, _Node] = {}

    def __len__(self) -> int:
        """Processes that are known."""
        return len(self._nodes)

    def hear(self, node: int, batch: Batch, now: float) -> None:
        """News, or a sign of life."""
        if batch.is_last:
            self.forget(node)
            return
        known = self._nodes.get(node)
        if known is None:
            if len(self._nodes) >= limits.PRESENCE_NODES_MAX:
                return
            known = self._nodes[node] = _Node(batch.number, now)
        elif batch.number != known.number + bool(batch.items):
            known.is_whole = False
        known.number, known.heard_at = batch.number, now
        for item in batch.items:
            self._apply(known, item)
        if known.asked is not None and batch.items:
            known.asked.batches.append(batch)
            if len(known.asked.batches) > limits.PRESENCE_NEWS_KEPT_MAX:
                self.give_up(node)

    def expire(self, now: float) -> None:
        """Forget processes that have not been heard of for long."""
        for node, known in list(self._nodes.items()):
            if now - known.heard_at > limits.PRESENCE_GONE_SECONDS:
                self.forget(node)

    def forget(self, node: int) -> None:
        """A process has gone, with all its members."""
        known = self._nodes.pop(node, None)
        if known is not None:
            for entry in known.entries.values():
                self._state.left(entry)

    # --- all that is so in a process ---------------------------------------------------------

    def wanting(self, now: float) -> list[int]:
        """Processes to ask now."""
        return [
            node
            for node, known in self._nodes.items()
            if not (known.is_whole or known.asked is not None)
            and (known.asked_at is None or now - known.asked_at >= limits.PRESENCE_BEAT_SECONDS)
        ]

    def ask(self, node: int, now: float) -> None:
        """It is being asked, for all pages."""
        known = self._nodes[node]
        known.asked, known.asked_at, known.is_whole = _Asked(), now, True

    def page(self, node: int, page: Page) -> bool:
        """An answer; whether to go on asking."""
        known = self._nodes.get(node)
        if known is None or known.asked is None:
            return False
        asked = known.asked
        if asked.number is None:
            asked.number = page.number
        for entry in page.entries:
            asked.entries[entry.member, entry.topic] = entry
        if page.after is not None and len(asked.entries) < limits.PRESENCE_OTHERS_MAX:
            return True
        known.asked = None
        for batch in asked.batches:
            if batch.number > asked.number:
                for item in batch.items:
                    _keep(asked.entries, item)
        self._replace(known, asked.entries)
        return False

    def give_up(self, node: int) -> None:
        """It has not answered; it will be asked again."""
        known = self._nodes.get(node)
        if known is not None:
            known.asked, known.is_whole = None, False

    def _replace(self, known: _Node, entries: Entries) -> None:
        for key in known.entries.keys() - entries.keys():
            self._state.left(known.entries.pop(key))
        for key, entry in entries.items():
            if known.entries.get(key) != entry:
                self._apply(known, entry)

    # --- news --------------------------------------------------------------------------------

    def _apply(self, known: _Node, item: Item) -> None:
        if isinstance(item, Said):
            self._state.said(item.space, item.topic, item.message)
            return
        key = (item.member, item.topic)
        before = known.entries.get(key)
        if isinstance(item, Left):
            if before is not None:
                del known.entries[key]
                self._state.left(before)
            return
        is_room = before is not None or len(known.entries) < limits.PRESENCE_OTHERS_MAX
        if is_room and not self._state.is_own(item.member):
            known.entries[key] = item
            self._state.stands(item)


def _keep(entries: Entries, item: Item) -> None:
    if isinstance(item, Stands):
        entries[item.member, item.topic] = item
    elif isinstance(item, Left):
        entries.pop((item.member, item.topic), None)
