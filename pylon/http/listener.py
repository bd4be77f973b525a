"""What every connection of a door shares: the app, the door's name, its bounds and open sockets.

It looks like uvicorn's `Config` as far as a connection asks, so that our protocol classes also run
under a plain uvicorn (`http=HttpConnection, ws=WebSocketConnection`), where doors and bounds are
the defaults. uvicorn itself is not imported: with it come its command line, its supervisors and
logging's configuration, a tenth of a start. Made by `pylon.server`, read by `connection` and
`websocket`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from pylon import limits
from pylon.http.asgi import Receive, Scope, Send
from pylon.http.crowd import Crowd

ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Bounds(Struct, frozen=True, kw_only=True):
    """Sizes and times of one door's connections; the defaults are those of `limits`."""

    connections_max: int = limits.CONNECTIONS_MAX
    connections_per_address_max: int = limits.CONNECTIONS_PER_ADDRESS_MAX
    """0: no bound, as where all come from a proxy."""
    header_bytes_max: int = limits.HEADER_BYTES_MAX
    head_read_seconds_max: float = limits.HEAD_READ_SECONDS_MAX
    keep_alive_seconds: float = limits.KEEP_ALIVE_SECONDS
    stall_seconds_max: float = limits.RESPONSE_STALL_SECONDS_MAX
    stall_bytes_min: int = limits.RESPONSE_STALL_BYTES_MIN
    linger_seconds_max: float = limits.LINGER_SECONDS_MAX
    handshake_seconds_max: float = limits.SOCKET_HANDSHAKE_SECONDS_MAX
    message_bytes_max: int = limits.SOCKET_MESSAGE_BYTES_MAX
    ping_seconds: float = limits.SOCKET_PING_SECONDS
    close_seconds_max: float = limits.SOCKET_CLOSE_SECONDS_MAX
    deflate_level: int = limits.DEFLATE_LEVEL
    """For messages of WebSockets; 0: no client is offered compression."""


DEFAULT_BOUNDS = Bounds()
MAIN_DOOR = "main"


class Settings(Protocol):
    """What a connection asks of its listener, or of uvicorn's `Config`."""

    loaded: bool
    root_path: str

    @property
    def loaded_app(self) -> Any: ...

    @property
    def ws_protocol_class(self) -> type[Any] | None: ...

    def load(self) -> None: ...


class Connections(Protocol):
    """What the connections of all doors have in common, or those of one uvicorn (`ServerState`)."""

    total_requests: int

    @property
    def connections(self) -> set[Any]: ...

    @property
    def tasks(self) -> set[asyncio.Task[None]]: ...


class OpenConnections:
    """Those of our own server."""

    def __init__(self) -> None:
        self.total_requests = 0
        self.connections: set[Any] = set()
        self.tasks: set[asyncio.Task[None]] = set()


class Listener:
    """The settings of one door; `door` is what the app sees in `scope["pylon.door"]`. All doors
    share one `crowd`."""

    loaded = True
    root_path = ""

    def __init__(
        self,
        app: ASGIApp,
        *,
        door: str = MAIN_DOOR,
        bounds: Bounds = DEFAULT_BOUNDS,
        crowd: Crowd | None = None,
        ws: type[Any],
    ) -> None:
        self.loaded_app = app
        self.ws_protocol_class = ws
        self.door = door
        self.bounds = bounds
        self.crowd = new_crowd(bounds) if crowd is None else crowd

    def load(self) -> None:
        """uvicorn's imports the app here; ours is given."""


def new_crowd(bounds: Bounds) -> Crowd:
    """An empty one within these bounds."""
    return Crowd(
        total_max=bounds.connections_max, per_address_max=bounds.connections_per_address_max
    )


def begins_at_once(app: ASGIApp) -> bool:
    """Whether the app may be called before it has a task: it says so, and awaits `tasks.in_task`
    before anything that needs one. Other apps ask for their task when they like."""
    return getattr(app, "begins_at_once", False) is True


def door_of(config: Settings) -> str:
    """The door's name; `main` under a plain uvicorn."""
    return config.door if isinstance(config, Listener) else MAIN_DOOR


def bounds_of(config: Settings) -> Bounds:
    """The door's bounds; the defaults under a plain uvicorn."""
    return config.bounds if isinstance(config, Listener) else DEFAULT_BOUNDS


def crowd_of(config: Settings) -> Crowd | None:
    """Who is connected; None under a plain uvicorn, which bounds connections by itself."""
    return config.crowd if isinstance(config, Listener) else None


def peer_of(transport: Any) -> tuple[str, int] | None:
    """Address and port of the client; IPv4 in its own form also on a dual-stack socket."""
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return None
    return str(peer[0]).removeprefix("::ffff:"), int(peer[1])


def local_of(transport: Any) -> tuple[str, int | None] | None:
    """Address and port that the client connected to (a path and None for a Unix socket)."""
    local = transport.get_extra_info("sockname")
    if isinstance(local, str):
        return local, None
    if not isinstance(local, tuple):
        return None
    return str(local[0]).removeprefix("::ffff:"), int(local[1])
