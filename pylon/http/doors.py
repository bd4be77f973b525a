"""The listening sockets: the main port P, and P+1 (WebSocket) and P+2 (SSE) for 0.2.8 clients.

Binds, or takes over sockets that a parent process bound (the dev reloader keeps them open while
the child restarts, so no connection is refused). Called by `pylon.server` and the command line.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from pylon.errors import ConfigError
from pylon.http.listener import MAIN_DOOR

WS_DOOR: Final = "ws"
SSE_DOOR: Final = "sse"

_OFFSETS: Final = {MAIN_DOOR: 0, WS_DOOR: 1, SSE_DOOR: 2}
_NAMES: Final = {MAIN_DOOR: "HTTP", WS_DOOR: "WebSocket", SSE_DOOR: "SSE"}
_EPHEMERAL_TRIES: Final = 64
_PORT_MAX: Final = 65_535
_ANY_HOSTS: Final = ("", "0.0.0.0", "::")


class Ports(Struct, frozen=True, kw_only=True):
    """The bound port of each door; None where a door is not open."""

    main: int
    ws: int | None = None
    sse: int | None = None


class Doors(Struct, frozen=True, kw_only=True):
    """Bound sockets with their door's name; a host name may give a door several."""

    sockets: tuple[tuple[str, socket.socket], ...]

    @property
    def ports(self) -> Ports:
        """Where the doors are."""
        return Ports(**{door: int(bound.getsockname()[1]) for door, bound in self.sockets})

    def describe(self) -> str:
        """The file descriptors as text for a child process: `main=5,ws=6,sse=7`."""
        return ",".join(f"{door}={bound.fileno()}" for door, bound in self.sockets)

    def file_descriptors(self) -> tuple[int, ...]:
        """What a child must inherit (`pass_fds`)."""
        return tuple(bound.fileno() for _, bound in self.sockets)

    def close(self) -> None:
        """Close all of them."""
        for _, bound in self.sockets:
            bound.close()


def inherit_doors(description: str) -> Doors:
    """Take over sockets that the parent named with `Doors.describe`."""
    sockets: list[tuple[str, socket.socket]] = []
    for part in description.split(","):
        door, _, number = part.partition("=")
        if door not in _OFFSETS or not number.isdecimal():
            raise ConfigError("DOORS_INVALID", f"Cannot take over the listening sockets {part!r}")
        try:
            sockets.append((door, socket.socket(fileno=int(number))))
        except OSError as error:
            text = f"Listening socket {part!r} cannot be taken over: {error.strerror}"
            raise ConfigError("DOORS_INVALID", text) from error
    return Doors(sockets=tuple(sockets))


def bind_doors(host: str, port: int, *, single_port: bool = False) -> Doors:
    """Bind the doors, or raise a ConfigError (`PORT_IN_USE`, `PORT_INVALID`, `HOST_INVALID`...).

    `0.0.0.0` and `::` mean every address, IPv4 and IPv6. Port 0 picks a free P (with P+1 and P+2
    free as well). Nothing listens yet: clients are refused until the server starts.
    """
    names = (MAIN_DOOR,) if single_port else (MAIN_DOOR, WS_DOOR, SSE_DOOR)
    highest = port + _OFFSETS[names[-1]]
    if not port >= 0 or highest > _PORT_MAX:
        raise ConfigError(
            "PORT_INVALID",
            f"Port {port} is out of range: the doors need {port} to {highest}",
            "Choose a port from 1 to 65533 with --port.",
        )
    addresses = _addresses(host)
    if port:
        return _bind_all(addresses, host, port, names)
    for _ in range(_EPHEMERAL_TRIES - 1):
        try:
            return _bind_all(addresses, host, _free_port(addresses[0]), names)
        except ConfigError:
            continue  # A neighbour is taken: look elsewhere.
    return _bind_all(addresses, host, _free_port(addresses[0]), names)


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    if host in _ANY_HOSTS:
        return [(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET, "")]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(
            "HOST_INVALID", f"Host {host!r} is not an address of this machine: {error.strerror}"
        ) from error
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _free_port(address: tuple[socket.AddressFamily, str]) -> int:
    """A free port with room for its neighbours, as the kernel picks it."""
    with socket.socket(address[0], socket.SOCK_STREAM) as probe:
        probe.bind((address[1], 0))
        port = int(probe.getsockname()[1])
    return min(port, _PORT_MAX - max(_OFFSETS.values()))


def _bind_all(
    addresses: list[tuple[socket.AddressFamily, str]], host: str, port: int, names: Iterable[str]
) -> Doors:
    sockets: list[tuple[str, socket.socket]] = []
    try:
        for door in names:
            bound = [_bind(address, port + _OFFSETS[door]) for address in addresses]
            if host in _ANY_HOSTS and bound == [None]:
                bound = [
                    _bind((socket.AF_INET, ""), port + _OFFSETS[door])
                ]  # IPv6 is switched off.
            found = [one for one in bound if one is not None]
            if not found:
                raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
            sockets += [(door, one) for one in found]
    except OSError as error:
        for _, one in sockets:
            one.close()
        raise _bind_error(error, host, port, door) from error
    return Doors(sockets=tuple(sockets))


def _bind(address: tuple[socket.AddressFamily, str], port: int) -> socket.socket | None:
    """One bound socket, or None for an address that this machine only has on paper (`::1`)."""
    family, host = address
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            # Elsewhere the option would let two servers share a port.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if host else 0)
        bound.bind((host, port))
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return bound


def _bind_error(error: OSError, host: str, port: int, door: str) -> ConfigError:
    number = port + _OFFSETS[door]
    what = f"Port {number}" if door == MAIN_DOOR else f"Port {number} (the {_NAMES[door]} door)"
    where = host or "0.0.0.0"
    if error.errno == errno.EADDRINUSE:
        other = "" if door == MAIN_DOOR else ", or open one port only with PYLON_SINGLE_PORT=1"
        return ConfigError(
            "PORT_IN_USE",
            f"{what} on {where} is in use",
            f"Stop the program that holds it, or choose another port with --port{other}.",
        )
    if error.errno == errno.EACCES:
        return ConfigError(
            "PORT_FORBIDDEN", f"{what} on {where} needs privileges", "Choose a port above 1023."
        )
    return ConfigError(
        "HOST_INVALID",
        f"{what} on {where} cannot be opened: {error.strerror}",
        "Choose an address of this machine with --host.",
    )
