"""The ASGI lifespan protocol, server side: start the app before the doors open, stop it last.

Called by `pylon.server`. An app that fails to start keeps the server from starting.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pylon.errors import ConfigError
from pylon.http.asgi import Message, Scope
from pylon.http.listener import ASGIApp
from pylon.tasks import Tasks


class Lifespan:
    """One run of the app's lifespan; `state` is what its requests see as `scope["state"]`."""

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._to_app: asyncio.Queue[Message] = asyncio.Queue(maxsize=2)
        self._from_app: asyncio.Queue[Message] = asyncio.Queue(maxsize=2)
        self._tasks = Tasks()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the app; its own error, or ConfigError `STARTUP_FAILED`, when it cannot."""
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        self._task = self._tasks.start("lifespan", self._run(scope), logs=False)
        await self._exchange("startup")

    async def stop(self, *, seconds_max: float) -> None:
        """Stop the app in bounded time; raises like `start`, with code `SHUTDOWN_FAILED`."""
        try:
            async with asyncio.timeout(seconds_max):
                await self._exchange("shutdown")
                if self._task is not None:
                    await self._task
        except TimeoutError as error:
            text = f"The app did not stop within {seconds_max:g} s"
            raise ConfigError("SHUTDOWN_FAILED", text) from error

    def cancel(self) -> None:
        """Give up on the app."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self, scope: Scope) -> None:
        await self._app(scope, self._to_app.get, self._from_app.put)

    async def _exchange(self, phase: str) -> None:
        assert self._task is not None
        await self._to_app.put({"type": f"lifespan.{phase}"})
        answer = self._tasks.start("lifespan answer", self._from_app.get(), logs=False)
        try:
            await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                # The app ended without an answer: with its own error if it has one.
                self._task.result()
                raise ConfigError(f"{phase.upper()}_FAILED", f"The app ended during {phase}")
            message = answer.result()
        finally:
            answer.cancel()
        if message["type"] != f"lifespan.{phase}.complete":
            text = message.get("message") or f"The app reported that its {phase} failed"
            raise ConfigError(f"{phase.upper()}_FAILED", text)
