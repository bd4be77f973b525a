"""What users declare an app with, and what is wrong with it.

Not here: serving (`service.Service`). That is loaded when it is first asked for, so that commands
which only read an app (`pylon manifest`, `pylon policy check`) do not load the whole program.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pylon
from pylon.config import Config
from pylon.hooks import Hooks
from pylon.http.asgi import Receive, Scope, Send
from pylon.policy.advice import advise
from pylon.policy.check import check_manifest
from pylon.schema.called import declaration
from pylon.schema.declare import Declarations
from pylon.schema.diagnostics import Diagnostic, SchemaError, has_errors
from pylon.schema.model import Manifest
from pylon.schema.places import NOWHERE, Places, locate
from pylon.schema.validate import validate


def check_policies(manifest: Manifest) -> list[Diagnostic]:
    """Mistakes in policy expressions, as diagnostics of the manifest."""
    return [
        Diagnostic(
            severity="error",
            code=problem.code,
            message=f'policy "{problem.policy}", {problem.slot}: {problem.message}',
            hint=problem.hint,
            about=("policy", str(problem.policy), str(problem.key)),
        )
        for problem in check_manifest(manifest)
    ]


def check(manifest: Manifest, places: Places = NOWHERE) -> list[Diagnostic]:
    """Everything that is wrong with a manifest, policies included (spec 05 section 3), and what is
    unwise in the policies of one that is right; each with its place where `places` knows it."""
    found = validate(manifest, policy_check=check_policies)
    return locate(found if has_errors(found) else [*found, *advise(manifest)], places)


class App(Declarations):
    """An app: declare its entities on it, serve it as ASGI.

    Works under any ASGI server and mounts in FastAPI or Starlette; `config` defaults to the
    environment. Mounted apps start with the first request, or with the outer app through
    `FastAPI(lifespan=app.lifespan)`.
    """

    @declaration("App", name=str, version=str, config=Config)
    def __init__(self, name: str, version: str = "0.1.0", *, config: Config | None = None) -> None:
        super().__init__(name, version)
        self.hooks = Hooks()
        self._config = config
        self._service: pylon.Service | None = None

    def service(self, config: Config | None = None, *, root: Path | None = None) -> pylon.Service:
        """A server of what has been declared so far. Raises `SchemaError` for what cannot be
        served, as the command line does."""
        settings = config or self._config or Config.from_env().validate()
        manifest = self.manifest()
        # Without entities it may still serve pages, mounted in another app.
        findings = check(manifest, self.places) if manifest.entities else []
        if has_errors(findings):
            raise SchemaError(findings, f'The app "{self.name}"')
        return pylon.Service(manifest, settings, root=root, hooks=self.hooks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self._served())(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, _outer: Any = None) -> AsyncIterator[None]:
        """Start with an outer ASGI app and stop with it."""
        service = await self._served()
        await service.start()
        try:
            yield
        finally:
            await service.stop()
            self._service = None

    async def _served(self) -> pylon.Service:
        """Our server, made at the first use."""
        if self._service is None:
            # In a thread, since the loop may serve other apps while three hundred modules load.
            await asyncio.to_thread(getattr, pylon, "Service")
        if self._service is None:
            self._service = self.service()
        return self._service
