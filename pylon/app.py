"""The composition root: a manifest and settings in, a wired ASGI app out.

The only module that knows everyone. It makes the parts and connects them; what they do, they do
themselves. `App` is what users declare with; `Service` is what serves a manifest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw

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
from pylon.auth.sessions import AUTH_DDL, Sessions
from pylon.changes.log import LOG_DDL, ChangeLog
from pylon.clock import Clock, SystemClock
from pylon.config import Config
from pylon.crdt.documents import CRDT_DDL, Documents
from pylon.data.bulk import Bulk
from pylon.data.erase import Reset
from pylon.data.rows import Rows
from pylon.data.search_index import SqliteSearchIndexes
from pylon.data.subjects import Subjects
from pylon.data.transfer import Transfer
from pylon.errors import ConfigError
from pylon.hooks import Hooks
from pylon.http.access_log import AccessLog
from pylon.http.asgi import Receive, Scope, Send
from pylon.http.body_limit import BodyLimit
from pylon.http.cors import Cors
from pylon.http.csrf import CsrfCheck
from pylon.http.finish import Finish
from pylon.http.pipeline import Pipeline
from pylon.http.probes import Probes
from pylon.http.rate_limit import RateLimit, RateLimiter
from pylon.http.router import Router
from pylon.metrics import Metrics
from pylon.policy.advice import advise
from pylon.policy.check import check_manifest
from pylon.policy.engine import PolicyEngine
from pylon.policy.membership import Watch
from pylon.schema.declare import Declarations
from pylon.schema.diagnostics import Diagnostic, has_errors
from pylon.schema.model import Manifest
from pylon.schema.validate import validate
from pylon.store.evolution.serving import FitSchema, log_progress
from pylon.store.evolution.watch import SchemaWatch
from pylon.store.sqlite import SqliteStore, open_store
from pylon.sync.audience import Audiences
from pylon.sync.dependencies import Merger
from pylon.sync.documents import DocumentHub
from pylon.sync.epochs import Epochs
from pylon.sync.hub import Hub
from pylon.sync.positions import Positions
from pylon.sync.presence import Presence
from pylon.sync.presence_state import Sharing
from pylon.sync.pull import Puller
from pylon.sync.pulls import Pulls
from pylon.sync.push import Push
from pylon.sync.temporary import PUSH_DDL, Temporary
from pylon.tasks import Tasks

log = logging.getLogger("pylon")

SYSTEM_DDL = (*LOG_DDL, *AUTH_DDL, *PUSH_DDL, *CRDT_DDL)
"""The server's own tables beside `_pylon_meta` and the schema's ledger."""

PURGE_SECONDS = 3_600.0
"""How often old tombstones are dropped."""


def check_policies(manifest: Manifest) -> list[Diagnostic]:
    """Mistakes in policy expressions, as diagnostics of the manifest."""
    return [
        Diagnostic(
            severity="error",
            code=problem.code,
            message=f'policy "{problem.policy}", {problem.slot}: {problem.message}',
            hint=problem.hint,
        )
        for problem in check_manifest(manifest)
    ]


def check(manifest: Manifest) -> list[Diagnostic]:
    """Everything that is wrong with a manifest, policies included (spec 05 section 3), and what is
    unwise in the policies of one that is right."""
    found = validate(manifest, policy_check=check_policies)
    return found if has_errors(found) else [*found, *advise(manifest)]


class Service:
    """The server of one manifest: an ASGI app that wires itself at `start`.

    `root` is the app's folder; what lies in its `public/` is served at `/`. Started by the lifespan
    protocol, by `start`, or by the first request where nobody does either (a mounted app).
    """

    def __init__(
        self,
        manifest: Manifest,
        config: Config,
        *,
        root: Path | None = None,
        hooks: Hooks | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.manifest = manifest
        self.config = config
        self._root = root
        self._hooks = hooks or Hooks()
        self._clock: Clock = clock or SystemClock()
        self._tasks = Tasks()
        self._starting: asyncio.Lock | None = None
        self._pipeline: Pipeline | None = None
        self._live: LiveRoutes | None = None
        self._hub: Hub | None = None
        self._store: SqliteStore | None = None
        self._schema: SchemaWatch | None = None

    # --- ASGI --------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(receive, send)
            return
        if self._pipeline is None:
            await self.start()
        assert self._pipeline is not None
        assert self._live is not None
        if kind == "http":
            if scope.get("pylon.door") == "sse":
                scope = {**scope, "path": "/events"}
            await self._pipeline(scope, receive, send)
        elif kind == "websocket":
            request = self._pipeline.request(scope, receive)
            await self._live.websocket(request, scope, receive, send, self._pipeline.admit)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.start()
                except ConfigError as error:
                    hint = f" {error.hint}" if error.hint else ""
                    await send(
                        {"type": "lifespan.startup.failed", "message": f"{error.message}{hint}"}
                    )
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    # --- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the database, fit it to the manifest, and connect all parts. Once."""
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            if self._pipeline is None:
                self._store = self._open_store()
                await self._connect(self._store)

    def drain(self) -> None:
        """End live streams because the server stops (`server.py` calls this first)."""
        if self._hub is not None:
            self._hub.close_all()

    async def stop(self) -> None:
        """Stop background work, commit what is queued, checkpoint and close the database."""
        self.drain()
        await self._tasks.stop()
        if self._store is not None:
            await self._store.close()
        self._store = self._pipeline = self._live = self._hub = None

    # --- wiring ------------------------------------------------------------------------------

    def _open_store(self) -> SqliteStore:
        path = None if self.config.in_memory else Path(self.config.db_path)
        indexes = SqliteSearchIndexes()
        fit = FitSchema(
            self.manifest,
            path=path,
            now=self._clock.now,
            baseline="dev" if self.config.dev_mode else "start",
            confirm_renames=not self.config.dev_mode,
            search=indexes,
        )

        def prepare(connection: apsw.Connection) -> None:
            fit(connection)
            indexes.ensure(connection, self.manifest, log_progress)

        store = open_store(path, ddl=SYSTEM_DDL, prepare=prepare)
        self._schema = fit.watch
        store.schema = fit.watch
        store.writer.guard = fit.watch.refuse
        return store

    async def _look_at_schema(self) -> None:
        if self._schema is not None and self._store is not None:
            await self._schema.look(self._store)

    async def _connect(self, store: SqliteStore) -> None:
        """Make every part and connect it; the order of the pipeline's stages stands here."""
        config, clock, manifest = self.config, self._clock, self.manifest
        policies = PolicyEngine(manifest, open_by_default=config.dev_mode, probe=store.probe)
        self._warn_of_undeclared(policies)
        reads = {spec.name: policies.entity(spec.name).read for spec in manifest.entities}
        fields = claim_fields(manifest)
        claims = UserClaims(store, fields) if fields else None
        changes = ChangeLog(
            store,
            clock,
            {name: tuple(sorted(rule.fields)) for name, rule in reads.items()},
            _watches(policies, claims),
        )
        await changes.start(_read_rules(manifest, config))
        rows = Rows(
            store=store,
            log=changes,
            manifest=manifest,
            policies=policies,
            hooks=self._hooks,
            clock=clock,
            documents=Documents(clock),
        )
        temporary = Temporary(store, clock)
        puller = Puller(store, changes, manifest, policies, temporary)
        documents = DocumentHub(rows)
        audiences = Audiences(policies, reads)
        hub = Hub(
            audiences,
            puller,
            {name: rows.table(name).private for name in reads},
            documents,
        )
        hub.start(store.seq)
        store.on_commit(hub.publish)
        merger = Merger(rows)
        store.on_commit(merger.publish)
        epochs = Epochs(store, audiences, clock)
        pulls = Pulls(puller, Positions(clock), epochs, changes, clock)

        sessions = Sessions(store, clock, claims=claims.of if claims is not None else None)
        if claims is not None:
            store.on_commit(claims.listener(sessions.forget_user))
        sessions.on_end(hub.close_session)
        sessions.on_change(lambda session: hub.close_session(session.session_id))
        auth = AuthRoutes(sessions, config, app_name=manifest.name, clock=clock)

        metrics = Metrics()
        self._register_gauges(metrics, store)
        csrf = CsrfCheck(config.csrf_origins)
        messages = Messages(clock)
        places = Places(
            per_address_max=config.sockets_per_address_max, total_max=config.sockets_max
        )
        live = LiveRoutes(
            hub=hub,
            pulls=pulls,
            csrf=csrf,
            messages=messages,
            places=places,
        )

        limiter, pull_limiter = (
            RateLimiter(
                requests_max=config.rate_limit_max,
                window_seconds=config.rate_limit_window_seconds,
                clock=clock,
            )
            for _ in range(2)
        )
        router = Router()
        SystemRoutes(manifest, dev_mode=config.dev_mode).register(router)
        auth.register(router)
        SyncRoutes(pulls, Push(rows, temporary), store, pull_limiter).register(router)
        EntityRoutes(rows).register(router)
        QueryRoutes(rows).register(router)
        SearchRoutes(rows, clock).register(router)
        ActionRoutes(manifest, policies).register(router)
        BulkRoutes(Bulk(rows)).register(router)
        TransferRoutes(Transfer(rows, manifest)).register(router)
        SubjectRoutes(Subjects(rows, manifest, sessions), clock).register(router)
        reset = Reset(rows, tuple(reads))
        ResetRoutes([reset], is_allowed=config.dev_mode and config.in_memory).register(router)
        live.register(router)
        CrdtRoutes(merger, documents).register(router, messages)
        presence: Presence | None = None
        if config.presence_sharing != "off":
            presence = Presence(_sharing(config, policies, manifest), clock)
            PresenceRoutes(presence).register(router, messages)
        status = SyncStatus(
            hub=hub,
            places=places,
            pulls=pulls,
            store=store,
            log=changes,
            documents=documents,
            presence=presence,
        )
        status.register(router)
        status.register_metrics(metrics)
        if self._root is not None:
            Pages(self._root / "public").register(router)

        probes = Probes(
            metrics=metrics,
            clock=clock,
            version=pylon.__version__,
            dev_mode=config.dev_mode,
            admin_token=config.admin_token,
            readiness=lambda: {
                "database": self._store is not None,
                "schema": self._schema is not None and self._schema.is_current,
            },
        )
        OpenApiRoutes(
            Subject(
                manifest=manifest,
                cookie_name=config.session_cookie_name(manifest.name),
                has_hooks=self._hooks.are_any,
            ),
            lambda: (*probes.routes(), *router.routes()),
            dev_mode=config.dev_mode,
        ).register(router)
        access_log = AccessLog(clock, json_lines=config.log_format == "json")
        self._live, self._hub = live, hub
        self._pipeline = Pipeline(
            stages=(
                probes,
                RateLimit(limiter, is_exempt=auth.is_admin, paths_apart=(PULL_PATH,)),
                csrf,
                auth.identify,
                BodyLimit({IMPORT_PATH: limits.IMPORT_BYTES_MAX}),
            ),
            router=router,
            finish=Finish(
                cors=Cors(config.cors_origins),
                metrics=metrics,
                clock=clock,
                access_log=access_log if config.access_log else None,
            ),
            clock=clock,
            trusted_proxy_hops=config.trusted_proxy_hops,
        )
        self._tasks.every(limits.SESSION_SWEEP_SECONDS, "note sessions", sessions.save_last_seen)
        self._tasks.every(limits.SESSION_LOOK_SECONDS, "end sessions", sessions.end_expired)
        self._tasks.every(limits.SCHEMA_LOOK_SECONDS, "look at the schema", self._look_at_schema)
        self._tasks.every(
            PURGE_SECONDS,
            "purge tombstones",
            lambda: changes.purge(config.change_log_retain_seconds),
        )
        self._tasks.every(PURGE_SECONDS, "purge pushes", temporary.purge)
        self._tasks.every(PURGE_SECONDS, "purge readers", epochs.purge)

    def _warn_of_undeclared(self, policies: PolicyEngine) -> None:
        state = "open to everybody" if self.config.dev_mode else "closed to all but admins"
        for entity, slot in policies.undeclared:
            log.warning("%s has no %s policy and is %s", entity, slot, state)

    def _register_gauges(self, metrics: Metrics, store: SqliteStore) -> None:
        for name, text, read in (
            ("pylon_write_units", "Units committed.", lambda: store.writer.units),
            ("pylon_write_batches", "Commits that carried them.", lambda: store.writer.batches),
            ("pylon_writes_waiting", "Units in the queue.", lambda: store.writer.waiting),
            ("pylon_reads_waiting", "Reads on or before threads.", lambda: store.reads_waiting),
        ):
            metrics.register_gauge(name, text, read)


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


class App(Declarations):
    """An app: declare its entities on it, serve it as ASGI.

    Works under any ASGI server and mounts in FastAPI or Starlette; `config` defaults to the
    environment. Mounted apps start with the first request, or with the outer app through
    `FastAPI(lifespan=app.lifespan)`.
    """

    def __init__(self, name: str, version: str = "0.1.0", *, config: Config | None = None) -> None:
        super().__init__(name, version)
        self.hooks = Hooks()
        self._config = config
        self._service: Service | None = None

    def service(self, config: Config | None = None, *, root: Path | None = None) -> Service:
        """A server of what has been declared so far."""
        settings = config or self._config or Config.from_env().validate()
        return Service(self.manifest(), settings, root=root, hooks=self.hooks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._service is None:
            self._service = self.service()
        await self._service(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, _outer: Any = None) -> AsyncIterator[None]:
        """Start with an outer ASGI app and stop with it."""
        if self._service is None:
            self._service = self.service()
        await self._service.start()
        try:
            yield
        finally:
            await self._service.stop()
            self._service = None
