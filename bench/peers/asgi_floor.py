"""The HTTP floor: an ASGI app that knows one answer and sends it, whatever is asked.

Run by `bench.suites.rest` under the same uvicorn, uvloop and httptools as our server. The answer
(status, headers, body) is the very one that our server gave, read from `BENCH_FLOOR_ANSWER`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]

_answer = json.loads(Path(os.environ["BENCH_FLOOR_ANSWER"]).read_text())
_START = {
    "type": "http.response.start",
    "status": _answer["status"],
    "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in _answer["headers"]],
}
_BODY = {"type": "http.response.body", "body": _answer["body"].encode("latin-1")}


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer."""
    await send(_START)
    await send(_BODY)
