"""What a process hears of commits, in their order: changes of rows, facts, and gaps.

Each process has one `Feed`. In one process it is told by the store after each commit; where
another process writes, whoever carries its commits here calls `deliver`, and `gap` when some did
not come. Nobody makes `Change`s out of the log: what was missed is replayed to each reader as pages
of the log (`sync/hub.py`), and what was kept in memory is dropped and read anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

from msgspec import Struct

from pylon.changes.epochs import EpochRaised
from pylon.changes.facts import Fact
from pylon.changes.model import Change, Forgotten
from pylon.store.base import Store

log = logging.getLogger("pylon.changes")


class Gap(Struct, frozen=True, kw_only=True):
    """Commits of which nothing was heard: those of the positions in `(since, until]`, and any
    number of facts, which take no position. What is kept in memory may be wrong from here on."""

    since: int
    until: int


Message: TypeAlias = Change | Forgotten | EpochRaised | Fact | Gap

Listener: TypeAlias = Callable[[Sequence[Message], int], None]
"""Called on the loop with the messages of a commit in order, and the position of the log's end
after it: positions that carry no row, as an epoch's or a purge's, are passed with it.

It is quick, awaits nothing, and changes neither the messages nor their sequence."""


Carry: TypeAlias = Callable[[Sequence[Message], int], tuple[Sequence[Message], int]]
"""A way that commits come: messages and position as they were told, and as they arrive."""


class _Subscriber(Struct, frozen=True, kw_only=True):
    name: str
    listener: Listener
    hears: frozenset[type] | None


class Feed:
    """The commits of one store, as this process hears them.

    Those of `others`, stores beside it whose units tell facts only, are heard too: each at the
    position heard of last, since a fact takes none. Between stores there is no order.

    A caller whose `store.write` has returned finds every listener of its own process told: results
    are settled first, but their callers go on in a later step of the loop (`store/base.py`).
    """

    def __init__(self, store: Store, *others: Store, carry: Carry | None = None) -> None:
        """`carry` is what the store's commits pass on their way here; None where nothing lies
        between."""
        self._store = store
        self._carry = carry
        self._seq = store.seq
        self._subscribers: list[_Subscriber] = []
        self._hearers: dict[frozenset[type], tuple[_Subscriber, ...]] = {}
        store.on_commit(self._committed)
        for other in others:
            other.on_commit(self._committed_beside)

    @property
    def seq(self) -> int:
        """The position of the log's end, as far as it has been heard of."""
        return self._seq

    def subscribe(self, name: str, listener: Listener, hears: Sequence[type] = ()) -> None:
        """Call `listener` for each commit, after those that subscribed before.

        With `hears` only for commits that hold a message of these types, though with all of their
        messages; for gaps always. Who raises has missed something, and is told a gap.
        """
        kinds = frozenset((*hears, Gap)) if hears else None
        self._subscribers.append(_Subscriber(name=name, listener=listener, hears=kinds))
        self._hearers.clear()

    def deliver(self, messages: Sequence[Message], seq: int) -> None:
        """Tell everybody of one commit; `seq` is the position of the log's end after it."""
        since, self._seq = self._seq, seq
        kinds = frozenset(map(type, messages))
        hearers = self._hearers.get(kinds)
        if hearers is None:
            hearers = self._who_hears(kinds)
        for each in hearers:
            self._tell(each, messages, since)

    def _who_hears(self, kinds: frozenset[type]) -> tuple[_Subscriber, ...]:
        """Who is told of commits with messages of these types. Kept, since each commit asks; there
        are few types."""
        found = tuple(
            each
            for each in self._subscribers
            if each.hears is None or not each.hears.isdisjoint(kinds)
        )
        self._hearers[kinds] = found
        return found

    def gap(self, until: int) -> None:
        """Commits up to the position `until`, or facts at it, were missed, and will not be told.

        They are in the database by now: whoever is told reads them there.
        """
        since, self._seq = self._seq, max(self._seq, until)
        for each in self._subscribers:
            self._tell(each, (Gap(since=since, until=self._seq),), since)

    def _committed(self, news: Sequence[object]) -> None:
        """The store's commit listener. Whoever writes gives its units nothing but messages."""
        self._carried(news, self._store.seq)

    def _committed_beside(self, news: Sequence[object]) -> None:
        # Not the position of the first store, which may be ahead of what is heard.
        self._carried(news, self._seq)

    def _carried(self, news: Sequence[object], seq: int) -> None:
        messages: Sequence[Message] = news  # type: ignore[assignment]
        if self._carry is not None:
            messages, seq = self._carry(messages, seq)
        self.deliver(messages, seq)

    def _tell(self, subscriber: _Subscriber, messages: Sequence[Message], since: int) -> None:
        try:
            subscriber.listener(messages, self._seq)
        except Exception:
            log.exception("%s failed to hear a commit; it starts anew", subscriber.name)
            try:
                subscriber.listener((Gap(since=since, until=self._seq),), self._seq)
            except Exception:
                log.exception("%s failed to start anew", subscriber.name)
