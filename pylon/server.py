"""Runs an ASGI app on its doors: sockets, lifespan, signals and the graceful stop.

Knows what a process is, not what the app does. Called by the command line (`run`) and by tests
(`serve`). The protocols of a connection are in `pylon.http`.

    bind -> lifespan startup -> listen -> serve -> (signal) -> drain -> lifespan shutdown -> exit

Drain, in order: no new connections; `on_draining`; answers in flight (event streams end); sockets
closed with 1001; what is left is cut. A second SIGTERM or SIGINT cuts everything at once; a SIGHUP
(the terminal went, or a supervisor sends it beside SIGTERM) only asks.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from pylon import limits
from pylon.errors import PylonError
from pylon.http.connection import HttpConnection
from pylon.http.crowd import Crowd
from pylon.http.doors import Doors, Ports, bind_doors
from pylon.http.lifespan import Lifespan
from pylon.http.listener import (
    DEFAULT_BOUNDS,
    ASGIApp,
    Bounds,
    Listener,
    OpenConnections,
    new_crowd,
)
from pylon.http.websocket import WebSocketConnection

log = logging.getLogger("pylon.server")

_SPARE_FILES: Final = 256
"""File descriptors kept for the database, logs and outgoing connections."""

_LOOK_SECONDS: Final = 0.02
"""How often a drain looks whether it is done."""

_CANCEL_SECONDS: Final = 1.0
"""How long cancelled tasks may take to unwind."""

FORCED_EXIT_CODE: Final = 1


class Stop(Struct, kw_only=True):
    """How a stop is asked for: once is graceful, twice is at once. Signals set it; tests may."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    forced: asyncio.Event = field(default_factory=asyncio.Event)
    _is_ordered: bool = False

    def __call__(self) -> None:
        if self._is_ordered:
            self.forced.set()
        self._is_ordered = True
        self.asked.set()

    def hang_up(self) -> None:
        """Ask, however often; the next order is still the first."""
        self.asked.set()


async def serve(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int = 4321,
    single_port: bool = False,
    doors: Doors | None = None,
    bounds: Bounds = DEFAULT_BOUNDS,
    crowd: Crowd | None = None,
    drain_seconds: float = limits.DRAIN_SECONDS,
    on_started: Callable[[Ports], None] | None = None,
    on_draining: Callable[[], None] | None = None,
    stop: Stop | None = None,
    handle_signals: bool = True,
) -> int:
    """Serve until told to stop; returns the exit code (0, or 1 when a second signal cut it short).

    `doors` are sockets bound before (see `inherit_doors`); otherwise `host` and `port` are bound.
    `crowd` is for who wants to look at the connections, and is within `bounds`.
    Raises ConfigError when a port cannot be had, and the app's error when it does not start.
    """
    bounds = replace(bounds, connections_max=raise_file_limit(bounds.connections_max))
    doors = doors or bind_doors(host, port, single_port=single_port)
    stop = stop or Stop()
    lifespan = Lifespan(app)
    try:
        with _signals(stop) if handle_signals else _nothing():
            await lifespan.start()
            state = OpenConnections()
            shared = _Shared(state, new_crowd(bounds) if crowd is None else crowd, lifespan.state)
            servers = await _listen(app, doors, bounds, shared)
            try:
                if on_started is not None:
                    on_started(doors.ports)
                await stop.asked.wait()
            finally:
                for server in servers:
                    server.close()
            ending = _end(state, lifespan, drain_seconds, bounds, on_draining)
            return await _unless_forced(ending, stop, state, lifespan)
    finally:
        lifespan.cancel()
        doors.close()


def run(app: ASGIApp, **options: Any) -> int:
    """`serve` on uvloop in a fresh event loop; failures are one line on stderr. The exit code."""
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve_frozen(app, options))
    except PylonError as error:
        hint = f" {error.hint}" if error.hint else ""
        sys.stderr.write(f"{error.message.rstrip('.')}.{hint}\n")
        return getattr(error, "exit_code", 1)


def raise_file_limit(connections_max: int) -> int:
    """Ask the system for enough file descriptors; returns the connections that they allow."""
    if sys.platform == "win32":
        return connections_max
    import resource  # Not on Windows.

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections_max + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return connections_max
    return max(1, min(connections_max, soft - _SPARE_FILES))


# --- start ---------------------------------------------------------------------------------------


async def _serve_frozen(app: ASGIApp, options: dict[str, Any]) -> int:
    told: Callable[[Ports], None] | None = options.pop("on_started", None)

    def started(ports: Ports) -> None:
        # What start-up made stays: the collector need not walk it again and again.
        gc.freeze()
        if told is not None:
            told(ports)

    return await serve(app, on_started=started, **options)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform == "win32":
        return asyncio.new_event_loop
    import uvloop  # Not on Windows.

    return uvloop.new_event_loop


class _Shared(Struct, frozen=True):
    """What the connections of all doors have in common."""

    state: OpenConnections
    crowd: Crowd
    app_state: dict[str, Any]


async def _listen(
    app: ASGIApp, doors: Doors, bounds: Bounds, shared: _Shared
) -> list[asyncio.AbstractServer]:
    loop = asyncio.get_running_loop()
    servers: list[asyncio.AbstractServer] = []
    for door, bound in doors.sockets:
        listener = Listener(
            app,
            door=door,
            bounds=bounds,
            crowd=shared.crowd,
            ws=WebSocketConnection,
        )

        def connection(listener: Listener = listener) -> HttpConnection:
            return HttpConnection(listener, shared.state, shared.app_state, loop)

        servers.append(
            await loop.create_server(connection, sock=bound, backlog=limits.LISTEN_BACKLOG)
        )
    return servers


@contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    """SIGTERM, SIGINT and SIGHUP ask for a stop while the block runs."""
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGTERM, signal.SIGINT]
    if sys.platform == "win32":
        previous = [signal.signal(number, lambda *_: stop()) for number in numbers]
        yield
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
        return
    for number in numbers:
        loop.add_signal_handler(number, stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        loop.add_signal_handler(signal.SIGHUP, stop.hang_up)
        numbers.append(signal.SIGHUP)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


# --- stop ----------------------------------------------------------------------------------------


async def _end(
    state: OpenConnections,
    lifespan: Lifespan,
    drain_seconds: float,
    bounds: Bounds,
    on_draining: Callable[[], None] | None,
) -> None:
    if on_draining is not None:
        on_draining()
    await _drain(state, drain_seconds, bounds)
    await lifespan.stop(seconds_max=limits.LIFESPAN_SECONDS_MAX)


async def _drain(state: OpenConnections, drain_seconds: float, bounds: Bounds) -> None:
    """Finish what is in flight, then say goodbye to the sockets, then cut the rest."""
    deadline = asyncio.get_running_loop().time() + drain_seconds
    for connection in _http(state):
        connection.shutdown()
    await _until(lambda: not _http(state), deadline)
    for remaining in _connections(state):
        remaining.shutdown()
    # A socket's close has a bound of its own; it may outlast the drain by that.
    deadline = max(deadline, asyncio.get_running_loop().time()) + bounds.close_seconds_max
    await _until(lambda: not state.connections, deadline)
    await _until(lambda: not state.tasks, deadline)
    await _cut(state)


def _http(state: OpenConnections) -> list[HttpConnection]:
    return [one for one in _connections(state) if isinstance(one, HttpConnection)]


def _connections(state: OpenConnections) -> list[Any]:
    return list(state.connections)


async def _until(is_done: Callable[[], bool], deadline: float) -> None:
    loop = asyncio.get_running_loop()
    while not is_done() and loop.time() < deadline:  # noqa: ASYNC110 (the sets tell nobody)
        await asyncio.sleep(_LOOK_SECONDS)


async def _cut(state: OpenConnections) -> None:
    """Cancel and abort whatever is still there."""
    tasks = list(state.tasks)
    if tasks:
        log.warning("%d requests were cut off by the stop", len(tasks))
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)
    for connection in _connections(state):
        connection.transport.abort()


async def _unless_forced(
    ending: Any, stop: Stop, state: OpenConnections, lifespan: Lifespan
) -> int:
    end = asyncio.ensure_future(ending)
    forced = asyncio.ensure_future(stop.forced.wait())
    waited: set[asyncio.Future[Any]] = {end, forced}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if end.done():
        forced.cancel()
        end.result()
        return 0
    log.warning("stopped at once by a second signal")
    end.cancel()
    lifespan.cancel()
    await asyncio.wait({end}, timeout=_CANCEL_SECONDS)
    await _cut(state)
    return FORCED_EXIT_CODE
