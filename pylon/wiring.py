"""The composition root: which parts a service has, what each is made with, who hears of whom.

The only module that knows everyone. Each part is a property, made when something first needs it;
`connect` says what they tell one another and when, and `pipeline` in which order a request passes
the stages. What the parts do, they do themselves. Used by `app.Service`, once a start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pylon
from pylon import limits
from pylon.api.actions import ActionRoutes
from pylon.api.auth import AuthRoutes
from pylon.api.bulk import BulkRoutes
from pylon.api.crdt import CrdtRoutes
from pylon.api.entities import EntityRoutes
from pylon.api.live import LiveRoutes
from pylon.api.messages import Messages
from pylon.api.openapi.document import Subject
from pylon.api.openapi.routes import OpenApiRoutes
from pylon.api.pages import Pages
from pylon.api.places import Places
from pylon.api.presence import PresenceRoutes
from pylon.api.queries import QueryRoutes
from pylon.api.search import SearchRoutes
from pylon.api.subjects import ResetRoutes, SubjectRoutes
from pylon.api.sync import PULL_PATH, SyncRoutes
from pylon.api.sync_status import SyncStatus
from pylon.api.system import SystemRoutes
from pylon.api.transfer import IMPORT_PATH, TransferRoutes
from pylon.auth.claims import ENTITY as USER
from pylon.auth.claims import UserClaims, claim_fields
from pylon.auth.sessions import Sessions
from pylon.changes.facts import OldestRaised
from pylon.changes.feed import Feed
from pylon.changes.log import ChangeLog
from pylon.changes.model import Change
from pylon.clock import Clock
from pylon.config import Config
from pylon.crdt.documents import Documents
from pylon.data.bulk import Bulk
from pylon.data.erase import Reset
from pylon.data.rows import Rows
from pylon.data.subjects import Subjects
from pylon.data.transfer import Transfer
from pylon.hooks import Hooks
from pylon.http.access_log import AccessLog
from pylon.http.body_limit import BodyLimit
from pylon.http.compression import Compression
from pylon.http.cors import Cors
from pylon.http.csrf import CsrfCheck
from pylon.http.finish import Finish
from pylon.http.pipeline import Pipeline
from pylon.http.probes import Probes
from pylon.http.rate_limit import RateLimit, RateLimiter
from pylon.http.router import Router
from pylon.live.budget import Budget
from pylon.live.slow import SlowReaders
from pylon.metrics import Metrics
from pylon.policy.engine import PolicyEngine, Rule
from pylon.policy.membership import Watch
from pylon.schema.model import Manifest
from pylon.store.sqlite.store import SqliteStore
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
from pylon.sync.temporary import Temporary
from pylon.tasks import Tasks

log = logging.getLogger("pylon")

PURGE_SECONDS = 3_600.0
"""How often old tombstones are dropped."""


@dataclass(kw_only=True)
class Wiring:
    """The parts of one service on one open store.

    `root` is the app's folder, None where it has no pages; `readiness` says what `/health/ready`
    tells.
    """

    manifest: Manifest
    config: Config
    clock: Clock
    hooks: Hooks
    store: SqliteStore
    root: Path | None
    readiness: Callable[[], Mapping[str, bool]]

    async def connect(self, tasks: Tasks) -> None:
        """Connect the parts, in this order, and start what is done from time to time."""
        self._warn_of_undeclared()
        self._subscribe()
        await self.changes.start(_read_rules(self.manifest, self.config))
        self.hub.start(self.store.seq)
        self._keep_house(tasks)

    def _subscribe(self) -> None:
        """Who hears of a commit, in order: first what is kept in memory, then live readers."""
        feed, sessions, epochs = self.feed, self.sessions, self.epochs
        feed.subscribe("sessions", sessions.hear, sessions.HEARS)
        if self.claims is not None:
            feed.subscribe("claims", self.claims.listener(sessions.forget_user), (Change,))
        feed.subscribe("readers", epochs.hear, epochs.HEARS)
        feed.subscribe("oldest position", self.changes.hear, (OldestRaised,))
        feed.subscribe("live readers", self.hub.hear)
        feed.subscribe("waiting updates", self.merger.hear, (Change,))

    async def close(self) -> None:
        """End what the parts have under way. The store is closed after it."""
        await self.hub.close()
        await self.documents.close()
        await self.sessions.close()
        self.slow_readers.close()

    def _keep_house(self, tasks: Tasks) -> None:
        retain = self.config.change_log_retain_seconds
        tasks.every(limits.SESSION_SWEEP_SECONDS, "note sessions", self.sessions.save_last_seen)
        tasks.every(limits.SESSION_LOOK_SECONDS, "end sessions", self.sessions.end_expired)
        tasks.every(PURGE_SECONDS, "purge tombstones", lambda: self.changes.purge(retain))
        tasks.every(PURGE_SECONDS, "purge pushes", self.temporary.purge)
        tasks.every(PURGE_SECONDS, "purge readers", self.epochs.purge)

    def _warn_of_undeclared(self) -> None:
        state = "open to everybody" if self.config.dev_mode else "closed to all but admins"
        for entity, slot in self.policies.undeclared:
            log.warning("%s has no %s policy and is %s", entity, slot, state)

    @cached_property
    def feed(self) -> Feed:
        return Feed(self.store)

    # --- rows --------------------------------------------------------------------------------

    @cached_property
    def policies(self) -> PolicyEngine:
        return PolicyEngine(
            self.manifest, open_by_default=self.config.dev_mode, probe=self.store.probe
        )

    @cached_property
    def read_rules(self) -> dict[str, Rule]:
        """Who sees the rows of each entity."""
        return {spec.name: self.policies.entity(spec.name).read for spec in self.manifest.entities}

    @cached_property
    def changes(self) -> ChangeLog:
        fields = {name: tuple(sorted(rule.fields)) for name, rule in self.read_rules.items()}
        return ChangeLog(self.store, self.clock, fields, _watches(self.policies, self.claims))

    @cached_property
    def rows(self) -> Rows:
        return Rows(
            store=self.store,
            log=self.changes,
            manifest=self.manifest,
            policies=self.policies,
            hooks=self.hooks,
            clock=self.clock,
            documents=Documents(self.clock),
        )

    # --- sockets -----------------------------------------------------------------------------

    @cached_property
    def budget(self) -> Budget:
        return Budget()

    @cached_property
    def slow_readers(self) -> SlowReaders:
        return SlowReaders()

    # --- sync --------------------------------------------------------------------------------

    @cached_property
    def audiences(self) -> Audiences:
        return Audiences(self.policies, self.read_rules)

    @cached_property
    def temporary(self) -> Temporary:
        return Temporary(self.store, self.clock)

    @cached_property
    def puller(self) -> Puller:
        return Puller(self.store, self.changes, self.manifest, self.policies, self.temporary)

    @cached_property
    def documents(self) -> DocumentHub:
        return DocumentHub(self.rows)

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
        return ReaderEpochs(self.store, self.audiences, self.clock)

    @cached_property
    def pulls(self) -> Pulls:
        return Pulls(self.puller, Positions(self.clock), self.epochs, self.changes, self.clock)

    @cached_property
    def presence(self) -> Presence | None:
        if self.config.presence_sharing == "off":
            return None
        sharing = _sharing(self.config, self.policies, self.manifest)
        return Presence(sharing, self.clock, self.budget)

    # --- who is asking -----------------------------------------------------------------------

    @cached_property
    def claims(self) -> UserClaims | None:
        """What the user's row says of a caller; None where no such field is declared."""
        fields = claim_fields(self.manifest)
        return UserClaims(self.store, fields) if fields else None

    @cached_property
    def sessions(self) -> Sessions:
        claims = None if self.claims is None else self.claims.of
        return Sessions(self.store, self.clock, claims=claims)

    @cached_property
    def auth(self) -> AuthRoutes:
        name = self.manifest.name
        return AuthRoutes(self.sessions, self.config, app_name=name, clock=self.clock)

    # --- HTTP --------------------------------------------------------------------------------

    @cached_property
    def pipeline(self) -> Pipeline:
        """What every request passes; the order of its stages stands here and nowhere else."""
        access_log = AccessLog(self.clock, json_lines=self.config.log_format == "json")
        return Pipeline(
            stages=(
                self.probes,
                RateLimit(
                    self._rate_limiter(), is_exempt=self.auth.is_admin, paths_apart=(PULL_PATH,)
                ),
                self.csrf,
                self.auth.identify,
                BodyLimit({IMPORT_PATH: limits.IMPORT_BYTES_MAX}),
            ),
            router=self.router,
            finish=Finish(
                cors=Cors(self.config.cors_origins),
                metrics=self.metrics,
                clock=self.clock,
                access_log=access_log if self.config.access_log else None,
            ),
            clock=self.clock,
            # Answers about sessions hold secrets, and may repeat what they were asked.
            compression=Compression(self.config.gzip_level, paths_apart=("/api/auth/",)),
            trusted_proxy_hops=self.config.trusted_proxy_hops,
        )

    @cached_property
    def csrf(self) -> CsrfCheck:
        return CsrfCheck(self.config.csrf_origins)

    @cached_property
    def metrics(self) -> Metrics:
        made, store = Metrics(), self.store
        for name, text, read in (
            ("pylon_write_units", "Units committed.", lambda: store.writer.units),
            ("pylon_write_batches", "Commits that carried them.", lambda: store.writer.batches),
            ("pylon_writes_waiting", "Units in the queue.", lambda: store.writer.waiting),
            ("pylon_reads_waiting", "Reads on or before threads.", lambda: store.reads_waiting),
        ):
            made.register_gauge(name, text, read)
        return made

    @cached_property
    def probes(self) -> Probes:
        return Probes(
            metrics=self.metrics,
            clock=self.clock,
            version=pylon.__version__,
            dev_mode=self.config.dev_mode,
            admin_token=self.config.admin_token,
            readiness=self.readiness,
        )

    @cached_property
    def messages(self) -> Messages:
        """What clients say on live sockets; routes register what they take."""
        return Messages(self.clock)

    @cached_property
    def places(self) -> Places:
        return Places(
            per_address_max=self.config.sockets_per_address_max, total_max=self.config.sockets_max
        )

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
    def router(self) -> Router:
        """Every route."""
        router = Router()
        SystemRoutes(self.manifest, dev_mode=self.config.dev_mode).register(router)
        self.auth.register(router)
        self._add_row_routes(router)
        self._add_sync_routes(router)
        if self.root is not None:
            Pages(self.root / "public").register(router)
        OpenApiRoutes(
            Subject(
                manifest=self.manifest,
                cookie_name=self.config.session_cookie_name(self.manifest.name),
                has_hooks=self.hooks.are_any,
            ),
            lambda: (*self.probes.routes(), *router.routes()),
            dev_mode=self.config.dev_mode,
        ).register(router)
        return router

    def _add_row_routes(self, router: Router) -> None:
        rows = self.rows
        EntityRoutes(rows).register(router)
        QueryRoutes(rows).register(router)
        SearchRoutes(rows, self.clock).register(router)
        ActionRoutes(self.manifest, self.policies).register(router)
        BulkRoutes(Bulk(rows)).register(router)
        TransferRoutes(Transfer(rows, self.manifest)).register(router)
        subjects = Subjects(rows, self.manifest, self.sessions)
        SubjectRoutes(subjects, self.clock).register(router)
        may_reset = self.config.dev_mode and self.config.in_memory
        ResetRoutes([Reset(rows, tuple(self.read_rules))], is_allowed=may_reset).register(router)

    def _add_sync_routes(self, router: Router) -> None:
        push = Push(self.rows, self.temporary)
        SyncRoutes(self.pulls, push, self.store, self._rate_limiter()).register(router)
        self.live.register(router)
        CrdtRoutes(self.merger, self.documents).register(router, self.messages)
        if self.presence is not None:
            PresenceRoutes(self.presence).register(router, self.messages)
        status = SyncStatus(
            hub=self.hub,
            places=self.places,
            pulls=self.pulls,
            store=self.store,
            log=self.changes,
            documents=self.documents,
            presence=self.presence,
        )
        status.register(router)
        status.register_metrics(self.metrics)

    def _rate_limiter(self) -> RateLimiter:
        return RateLimiter(
            requests_max=self.config.rate_limit_max,
            window_seconds=self.config.rate_limit_window_seconds,
            clock=self.clock,
        )


def _watches(policies: PolicyEngine, claims: UserClaims | None) -> Mapping[str, tuple[Watch, ...]]:
    """Whose view of other rows a change of a row alters: members, and users given other roles."""
    asked = {name for rule in policies.read_rules for name in rule.audience.attributes}
    if claims is None or asked.isdisjoint({"roles", "email"}):
        return policies.watches
    found = dict(policies.watches)
    found[USER] = (*found.get(USER, ()), claims.watch())
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


def _sharing(config: Config, policies: PolicyEngine, manifest: Manifest) -> Sharing:
    """Who shares presence: in an app that knows tenants, only callers of one tenant."""
    if config.presence_sharing in ("tenant", "all"):
        return "tenant" if config.presence_sharing == "tenant" else "all"
    knows_tenants = any(
        "tenantId" in policies.entity(spec.name).read.audience.attributes
        for spec in manifest.entities
    )
    return "tenant" if knows_tenants else "all"
