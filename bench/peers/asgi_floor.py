"""The HTTP floor: an ASGI app that knows one answer and sends it, whatever is asked.

Run by `bench.suites.rest` under the same uvicorn and uvloop as our server: with uvicorn's own
httptools protocol, and with our connection class (decision 0001), where it leaves in one call as
ours does. The answer (status, headers, body) is the very one that our server gave, read from
`BENCH_FLOOR_ANSWER`.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn

from pylon.http.connection import HttpConnection

Message = MutableMapping[str, Any]

LENGTH = b"content-length"
"""What our connection adds itself when it answers in one call."""

_answer = json.loads(Path(os.environ["BENCH_FLOOR_ANSWER"]).read_text())
_START = {
    "type": "http.response.start",
    "status": _answer["status"],
    "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in _answer["headers"]],
}
_BODY = {"type": "http.response.body", "body": _answer["body"].encode("latin-1")}
_HEAD = b"".join(b"\r\n%b: %b" % each for each in _START["headers"] if each[0] != LENGTH)


class EmptyApp:
    """Answers. Our connection may call it without a task, as it may our server."""

    begins_at_once = True

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        respond = scope.get("extensions", {}).get("pylon.respond")
        if respond is not None and respond(_START["status"], _HEAD, _BODY["body"]):
            return
        await send(_START)
        await send(_BODY)


def main() -> None:
    """Serve on the loopback address until killed."""
    parser = argparse.ArgumentParser(description="one answer, whatever is asked")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--own-connection", action="store_true", help="ours, not uvicorn's")
    arguments = parser.parse_args()
    uvicorn.run(
        EmptyApp(),
        port=arguments.port,
        loop="uvloop",
        http=HttpConnection if arguments.own_connection else "httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=True,
        # Uvicorn as it comes has this around the app; our server has not.
        proxy_headers=not arguments.own_connection,
    )


if __name__ == "__main__":
    main()
