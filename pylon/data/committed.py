"""Tells hooks of commits what the outbox holds for them: each in order, at least once.

A lane a hook, so that one that fails holds up no other. A failure waits and is tried again, with
what follows waiting behind it; after `limits.OUTBOX_TRIES_MAX` the commit is put with the dead and
the lane goes on. What a hook was told is noted after it has returned, so a crash tells it again.

States of a lane: idle -> (a commit, or a look from time to time) telling -> idle, or postponed
until the next try. Runs in the owner of the database.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from pylon import limits
from pylon.changes.feed import Gap, Message
from pylon.changes.model import Change
from pylon.data.outbox import Outbox, Waiting
from pylon.data.rows import Rows
from pylon.errors import PylonError
from pylon.hooks import Commit, Committed, RowTx
from pylon.part import Stopping
from pylon.tasks import Tasks

log = logging.getLogger("pylon.hooks")

T = TypeVar("T")


class CommitTeller:
    """Tells all hooks of commits."""

    def __init__(self, rows: Rows) -> None:
        self.outbox = Outbox(rows.store)
        self._rows = rows
        self._hooks = rows.hooks.committed_hooks
        self._lanes = {name: _Lane(rows, self.outbox, hook) for name, hook in self._hooks.items()}

    @property
    def waiting(self) -> Mapping[str, float]:
        """Commits that each hook has still to be told of, when it was last looked at."""
        return {name: lane.waiting for name, lane in self._lanes.items()}

    @property
    def told(self) -> Mapping[str, float]:
        """Commits that each hook has been told of."""
        return {name: lane.told for name, lane in self._lanes.items()}

    @property
    def failures(self) -> Mapping[str, float]:
        """How often each hook has failed."""
        return {name: lane.failures for name, lane in self._lanes.items()}

    @property
    def dead(self) -> Mapping[str, float]:
        """Commits given up on, by hook."""
        return {name: lane.dead for name, lane in self._lanes.items()}

    def hear(self, messages: Sequence[Message], _seq: int) -> None:
        """Wake the lanes that a commit concerns (a listener of the feed)."""
        if not self._lanes:
            return
        for message in messages:
            if isinstance(message, Change):
                for hook in self._rows.hooks.of(message.entity).committed:
                    lane = self._lanes.get(hook.name)
                    if lane is not None and message.kind in hook.kinds:
                        lane.wake.set()
            elif isinstance(message, Gap):
                for lane in self._lanes.values():
                    lane.wake.set()

    async def run(self, stopping: Stopping) -> None:
        """Tell what waits and what comes, until the service stops; then end what is begun."""
        for name, count in (await self.outbox.names()).items():
            if name not in self._hooks:
                log.warning("%d commits wait for the hook %s, which is not there", count, name)
        tasks = Tasks()
        lanes = [
            tasks.start(f"hook {name}", lane.run(stopping)) for name, lane in self._lanes.items()
        ]
        try:
            await stopping.wait()
            for lane in self._lanes.values():
                lane.wake.set()
            await asyncio.gather(*lanes, return_exceptions=True)  # logged where it failed
        finally:
            await tasks.stop()

    async def purge(self) -> None:
        """Drop what has been kept too long. For a timer."""
        await self.outbox.purge(self._rows.clock.now(), tuple(self._hooks))


class _Lane:
    """One hook and what it has to be told."""

    def __init__(self, rows: Rows, outbox: Outbox, hook: Committed) -> None:
        self._rows = rows
        self._outbox = outbox
        self._hook = hook
        self.wake = asyncio.Event()
        self.wake.set()
        self.waiting = self.told = self.failures = self.dead = 0
        self._is_postponed = False
        """Whether the first that waits is to be tried again at its time, and not before."""

    async def run(self, stopping: Stopping) -> None:
        while not stopping.is_set():
            self.wake.clear()
            self._is_postponed = False
            try:
                wait = await self._look(stopping)
            except PylonError as error:  # of the database: full, or behind a long wait
                log.warning("hook %s waits for the database: %s", self._hook.name, error.message)
                wait = limits.OUTBOX_WAIT_SECONDS
                self._is_postponed = True
            if wait is not None and not stopping.is_set():
                await _waited(stopping.wait if self._is_postponed else self.wake.wait, wait)

    async def _look(self, stopping: Stopping) -> float | None:
        """Tell a page of what waits; the seconds until there is more to do, None for none."""
        name, now = self._hook.name, self._rows.clock.now
        self.waiting = await self._outbox.waiting(name)
        page = await self._outbox.next(name)
        done, settled_at = 0, self._rows.clock.monotonic()
        for each in page:
            if stopping.is_set():
                break
            if each.due_at > now():
                await self._settle(done)
                self._is_postponed = True
                return each.due_at - now()
            failure = await self._tell(each)
            if failure is not None:
                await self._settle(done)
                return await self._failed(each, failure)
            done = each.n
            self.told += 1
            if self._rows.clock.monotonic() - settled_at > limits.OUTBOX_SETTLE_SECONDS:
                await self._settle(done)
                done, settled_at = 0, self._rows.clock.monotonic()
        await self._settle(done)
        return None if len(page) == limits.OUTBOX_PAGE_ROWS else limits.OUTBOX_LOOK_SECONDS

    async def _settle(self, n: int) -> None:
        if n:
            await self._outbox.settle(self._hook.name, n)
            self.waiting = await self._outbox.waiting(self._hook.name)

    async def _tell(self, each: Waiting) -> Exception | None:
        """Call the hook; what it raised."""

        async def write(work: Callable[[RowTx], Awaitable[T]]) -> T:
            return await self._rows.write(each.identity, work, trusted=True)

        commit = Commit(
            seq=each.seq,
            kind=each.kind,
            entity=each.entity,
            row_id=each.row_id,
            before=each.before,
            data=each.data,
            identity=each.identity,
            at=each.at,
            attempt=each.tries + 1,
            write=write,
        )
        try:
            async with asyncio.timeout(limits.OUTBOX_HOOK_SECONDS_MAX):
                await self._hook.run(commit)
        except Exception as error:  # of the app's own code, whatever it is
            return error
        return None

    async def _failed(self, each: Waiting, failure: Exception) -> float | None:
        """Note a failure: try again later, or give up on this commit."""
        name, now = self._hook.name, self._rows.clock.now()
        tries = each.tries + 1
        self.failures += 1
        error = f"{type(failure).__name__}: {failure}"[: limits.OUTBOX_ERROR_CHARACTERS_MAX]
        if tries >= limits.OUTBOX_TRIES_MAX:
            await self._outbox.bury(name, each.n, tries=tries, error=error, now=now)
            self.dead += 1
            log.error(
                "hook %s was told of %s %s (seq %d) %d times and failed: given up",
                *(name, each.entity, each.row_id, each.seq, tries),
                exc_info=failure,
            )
            return None
        wait = limits.OUTBOX_WAIT_SECONDS * 2.0 ** (tries - 1)
        await self._outbox.postpone(name, each.n, tries=tries, due_at=now + wait, error=error)
        log.warning(
            "hook %s failed with %s %s (seq %d), attempt %d: %s",
            *(name, each.entity, each.row_id, each.seq, tries, error),
        )
        self._is_postponed = True
        return wait


async def _waited(until: Callable[[], Awaitable[object]], seconds: float) -> None:
    """Wait for something, so long at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await until()
