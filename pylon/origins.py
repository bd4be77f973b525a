"""What an origin is, and which names mean this machine: words of settings, manifests and requests.

Pure. `config` and `schema` judge what is written with it, `http` what a request says. Not here:
which origins are trusted (`http/cors`, `http/csrf`, `http/dev_gate`).
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

# scheme://host[:port] and nothing behind it: what a browser sends as Origin.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:\d{1,5})?")

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def is_origin(text: str) -> bool:
    """Whether `text` is an origin as a browser sends it; `*` and `null` are none."""
    return _ORIGIN.fullmatch(text) is not None


def is_loopback_address(text: str) -> bool:
    """Whether an IP address, without port, is of this machine (`127.0.0.0/8`, `::1`, and the first
    written as IPv6)."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def is_address(host: str) -> bool:
    """Whether a host is an IP address; IPv6 in brackets or not."""
    try:
        ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def is_loopback_name(host: str) -> bool:
    """Whether a host name means this machine for every browser: `localhost`, what ends with
    `.localhost`, and addresses of loopback; IPv6 in brackets or not. Without port."""
    name = host.lower().removesuffix(".")
    if name == "localhost" or (name.endswith(".localhost") and _NAME.fullmatch(name)):
        return True
    return is_loopback_address(name.removeprefix("[").removesuffix("]"))


def split_authority(authority: str) -> tuple[str, bool]:
    """The host of a `Host` header or an origin, without port and brackets, and whether the rest is
    as it should be."""
    if authority.startswith("["):
        host, bracket, port = authority[1:].partition("]")
        return host, bool(bracket) and ":" in host and (not port or _is_port(port))
    host, colon, port = authority.partition(":")
    return host, _NAME.fullmatch(host) is not None and (not colon or _is_port(colon + port))


def is_loopback_authority(authority: str) -> bool:
    """Whether a host with or without a port, as it stands in `Host`, is this machine."""
    host, is_whole = split_authority(authority.lower())
    return is_whole and is_loopback_name(host)


def is_loopback_origin(origin: str) -> bool:
    """Whether an origin is a page of this machine, whatever its port."""
    scheme, separator, authority = origin.lower().partition("://")
    return bool(separator) and scheme in ("http", "https") and is_loopback_authority(authority)


def _is_port(text: str) -> bool:
    return text[0] == ":" and text[1:].isascii() and text[1:].isdigit() and len(text) <= 6
