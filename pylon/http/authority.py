"""For which host a request is meant: the forms that a `Host` line may have.

A host that two readers could take for two hosts is none. Pure. Called by the request reader, which
refuses such requests at every door, and by the CSRF check, which compares hosts also where another
server has read the request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from pylon.http.asgi import Header

_AUTHORITY: Final = re.compile(
    rb"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253})|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?"
)
"""A name or an IPv4 address, or an IPv6 address in brackets, and a port. Narrower than RFC 3986
section 3.2.2: no name of a host has its percent signs and punctuation, which other readers decode,
split or cut. Names in other scripts come as `xn--...`."""

_PORT_MAX: Final = 65_535
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}


def is_authority(value: bytes) -> bool:
    """Whether this is one host, with or without a port, and nothing else."""
    found = _AUTHORITY.fullmatch(value)
    return found is not None and (found[1] is None or int(found[1]) <= _PORT_MAX)


def sole_host(headers: Iterable[Header]) -> str | None:
    """The host that a request names, in small letters; None where it names none, several or
    something else."""
    values = [value for name, value in headers if name == b"host"]
    if len(values) != 1 or not is_authority(values[0]):
        return None
    return values[0].decode("ascii").lower()


def is_same(scheme: bytes, authority: bytes, host: bytes) -> bool:
    """Whether the authority of an absolute target is the host that the `Host` line names."""
    default_port = _DEFAULT_PORTS.get(scheme, b"")
    return authority.lower().removesuffix(default_port) == host.lower().removesuffix(default_port)
