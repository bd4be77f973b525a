"""The lifespan of an app: started before it serves, stopped last, its failures told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pylon.errors import ConfigError
from pylon.http.asgi import Receive, Scope, Send
from pylon.http.lifespan import Lifespan


async def test_an_app_starts_and_stops() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["made"] = "here"
        for phase in ("startup", "shutdown"):
            seen.append((await receive())["type"])
            await send({"type": f"lifespan.{phase}.complete"})

    lifespan = Lifespan(app)
    await lifespan.start()
    assert (seen, lifespan.state) == (["lifespan.startup"], {"made": "here"})
    await lifespan.stop(seconds_max=60)
    assert seen == ["lifespan.startup", "lifespan.shutdown"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"type": "lifespan.startup.failed", "message": "no database"}, "no database"),
        ({"type": "lifespan.startup.failed"}, "The app reported that its startup failed"),
        (None, "The app ended during startup"),
    ],
)
async def test_a_start_that_fails_says_why(answer: dict[str, Any] | None, text: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if answer is not None:
            await send(answer)

    with pytest.raises(ConfigError) as caught:
        await Lifespan(app).start()
    assert (caught.value.code, caught.value.message) == ("STARTUP_FAILED", text)


async def test_an_error_of_the_app_is_its_own() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("of the app")

    with pytest.raises(LookupError):
        await Lifespan(app).start()


async def test_a_stop_has_a_bound() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await asyncio.Event().wait()

    lifespan = Lifespan(app)
    await lifespan.start()
    with pytest.raises(ConfigError) as caught:
        await lifespan.stop(seconds_max=0.01)
    assert caught.value.code == "SHUTDOWN_FAILED"
    lifespan.cancel()
