"""One line per answered request, written in batches so that a request pays for an append only.

Lines carry method, path, status, milliseconds, client and request id; never headers, bodies or
query strings, where tokens could stand, and of a path nothing that could be one (`shown_path`).
Probes (`/health`, `/readyz`, `/metrics`) are left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Final

from pylon import limits
from pylon.clock import Clock
from pylon.http.request import Request
from pylon.http.shown_path import shown_path
from pylon.log import json_line, timestamp, write_lines

_QUIET = frozenset(("/health", "/readyz", "/metrics"))
_LOGGER = "pylon.access"


def _to_the_log(lines: str) -> None:
    write_lines(lines, logger=_LOGGER)


_PATHS_KEPT: Final = 4_096


class AccessLog:
    """Collects entries and writes them on a timer, or at once when a batch is full. `secrets` are
    masked wherever they stand in a path.

    It formats without the logging module, which would cost more than the requests it describes.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        json_lines: bool = False,
        secrets: Sequence[str] = (),
        write: Callable[[str], None] = _to_the_log,
    ) -> None:
        self._clock = clock
        # Most paths come again, and this is asked for each request.
        self._shown = lru_cache(_PATHS_KEPT)(partial(shown_path, secrets=tuple(secrets)))
        self._format = _json if json_lines else _compact
        self._write = write
        self._entries: list[_Entry] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, request: Request, status: int, ended: float) -> None:
        """Note one finished request; `ended` is monotonic seconds, as `request.started`."""
        path = request.path
        if path in _QUIET:
            return
        # Only these values are kept: the request itself would hold its body in memory.
        entries = self._entries
        entries.append(
            (
                ended,
                ended - request.started,
                request.method,
                path,
                status,
                request.client,
                request.request_id,
            )
        )
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(limits.ACCESS_LOG_SECONDS, self.flush)
        elif len(entries) >= limits.ACCESS_LOG_BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what waits; also to be called when the server stops."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        entries, self._entries = self._entries, []
        if entries:
            offset = self._clock.now() - self._clock.monotonic()
            line, shown = self._format, self._shown
            self._write("".join([line(offset, entry, shown(entry[3])) for entry in entries]))


_Entry = tuple[float, float, str, str, int, str, bytes]
"""End, seconds, method, path, status, client, id of the request."""


def _compact(offset: float, entry: _Entry, path: str) -> str:
    ended, seconds, method, _, status, client, request_id = entry
    if not path.isprintable():
        path = repr(path)
    return (
        f"{timestamp(offset + ended)[11:23]} INFO {_LOGGER} {method} {path} {status}"
        f" {seconds * 1000:.2f}ms client={client} request_id={request_id.decode()}\n"
    )


def _json(offset: float, entry: _Entry, path: str) -> str:
    ended, seconds, method, _, status, client, request_id = entry
    values: dict[str, object] = {
        "request_id": request_id.decode(),
        "method": method,
        "path": path,
        "status": status,
        "duration_ms": round(seconds * 1000, 2),
        "client": client,
    }
    message = f"{method} {path} {status}"
    return json_line(offset + ended, "INFO", _LOGGER, message, values) + "\n"
