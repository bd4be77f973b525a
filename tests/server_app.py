"""The app that `test_server` runs in a process of its own, so that signals are real.

Called as `python -m tests.server_app PORT [DOORS]`; prints `started MAIN WS SSE` when it serves.
"""

from __future__ import annotations

import asyncio
import sys

from pylon.http.asgi import Receive, Scope, Send
from pylon.http.doors import Ports, inherit_doors
from pylon.server import run


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """`/slow` takes half a second, `/stuck` for ever, `/events` streams, anything else answers."""
    if scope["type"] == "lifespan":
        await receive()
        if sys.argv[1] == "fail":
            await send({"type": "lifespan.startup.failed", "message": "the database is on fire"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        say("checkpoint")
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            pass
        return
    path = scope["path"]
    if path == "/events":
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    if path in ("/slow", "/stuck"):
        say(f"working on {path}")
        await asyncio.sleep(0.5 if path == "/slow" else 3_600)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": path.encode()})


def say(line: str) -> None:
    """A line for the test to wait for."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def started(ports: Ports) -> None:
    """The doors are open."""
    say(f"started {ports.main} {ports.ws} {ports.sse}")


if __name__ == "__main__":
    sys.exit(
        run(
            app,
            port=int(sys.argv[1]) if sys.argv[1].isdecimal() else 0,
            doors=inherit_doors(sys.argv[2]) if len(sys.argv) > 2 else None,
            on_started=started,
            on_draining=lambda: say("draining"),
            drain_seconds=5.0,
        )
    )
