"""Who the work of a task is for, so that what is scarce can be shared out among callers.

The identity stage says it once a request, and what is awaited there can look it up without being
handed it through every call. It decides who waits, never who may do what: that is `Identity`.
"""

from __future__ import annotations

from contextvars import ContextVar
from ipaddress import IPv6Address
from typing import Final, TypeAlias

from pylon.identity import Identity

Asker: TypeAlias = tuple[str, Identity]
"""The address behind trusted proxies, and who that is. A plain tuple since one is made for every
request, and not the request itself, which with its task would be a circle."""

ASKER: Final[ContextVar[Asker | None]] = ContextVar("asker", default=None)
"""For whom this task works; None: for the server itself, or for who is not known yet."""


def address() -> str | None:
    """The address that asks, as `address_key`; None for the server itself."""
    asker = ASKER.get()
    return None if asker is None else address_key(asker[0])


def caller() -> str | None:
    """The user who asks, or the address of a guest, of whom there are as many as somebody likes to
    make, or of nobody known; None for the server itself."""
    asker = ASKER.get()
    if asker is None:
        return None
    client, identity = asker
    if identity.user_id is not None and not identity.is_guest:
        return identity.user_id
    return address_key(client)


def address_key(address: str) -> str:
    """What an address is counted as: itself, but a whole /64 for IPv6, since one subscriber has all
    of it to choose from."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return parsed.packed[:8].hex()
