"""ASGI scopes: what the app is told of a connection and of the request on it.

Pure values in, a dict out. `Facts` are read once for each connection by its shell; the cores make a
scope of them for each request or WebSocket.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import unquote

from msgspec import Struct

from pylon.http.asgi import Header, Scope
from pylon.http.listener import MAIN_DOOR, Settings, door_of, local_of, peer_of


class SocketFacts(Protocol):
    """The part of a transport that is asked here."""

    def get_extra_info(self, name: str, default: Any = None) -> Any: ...


class Facts(Struct, frozen=True, kw_only=True):
    """What holds for all requests of a connection. `state` is the lifespan's."""

    client: tuple[str, int] | None = None
    server: tuple[str, int | None] | None = None
    is_secure: bool = False
    root_path: str = ""
    door: str = MAIN_DOOR
    state: Mapping[str, Any]


def facts_of(socket: SocketFacts, config: Settings, state: Mapping[str, Any]) -> Facts:
    """Ask a new connection's transport."""
    return Facts(
        client=peer_of(socket),
        server=local_of(socket),
        is_secure=bool(socket.get_extra_info("sslcontext")),
        root_path=config.root_path,
        door=door_of(config),
        state=state,
    )


def http_scope(
    facts: Facts, method: str, http_version: str, target: bytes, headers: list[Header]
) -> Scope:
    """The scope of a request; `target` begins with its path. UnicodeDecodeError beyond ASCII."""
    raw_path, _, query = target.partition(b"?")
    path = raw_path.decode("ascii")
    if "%" in path:
        path = unquote(path)
    root_path = facts.root_path
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": http_version,
        "method": method,
        "scheme": "https" if facts.is_secure else "http",
        "server": facts.server,
        "client": facts.client,
        "root_path": root_path,
        "path": root_path + path if root_path else path,
        "raw_path": root_path.encode() + raw_path if root_path else raw_path,
        "query_string": query,
        "headers": headers,
        "state": {**facts.state},
    }
    if facts.door != MAIN_DOOR:
        scope["pylon.door"] = facts.door
    return scope


def websocket_scope(facts: Facts, target: str, headers: list[Header]) -> Scope:
    """The scope of a WebSocket; its `extensions` are the shell's."""
    offered = [value for name, value in headers if name == b"sec-websocket-protocol"]
    subprotocols = [part.strip().decode("latin-1") for part in b",".join(offered).split(b",")]
    raw_path, _, query = target.partition("?")
    root_path = facts.root_path
    scope: Scope = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss" if facts.is_secure else "ws",
        "server": facts.server,
        "client": facts.client,
        "root_path": root_path,
        "path": root_path + unquote(raw_path),
        "raw_path": (root_path + raw_path).encode("ascii"),
        "query_string": query.encode("ascii"),
        "headers": headers,
        "subprotocols": [part for part in subprotocols if part],
        "state": {**facts.state},
    }
    if facts.door != MAIN_DOOR:
        scope["pylon.door"] = facts.door
    return scope
