"""What the rows rest on: policies, the change log, and the store's own figures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property

from pylon import limits
from pylon.assembly.identity import IdentityGroup
from pylon.auth.claims import UserClaims
from pylon.changes.facts import OldestRaised
from pylon.changes.log import LOG_TABLES, ChangeLog
from pylon.config import Config
from pylon.metrics import Metrics
from pylon.part import Listener, Part, Periodic
from pylon.policy.engine import PolicyEngine, Rule
from pylon.policy.membership import Watch
from pylon.schema.model import Manifest
from pylon.store.base import HealthyStore

log = logging.getLogger("pylon")

PURGE_SECONDS = 600.0
"""How often what is old is dropped, and what is beyond a number."""

GIVE_BACK_SECONDS = 600.0
"""How often room that has become free is given back to the system."""


class StorageGroup(IdentityGroup):
    """Policies and the log."""

    @cached_property
    def policies(self) -> PolicyEngine:
        return PolicyEngine(
            self.manifest, open_by_default=self.config.dev_mode, read=self.store.read
        )

    @cached_property
    def read_rules(self) -> dict[str, Rule]:
        """Who sees the rows of each entity."""
        return {spec.name: self.policies.entity(spec.name).read for spec in self.manifest.entities}

    @cached_property
    def changes(self) -> ChangeLog:
        fields = {name: tuple(sorted(rule.fields)) for name, rule in self.read_rules.items()}
        return ChangeLog(self.store, self.clock, fields, _watches(self.policies, self.claims))

    async def probe_stores(self) -> None:
        """Look after the databases: readiness follows."""
        await asyncio.gather(*[store.probe() for store in self._stores()])

    def store_checks(self) -> Mapping[str, bool | str]:
        """What `/readyz` says of the databases."""
        checks: dict[str, bool | str] = {
            "database": self.store.trouble or True,
            "schema": self.store.schema_is_current or "SCHEMA_CHANGED",
            "functions": not self.store.is_stuck or "STUCK",
        }
        if self.session_store is not None:
            checks["sessions"] = self.session_store.trouble or True
        return checks

    def _stores(self) -> Sequence[HealthyStore]:
        return (self.store,) if self.session_store is None else (self.store, self.session_store)

    async def purge_tombstones(self) -> None:
        """Drop what `PYLON_CHANGE_LOG_RETAIN` says is old enough."""
        await self.changes.purge(self.config.change_log_retain_seconds)

    async def give_back(self) -> None:
        """Make the files smaller, the sessions' too where they have one of their own."""
        for store in (self.store, self.session_store):
            if store is not None and (given := await store.give_back()):
                log.info("%d bytes that were free are given back", given)


async def _start(house: StorageGroup) -> None:
    state = "open to everybody" if house.config.dev_mode else "closed to all but admins"
    for entity, slot in house.policies.undeclared:
        log.warning("%s has no %s policy and is %s", entity, slot, state)
    owns_database = "owner" in house.process.duties
    rules = _read_rules(house.manifest, house.config)
    await house.changes.start(rules, owns_database=owns_database)


def _metrics(house: StorageGroup, metrics: Metrics) -> None:
    store = house.store
    for name, text, read in (
        ("pylon_write_units", "Units committed.", lambda: store.figures.units),
        ("pylon_write_batches", "Commits that carried them.", lambda: store.figures.batches),
        ("pylon_writes_waiting", "Units in the queue.", lambda: store.figures.writes_waiting),
        ("pylon_reads_waiting", "Reads on or before threads.", lambda: store.figures.reads_waiting),
    ):
        metrics.register_gauge(name, text, read)


def _watches(policies: PolicyEngine, claims: UserClaims | None) -> Mapping[str, tuple[Watch, ...]]:
    """Whose view of other rows a change of a row alters: members, and users given other roles."""
    asked = {name for rule in policies.read_rules for name in rule.audience.attributes}
    if claims is None or asked.isdisjoint({"roles", "email"}):
        return policies.watches
    found = dict(policies.watches)
    found[claims.entity] = (*found.get(claims.entity, ()), claims.watch())
    return found


def _read_rules(manifest: Manifest, config: Config) -> str:
    """A fingerprint of everything that decides who reads what."""
    slots = [
        (policy.entity, policy.allow, policy.allowRead)
        for policy in manifest.policies
        if policy.entity is not None
    ]
    private = [
        (entity.name, field.name)
        for entity in manifest.entities
        for field in entity.fields
        if field.is_private
    ]
    return repr((config.dev_mode, slots, private))


STORAGE = Part[StorageGroup](
    name="changes",
    tables=LOG_TABLES,
    listeners=lambda house: (
        Listener(name="oldest position", hear=house.changes.hear, hears=(OldestRaised,)),
    ),
    periodic=lambda house: (
        Periodic(
            name="purge tombstones",
            seconds=PURGE_SECONDS,
            work=house.purge_tombstones,
            is_kept=True,
        ),
        Periodic(name="give back room", seconds=GIVE_BACK_SECONDS, work=house.give_back),
        Periodic(
            name="look after the databases",
            seconds=limits.STORE_PROBE_SECONDS,
            work=house.probe_stores,
        ),
        Periodic(
            name="look at the schema",
            seconds=limits.SCHEMA_LOOK_SECONDS,
            work=house.store.look_at_schema,
            runs_in="every process",
        ),
    ),
    metrics=_metrics,
    ready=lambda house: house.store_checks(),
    start=_start,
)
