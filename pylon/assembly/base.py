"""What every group of the house stands on: the service's own givens, and the tools all parts share.

A group is a class of properties, each made when something first needs it; the groups extend one
another, so that a part finds what it is made with as `house.<name>`. Routes are the groups' own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pylon.api.messages import Messages
from pylon.api.places import Places
from pylon.bus.base import Bus
from pylon.bus.local import LocalBus
from pylon.calls import Calls, CallTable, DirectCalls, LoopbackCalls
from pylon.changes.feed import Feed
from pylon.changes.feed_codec import carry_encoded
from pylon.clock import Clock
from pylon.config import Config
from pylon.hooks import Hooks
from pylon.http.csrf import CsrfCheck
from pylon.http.rate_limit import Allowance, RateLimiter, SharedRateLimiter
from pylon.live.budget import Budget
from pylon.live.slow import SlowReaders
from pylon.metrics import Metrics
from pylon.part import Part, RunsIn
from pylon.pools import Pools
from pylon.schema.model import Manifest
from pylon.store.base import HealthyStore, ServedStore
from pylon.tasks import Tasks

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Which of a service's processes this one is; by default the only one."""

    bus: Bus = field(default_factory=LocalBus)
    """Whoever gave it leaves it."""
    duties: frozenset[RunsIn] = frozenset(("every process", "owner"))
    """Whose work is done here."""
    owner: Calls | None = None
    """The way to the process that owns the database; None where it is this one."""
    store: ServedStore | None = None
    """An open database to serve, which whoever gave it closes; None to open one by the settings."""
    session_store: HealthyStore | None = None
    """The same for sessions, where the settings keep them apart from the rows."""


@dataclass(kw_only=True)
class Base:
    """One service on one open store. `root` is the app's folder, None where it has no pages."""

    manifest: Manifest
    config: Config
    clock: Clock
    hooks: Hooks
    store: ServedStore
    root: Path | None
    parts: tuple[Part[Any], ...]
    tasks: Tasks = field(default_factory=Tasks, repr=False)
    """What the service does beside requests; ended with it."""
    process: Process = field(default_factory=Process)
    session_store: HealthyStore | None = None
    """Where sessions are kept; None: in `store`, with the rows."""
    shared_limiters: dict[str, SharedRateLimiter] = field(default_factory=dict, repr=False)
    """Limiters whose counts other processes hear of, by name."""
    _made: dict[Callable[..., object], object] = field(default_factory=dict, repr=False)

    def once(self, make: Callable[..., T]) -> T:
        """What `make(house)` gives, made once a service: for parts that no group has a property
        for."""
        found = self._made.get(make)
        if found is None:
            found = self._made[make] = make(self)
        return found  # type: ignore[return-value]

    @cached_property
    def pools(self) -> Pools:
        """Threads and processes beside the loop; whoever makes a pool adds it."""
        return Pools()

    @cached_property
    def feed(self) -> Feed:
        """What this process hears of commits."""
        beside = () if self.session_store is None else (self.session_store,)
        return Feed(self.store, *beside, carry=carry_encoded if self.config.loopback else None)

    @cached_property
    def budget(self) -> Budget:
        """The loop's time, as far as it goes into writing to sockets."""
        return Budget()

    @cached_property
    def slow_readers(self) -> SlowReaders:
        return SlowReaders()

    @cached_property
    def call_table(self) -> CallTable:
        """What this process can be asked; filled by the parts when the service starts."""
        return CallTable(lambda: self.store.seq)

    @cached_property
    def calls(self) -> Calls:
        """The way to the owner of the database."""
        if self.process.owner is not None:
            return self.process.owner
        return LoopbackCalls(self.call_table) if self.config.loopback else DirectCalls()

    @cached_property
    def csrf(self) -> CsrfCheck:
        origins = (*self.config.csrf_origins, *self.manifest.trusted_origins)
        return CsrfCheck(origins, loopback=self.config.dev_mode)

    @cached_property
    def metrics(self) -> Metrics:
        """Filled by the parts when the service starts."""
        return Metrics()

    @cached_property
    def messages(self) -> Messages:
        """What clients say on live sockets."""
        return Messages(self.clock)

    @cached_property
    def places(self) -> Places:
        return Places(
            per_address_max=self.config.sockets_per_address_max, total_max=self.config.sockets_max
        )

    @property
    def bus(self) -> Bus:
        """What this process tells the others in passing."""
        return self.process.bus

    def rate_limiter(self, name: str, allowance: Allowance | None = None) -> RateLimiter:
        """A new limiter, by the settings unless told otherwise.

        Each door that counts has one; it exchanges counts with its namesakes in other processes.
        """
        most = allowance or Allowance(
            requests_max=self.config.rate_limit_max,
            window_seconds=self.config.rate_limit_window_seconds,
        )
        if self.bus.node == 0:
            return RateLimiter(
                requests_max=most.requests_max, window_seconds=most.window_seconds, clock=self.clock
            )
        assert name not in self.shared_limiters, f"two limiters are named {name}"
        shared = self.shared_limiters[name] = SharedRateLimiter(
            requests_max=most.requests_max, window_seconds=most.window_seconds, clock=self.clock
        )
        return shared
