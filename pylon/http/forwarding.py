"""What a request says of proxies on its way, and whether it began on this machine.

Pure. `Request.is_local` asks it, and with that everything that dev mode opens. Not here: which
address a trusted proxy saw (`Request.client`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pylon.http.asgi import Header
from pylon.origins import is_loopback_address, is_loopback_authority

_PREFIXES: Final = (b"x-forwarded-", b"x-original-", b"cf-", b"fly-", b"ngrok-", b"x-envoy-")
_NAMES: Final = frozenset(
    {
        *(b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip"),
        *(b"true-client-ip", b"fastly-client-ip", b"x-azure-clientip", b"x-appengine-user-ip"),
        *(b"x-forwarded", b"forwarded-for", b"client-ip", b"x-proxyuser-ip", b"cdn-loop"),
    }
)
"""Headers that a proxy, a tunnel or a content network adds, and no client has a use for."""

_OF_THE_WAY: Final = frozenset(
    {
        *(b"x-forwarded-proto", b"x-forwarded-protocol", b"x-forwarded-port"),
        *(b"x-forwarded-scheme", b"x-forwarded-ssl", b"x-forwarded-prefix", b"x-forwarded-uri"),
        *(b"x-forwarded-path", b"x-forwarded-method", b"x-original-url", b"x-original-uri"),
    }
)
"""Those that say how it was asked for and not by whom; they decide nothing by themselves."""


def began_on_this_machine(peer: str, headers: Iterable[Header]) -> bool:
    """Whether the socket's `peer` is this machine, and every proxy that spoke says that it was
    asked by this machine too, as a dev server that passes requests on does.

    A header that names nobody (only a scheme, say) is a proxy that keeps quiet of whom it speaks
    for.
    """
    if not is_loopback_address(peer):
        return False
    forwarded = named = False
    for name, value in headers:
        if name not in _NAMES and not name.startswith(_PREFIXES):
            continue
        forwarded = True
        if name in _OF_THE_WAY:
            continue
        for each in _places(name, value.decode("latin-1")):
            named = True
            if not (is_loopback_address(each) or is_loopback_authority(each)):
                return False
    return named or not forwarded


def _places(name: bytes, value: str) -> Iterator[str]:
    """The addresses and hosts that a forwarding header names; what is neither is given as it is,
    so that it counts as another machine."""
    for element in value.split(","):
        if name == b"forwarded":
            yield from _forwarded_places(element)
        elif name == b"via":
            yield element.strip().partition(" ")[2].strip().partition(" ")[0]
        else:
            yield element.strip()


def _forwarded_places(element: str) -> Iterator[str]:
    """Of one element of RFC 7239: `for`, `by` and `host`."""
    for pair in element.split(";"):
        key, equals, text = pair.strip().partition("=")
        if not equals:
            yield ""
        elif key.lower() in ("for", "by", "host"):
            yield text.strip('"')
