"""Sync: pulls, pushes, the live hub, documents that are edited together, presence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import msgspec

from pylon import limits
from pylon.api.crdt import CrdtRoutes
from pylon.api.live import LiveRoutes
from pylon.api.newer_messages import NewerMessages
from pylon.api.presence import PresenceRoutes
from pylon.api.sync import PULL_PATH, SyncRoutes
from pylon.api.sync_status import SyncStatus
from pylon.assembly.rows import RowsGroup
from pylon.assembly.storage import PURGE_SECONDS
from pylon.calls import DirectCalls
from pylon.changes.facts import Fact
from pylon.changes.model import Change
from pylon.config import Config
from pylon.metrics import Metrics
from pylon.part import Listener, Part, Periodic, Routes, SocketMessages
from pylon.policy.engine import PolicyEngine
from pylon.schema.model import Manifest
from pylon.store.base import Tx
from pylon.sync.audience import Audiences
from pylon.sync.dependencies import Merger
from pylon.sync.documents import DocumentHub
from pylon.sync.hub import Hub
from pylon.sync.positions import Positions
from pylon.sync.presence import Presence
from pylon.sync.presence_state import Sharing
from pylon.sync.pull import Puller
from pylon.sync.pulls import Pulls
from pylon.sync.push import Push
from pylon.sync.reader_epochs import ReaderEpochs
from pylon.sync.temporary import SYNC_TABLES, Temporary
from pylon.sync.whereabouts import Asked, Here, Whereabouts, WhereaboutsCalls


class SyncGroup(RowsGroup):
    """The way out of changes, and the way in of offline ones."""

    @cached_property
    def synced(self) -> Manifest:
        """The entities that clients may hold copies of: not those on which read filters listen."""
        filtered = self.hooks.filtered
        kept = tuple(spec for spec in self.manifest.entities if spec.name not in filtered)
        return msgspec.structs.replace(self.manifest, entities=kept)

    @cached_property
    def audiences(self) -> Audiences:
        names = (spec.name for spec in self.synced.entities)
        return Audiences(self.policies, {name: self.read_rules[name] for name in names})

    @cached_property
    def temporary(self) -> Temporary:
        return Temporary(self.store, self.clock)

    @cached_property
    def puller(self) -> Puller:
        return Puller(self.store, self.changes, self.synced, self.policies, self.temporary)

    @cached_property
    def documents(self) -> DocumentHub:
        return DocumentHub(self.rows, calls=self.calls)

    @cached_property
    def merger(self) -> Merger:
        return Merger(self.rows)

    @cached_property
    def hub(self) -> Hub:
        private = {name: self.rows.table(name).private for name in self.read_rules}
        return Hub(
            self.audiences,
            self.puller,
            private,
            self.documents,
            budget=self.budget,
            slow=self.slow_readers,
            ask_sessions=self.sessions.over_among,
        )

    @cached_property
    def epochs(self) -> ReaderEpochs:
        return ReaderEpochs(self.store, self.audiences, self.clock, calls=self.calls)

    @cached_property
    def pulls(self) -> Pulls:
        return Pulls(self.puller, self.whereabouts, self.epochs, self.changes)

    @cached_property
    def positions(self) -> Here:
        """Where clients are, if this process owns the database."""
        return Here(Positions(self.clock, floor=self.store.seq), self._publish)

    async def _publish(self, fact: Fact) -> int:
        async def unit(tx: Tx) -> int:
            seq = tx.next_seq
            tx.publish(fact)
            return seq

        return await self.store.write(unit)

    @cached_property
    def position_calls(self) -> WhereaboutsCalls:
        return WhereaboutsCalls(self.positions)

    @cached_property
    def whereabouts(self) -> Whereabouts:
        if isinstance(self.calls, DirectCalls):
            return self.positions
        return Asked(self.position_calls, self.calls, self.tasks)

    @cached_property
    def presence(self) -> Presence | None:
        if self.config.presence_sharing == "off":
            return None
        sharing = _sharing(self.config, self.policies, self.manifest)
        return Presence(sharing, self.clock, self.budget, self.bus, self.tasks)

    @cached_property
    def live(self) -> LiveRoutes:
        return LiveRoutes(
            hub=self.hub,
            pulls=self.pulls,
            ended=self.sessions.ended,
            csrf=self.csrf,
            messages=self.messages,
            places=self.places,
            deflate_level=self.config.socket_deflate_level,
        )

    @cached_property
    def crdt_routes(self) -> CrdtRoutes:
        return CrdtRoutes(self.merger, self.documents)

    @cached_property
    def presence_routes(self) -> PresenceRoutes | None:
        return None if self.presence is None else PresenceRoutes(self.presence)

    @cached_property
    def sync_status(self) -> SyncStatus:
        return SyncStatus(
            hub=self.hub,
            places=self.places,
            pulls=self.pulls,
            store=self.store,
            log=self.changes,
            documents=self.documents,
            presence=self.presence,
        )


# --- sync ------------------------------------------------------------------------------------


async def _start(house: SyncGroup) -> None:
    house.hub.start(house.store.seq)


async def _stop(house: SyncGroup) -> None:
    await house.hub.close()
    house.slow_readers.close()


def _routes(house: SyncGroup) -> Sequence[Routes]:
    push = Push(house.rows, house.temporary)
    pulls = SyncRoutes(house.pulls, push, house.store, house.rate_limiter("pulls"))
    return (pulls, house.live, house.sync_status)


def _register_metrics(house: SyncGroup, metrics: Metrics) -> None:
    house.sync_status.register_metrics(metrics)


SYNC = Part[SyncGroup](
    name="sync",
    tables=SYNC_TABLES,
    routes=_routes,
    calls=lambda house: (*house.position_calls.all(), house.epochs.call),
    paths_apart=(PULL_PATH,),
    listeners=lambda house: (
        Listener(name="readers", hear=house.epochs.hear, hears=house.epochs.HEARS),
        Listener(name="live readers", hear=house.hub.hear),
    ),
    periodic=lambda house: (
        Periodic(
            name="purge pushes", seconds=PURGE_SECONDS, work=house.temporary.purge, is_kept=True
        ),
        Periodic(
            name="purge readers", seconds=PURGE_SECONDS, work=house.epochs.purge, is_kept=True
        ),
    ),
    messages=lambda house: SocketMessages(handlers=NewerMessages(house.hub.write).handlers()),
    metrics=_register_metrics,
    ready=lambda house: {
        "feed": house.hub.behind_seconds < limits.FEED_SECONDS_MAX or "BEHIND",
    },
    erases=lambda house: {"pushes": house.temporary.erase},
    start=_start,
    drain=lambda house: house.hub.close_all(),
    stop=_stop,
)


# --- documents -------------------------------------------------------------------------------


TOGETHER = Part[SyncGroup](
    name="documents",
    routes=lambda house: (house.crdt_routes,),
    calls=lambda house: (house.documents.call,),
    messages=lambda house: SocketMessages(
        handlers=house.crdt_routes.messages(), leave=house.documents.leave
    ),
    listeners=lambda house: (
        Listener(name="waiting merges", hear=house.merger.hear, hears=(Change,)),
    ),
    stop=lambda house: house.documents.close(),
)


# --- presence --------------------------------------------------------------------------------


def _presence_routes(house: SyncGroup) -> Sequence[Routes]:
    return () if house.presence_routes is None else (house.presence_routes,)


def _presence_messages(house: SyncGroup) -> SocketMessages:
    if house.presence_routes is None or house.presence is None:
        return SocketMessages()
    return SocketMessages(
        handlers=house.presence_routes.messages(),
        join=house.presence.join,
        leave=house.presence.leave,
    )


def _sharing(config: Config, policies: PolicyEngine, manifest: Manifest) -> Sharing:
    """Who shares presence: in an app that knows tenants, only callers of one tenant."""
    if config.presence_sharing in ("tenant", "all"):
        return "tenant" if config.presence_sharing == "tenant" else "all"
    knows_tenants = any(
        "tenantId" in policies.entity(spec.name).read.audience.attributes
        for spec in manifest.entities
    )
    return "tenant" if knows_tenants else "all"


async def _start_presence(house: SyncGroup) -> None:
    if house.presence is not None:
        await house.presence.exchange.start()


async def _stop_presence(house: SyncGroup) -> None:
    if house.presence is not None:
        house.presence.exchange.stop()


def _presence_beat(house: SyncGroup) -> Sequence[Periodic]:
    if house.presence is None or house.bus.node == 0:
        return ()
    return (
        Periodic(
            name="tell who is there",
            seconds=limits.PRESENCE_BEAT_SECONDS,
            work=house.presence.exchange.beat,
            runs_in="every process",
        ),
    )


PRESENCE = Part[SyncGroup](
    name="presence",
    routes=_presence_routes,
    messages=_presence_messages,
    periodic=_presence_beat,
    start=_start_presence,
    stop=_stop_presence,
)
