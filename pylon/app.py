"""A manifest and settings in, an ASGI app out.

`App` is what users declare with; `Service` serves a manifest: it opens the database, has `wiring`
make and connect the parts, and hands each request to them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw

from pylon import limits
from pylon.api.live import LiveRoutes
from pylon.auth.sessions import AUTH_DDL
from pylon.changes.log import LOG_DDL
from pylon.clock import Clock, SystemClock
from pylon.config import Config
from pylon.crdt.documents import CRDT_DDL
from pylon.errors import ConfigError
from pylon.hooks import Hooks
from pylon.http.asgi import Receive, Scope, Send
from pylon.http.pipeline import Pipeline
from pylon.policy.advice import advise
from pylon.policy.check import check_manifest
from pylon.schema.declare import Declarations
from pylon.schema.diagnostics import Diagnostic, has_errors
from pylon.schema.model import Manifest
from pylon.schema.validate import validate
from pylon.store.sqlite.evolution.serving import FitSchema, log_progress
from pylon.store.sqlite.evolution.watch import SchemaWatch
from pylon.store.sqlite.search_indexes import SqliteSearchIndexes
from pylon.store.sqlite.store import SqliteStore, open_store
from pylon.sync.hub import Hub
from pylon.sync.temporary import PUSH_DDL
from pylon.tasks import Tasks
from pylon.wiring import Wiring

log = logging.getLogger("pylon")

SYSTEM_DDL = (*LOG_DDL, *AUTH_DDL, *PUSH_DDL, *CRDT_DDL)
"""The server's own tables beside `_pylon_meta` and the schema's ledger."""


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
        self._wiring: Wiring | None = None
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
        if self._wiring is not None:
            await self._wiring.close()
        if self._store is not None:
            await self._store.close()
        self._store = self._pipeline = self._live = self._hub = self._wiring = None

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
        wiring = Wiring(
            manifest=self.manifest,
            config=self.config,
            clock=self._clock,
            hooks=self._hooks,
            store=store,
            root=self._root,
            readiness=self._readiness,
        )
        await wiring.connect(self._tasks)
        self._wiring = wiring
        self._live, self._hub, self._pipeline = wiring.live, wiring.hub, wiring.pipeline
        self._tasks.every(limits.SCHEMA_LOOK_SECONDS, "look at the schema", self._look_at_schema)

    def _readiness(self) -> dict[str, bool]:
        return {
            "database": self._store is not None,
            "schema": self._schema is not None and self._schema.is_current,
        }


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
