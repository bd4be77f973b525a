"""A second process on a store: it reads the same rows, and hears of commits as far as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pylon.store.base import CommitListener, Store
from tests.passing import PassingStore
from tests.sync.world import World, process


class Carried(PassingStore):
    """The store as another process has it. While `is_cut`, nothing is heard of commits."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._listeners: list[CommitListener] = []
        self.is_cut = False
        self.heard_seq = inner.seq
        inner.on_commit(self._carry)

    def _carry(self, news: Sequence[object]) -> None:
        if not self.is_cut:
            self.heard_seq = self.inner.seq
            for listener in self._listeners:
                listener(news)

    @property
    def seq(self) -> int:
        return self.heard_seq

    def on_commit(self, listener: CommitListener) -> None:
        self._listeners.append(listener)

    async def close(self) -> None:
        """The store is the other's to close."""


class Second:
    """A second process, and the line over which it hears."""

    def __init__(self, app: World, carried: Carried) -> None:
        self.app = app
        self._carried = carried

    def cut(self) -> None:
        self._carried.is_cut = True

    def mend(self) -> None:
        """Hear again, and be told that something was missed."""
        if self._carried.is_cut:
            self._carried.is_cut = False
            self._carried.heard_seq = self.app.store.seq
            self.app.feed.gap(self.app.store.seq)


@asynccontextmanager
async def second(first: World) -> AsyncIterator[Second]:
    """A second process on the store of the first."""
    carried = Carried(first.store)
    app = await process(first.manifest, first.store, first.clock, carried)
    try:
        yield Second(app, carried)
    finally:
        await app.close()
