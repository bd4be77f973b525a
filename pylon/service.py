"""A manifest and settings in, an ASGI app out.

`Service` serves a manifest: it opens the database, builds the house of its parts (`wiring`), and
hands each request to it. What users declare with is `app.App`, which loads this module, and the
whole program with it, once it is to be served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from pylon.clock import Clock, SystemClock
from pylon.config import Config
from pylon.errors import ConfigError
from pylon.hooks import Hooks
from pylon.http.asgi import Receive, Scope, Send
from pylon.part import Part
from pylon.schema.model import Manifest
from pylon.store.base import HealthyStore, ServedStore, Store
from pylon.store.opening import open_database, open_tables
from pylon.tasks import in_task
from pylon.wiring import PARTS, House, Process, session_tables, table_steps


class Service:
    """The server of one manifest: an ASGI app that builds its house at `start`.

    `root` is the app's folder; what lies in its `public/` is served at `/`. `parts` are all that it
    consists of; `process` says which of several processes this is. Started by the lifespan
    protocol, by `start`, or by the first request where nobody does either (a mounted app).
    """

    begins_at_once = True
    """See `http.listener.begins_at_once`: `http.pipeline` takes care of tasks."""

    def __init__(
        self,
        manifest: Manifest,
        config: Config,
        *,
        root: Path | None = None,
        hooks: Hooks | None = None,
        clock: Clock | None = None,
        parts: Sequence[Part[House]] = PARTS,
        process: Process | None = None,
    ) -> None:
        self.manifest = manifest
        self.config = config
        self._root = root
        self._hooks = hooks or Hooks()
        self._clock: Clock = clock or SystemClock()
        self._parts = tuple(parts)
        self._process = process or Process()
        self._starting: asyncio.Lock | None = None
        self.house: House | None = None
        """The parts in use; None before the start and after the stop."""

    # --- ASGI --------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(receive, send)
            return
        house = self.house
        if house is None:
            await in_task()
            house = await self._started()
        if kind == "http":
            if scope.get("pylon.door") == "sse":
                scope = {**scope, "path": "/events"}
            await house.pipeline(scope, receive, send)
        elif kind == "websocket":
            request = house.pipeline.request(scope, receive)
            await house.live.websocket(request, scope, receive, send, house.pipeline.admit)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.start()
                except ConfigError as error:
                    await send({"type": "lifespan.startup.failed", "message": _line(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                try:
                    await self.stop()
                except ConfigError as error:
                    await send({"type": "lifespan.shutdown.failed", "message": _line(error)})
                    return
                await send({"type": "lifespan.shutdown.complete"})
                return

    # --- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the database, fit it to the manifest, and connect all parts. Once."""
        await self._started()

    async def _started(self) -> House:
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            if self.house is None:
                session_store = self._process.session_store or self._open_session_store()
                try:
                    store = self._process.store or self._open_store()
                except BaseException:
                    await self._close_stores(None, session_store)
                    raise
                house = House(
                    manifest=self.manifest,
                    config=self.config,
                    clock=self._clock,
                    hooks=self._hooks,
                    store=store,
                    session_store=session_store,
                    root=self._root,
                    parts=self._parts,
                    process=self._process,
                )
                try:
                    await house.connect()
                except BaseException:
                    await self._end(house)
                    raise
                self.house = house
            return self.house

    def drain(self) -> None:
        """Send clients away because the server stops (`server.py` calls this first)."""
        if self.house is not None:
            self.house.drain()

    async def stop(self) -> None:
        """End background work, commit what is queued, checkpoint and close the database."""
        house, self.house = self.house, None
        if house is not None:
            await self._end(house)

    async def _end(self, house: House) -> None:
        try:
            await house.stop()
        finally:
            await self._close_stores(house.store, house.session_store)

    async def _close_stores(self, store: Store | None, session_store: Store | None) -> None:
        """Close what was opened here, both also where one of them fails."""
        try:
            if session_store is not None and self._process.session_store is None:
                await session_store.close()
        finally:
            if store is not None and self._process.store is None:
                await store.close()

    def _open_store(self) -> ServedStore:
        database = open_database(
            None if self.config.in_memory else Path(self.config.db_path),
            tables=table_steps(self._parts),
            now=self._clock.now,
        )
        return database.serve(
            self.manifest,
            baseline="dev" if self.config.dev_mode else "start",
            confirm_renames=not self.config.dev_mode,
        )

    def _open_session_store(self) -> HealthyStore | None:
        """The database of sessions; None where they are with the rows."""
        if not self.config.sessions_are_apart:
            return None
        assert self._process.store is None, "whoever gives a process the rows gives it the sessions"
        path = None if self.config.session_in_memory else self.config.session_db_path
        try:
            return open_tables(None if path is None else Path(path), tables=session_tables())
        except ConfigError as error:
            message = f"Sessions (PYLON_SESSION_DB): {error.message}"
            raise ConfigError(error.code, message, error.hint) from error


def _line(error: ConfigError) -> str:
    """A failure to start or stop as one line, for whatever runs the app."""
    hint = f" {error.hint}" if error.hint else ""
    return f"{error.code}: {error.message}{hint}"
