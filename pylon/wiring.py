"""The composition root: which parts a service has, and the loops that bring them to life.

`PARTS` lists them; their order is that in which they start, hear of commits and stand in the
pipeline. How each is made stands in `assembly/`, what it brings in its `Part` there. A new feature
is a folder, its group in `assembly/`, and a line here. Used by `service.Service`, once a start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pylon import limits
from pylon.assembly.base import Process as Process
from pylon.assembly.counts import COUNTS
from pylon.assembly.identity import IDENTITY
from pylon.assembly.kernel import KERNEL, KernelGroup
from pylon.assembly.loop import LOOP
from pylon.assembly.rows import DOCUMENTS, HOOKS, ROWS
from pylon.assembly.storage import STORAGE
from pylon.assembly.sync import PRESENCE, SYNC, TOGETHER
from pylon.part import Part, Worker
from pylon.store.upkeep import Upkeep

log = logging.getLogger("pylon")

PARTS: Final[tuple[Part[KernelGroup], ...]] = (
    KERNEL,
    IDENTITY,
    STORAGE,
    HOOKS,
    ROWS,
    DOCUMENTS,
    SYNC,
    TOGETHER,
    PRESENCE,
    COUNTS,
    LOOP,
)
"""Every part of the house."""


def table_steps(parts: Iterable[Part[Any]]) -> dict[str, tuple[tuple[str, ...], ...]]:
    """The system tables of the parts, as numbered steps by the part's name."""
    return {part.name: part.tables for part in parts if part.tables}


def session_tables() -> dict[str, tuple[tuple[str, ...], ...]]:
    """Those that stand elsewhere where sessions are kept apart from the rows."""
    return table_steps((IDENTITY,))


@dataclass(kw_only=True)
class House(KernelGroup):
    """The parts in use: made on one open store, connected, ended."""

    _workers: list[asyncio.Task[None]] = field(default_factory=list, repr=False)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    # --- start -------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Bring every part to life: its hooks, what it answers and hears, its start, its work."""
        _refuse_twins(self.parts)
        for part in self.parts:
            if part.hooks is not None:
                part.hooks(self)
        for part in self.parts:
            self._answer(part)
            self._hear(part)
            self._talk(part)
            part.metrics(self, self.metrics)
        # Whole from now on: other processes may ask for its calls, and its limiters hear of them.
        _ = self.pipeline
        for part in self.parts:
            await part.start(self)
        for part in self.parts:
            self._work(part)

    def _answer(self, part: Part[Any]) -> None:
        for call in part.calls(self):
            self.call_table.add(call)

    def _hear(self, part: Part[Any]) -> None:
        for listener in part.listeners(self):
            if listener.runs_in in self.process.duties:
                self.feed.subscribe(listener.name, listener.hear, listener.hears)

    def _talk(self, part: Part[Any]) -> None:
        said = part.messages(self)
        for kind, handler in said.handlers.items():
            self.messages.on(kind, handler)
        if said.join is not None:
            self.messages.on_join(said.join)
        if said.leave is not None:
            self.messages.on_leave(said.leave)

    def _work(self, part: Part[Any]) -> None:
        for each in part.periodic(self):
            if each.runs_in not in self.process.duties:
                continue
            if each.is_kept:
                upkeep = Upkeep(self.store, self.clock, each.name, each.seconds, each.work)
                self.tasks.every(limits.UPKEEP_LOOK_SECONDS, each.name, upkeep.look)
            else:
                self.tasks.every(each.seconds, each.name, each.work)
        for worker in part.workers(self):
            if worker.runs_in in self.process.duties:
                task = self.tasks.start(worker.name, self._run(worker))
                self._workers.append(task)

    async def _run(self, worker: Worker) -> None:
        await worker.run(self._stopping)

    def context(self) -> Mapping[str, Callable[[], object]]:
        """The members of `ctx` that the parts bring, by name; each is made when it is first
        used."""
        found: dict[str, Callable[[], object]] = {}
        for part in self.parts:
            for name, make in part.context.items():
                assert name not in found, f"two parts bring ctx.{name}"
                found[name] = lambda make=make: make(self)  # type: ignore[misc]
        return found

    # --- stop --------------------------------------------------------------------------------

    def drain(self) -> None:
        """The server stops: parts send their clients away, workers take nothing new."""
        self._stopping.set()
        for part in self.parts:
            part.drain(self)

    async def stop(self) -> None:
        """End all work: what workers have is finished within a bound, then parts stop, the last
        first.

        The store is still open, and whoever opened it closes it.
        """
        self.drain()
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=limits.WORKER_DRAIN_SECONDS)
            for task in late:
                log.warning("the worker %s did not end in time", task.get_name())
        await self.tasks.stop()
        for part in reversed(self.parts):
            await part.stop(self)


def _refuse_twins(parts: tuple[Part[Any], ...]) -> None:
    names = [part.name for part in parts]
    twins = sorted({name for name in names if names.count(name) > 1})
    assert not twins, f"listed twice: {twins}"
