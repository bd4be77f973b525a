"""One line per answered request; a request pays for an append only.

Batches are formatted and written, in order, on a thread of their own, so that neither the format
nor a slow reader of the log holds the loop. Lines carry method, path, status, milliseconds, client
and request id; never headers, bodies or query strings, where tokens could stand, and of a path
nothing that could be one (`shown_path`). Probes (`/health`, `/readyz`, `/metrics`) are left out.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from queue import Full, Queue
from typing import Final, TypeAlias

from pylon import limits
from pylon.clock import Clock
from pylon.http.request import Request
from pylon.http.shown_path import shown_path
from pylon.log import json_line, timestamp, write_lines

_QUIET = frozenset(("/health", "/readyz", "/metrics"))
_LOGGER = "pylon.access"

_Entry: TypeAlias = tuple[float, float, str, str, int, str, bytes]
"""End, seconds, method, path, status, client, id of the request."""

_Batch: TypeAlias = tuple[float, list[_Entry]]
"""What makes an end a time of the clock, and entries."""

_Format: TypeAlias = Callable[[float, list[_Entry], Callable[[str], str]], list[str]]


def _to_the_log(lines: str) -> None:
    write_lines(lines, logger=_LOGGER)


_PATHS_KEPT: Final = 4_096


class AccessLog:
    """Collects entries and hands them on by a timer, or at once when a batch is full. `secrets` are
    masked wherever they stand in a path.

    It formats without the logging module, which would cost more than the requests it describes.
    Nothing is dropped: while `limits.ACCESS_LOG_BATCHES_MAX` wait to be written, so does the loop.
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
        self._format: _Format = _json if json_lines else _compact
        self._write = write
        self._entries: list[_Entry] = []
        self._timer: asyncio.TimerHandle | None = None
        self._batches: Queue[_Batch | None] = Queue(limits.ACCESS_LOG_BATCHES_MAX)
        self._thread: threading.Thread | None = None

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
            self._timer = loop.call_later(limits.ACCESS_LOG_SECONDS, self._hand_on)
        elif len(entries) >= limits.ACCESS_LOG_BATCH:
            self._hand_on()

    def flush(self) -> None:
        """Have all that waits written, and wait for it."""
        self._hand_on()
        self._batches.join()

    async def close(self) -> None:
        """The same when the server stops, for a time; the thread ends."""
        self._stop_timer()
        # On a thread, since it waits for whoever reads the log.
        await asyncio.get_running_loop().run_in_executor(None, self._end)

    def _end(self) -> None:
        with suppress(Full):
            self._hand_on(limits.ACCESS_LOG_CLOSE_SECONDS)
            if self._thread is not None:
                self._batches.put(None, timeout=limits.ACCESS_LOG_CLOSE_SECONDS)
                self._thread.join(limits.ACCESS_LOG_CLOSE_SECONDS)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hand_on(self, seconds: float | None = None) -> None:
        self._stop_timer()
        entries, self._entries = self._entries, []
        if entries:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._work, name="pylon-access-log", daemon=True
                )
                self._thread.start()
            offset = self._clock.now() - self._clock.monotonic()
            self._batches.put((offset, entries), timeout=seconds)

    # --- on the thread -----------------------------------------------------------------------

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            try:
                self._write("".join(self._format(*batch, self._shown)))
            finally:
                self._batches.task_done()
        self._batches.task_done()


def _compact(offset: float, entries: list[_Entry], shown: Callable[[str], str]) -> list[str]:
    lines: list[str] = []
    second, clock = -1, ""
    for ended, seconds, method, sent, status, client, request_id in entries:
        at = offset + ended
        if int(at) != second:  # Neighbours share it.
            second = int(at)
            clock = timestamp(second)[11:19]
        path = shown(sent)
        if not path.isprintable():
            path = repr(path)
        lines.append(
            f"{clock}.{int((at - second) * 1000):03d} INFO {_LOGGER} {method} {path} {status}"
            f" {seconds * 1000:.2f}ms client={client} request_id={request_id.decode()}\n"
        )
    return lines


def _json(offset: float, entries: list[_Entry], shown: Callable[[str], str]) -> list[str]:
    lines: list[str] = []
    for ended, seconds, method, sent, status, client, request_id in entries:
        path = shown(sent)
        values: dict[str, object] = {
            "request_id": request_id.decode(),
            "method": method,
            "path": path,
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
            "client": client,
        }
        message = f"{method} {path} {status}"
        lines.append(json_line(offset + ended, "INFO", _LOGGER, message, values) + "\n")
    return lines
