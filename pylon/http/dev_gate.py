"""What dev mode opens, and to whom: the first stage of its requests, and the one question that
every route asks which has something to open.

In dev mode anybody may be anybody, so nothing but pages and programs of this machine may come in:
not a page of the web that the developer visits, not one whose name was pointed at this machine
(DNS rebinding), not what a proxy or tunnel brings. Assembled in dev mode only; called by the
pipeline, before all other stages, for HTTP, WebSocket and SSE alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from pylon.errors import PylonError
from pylon.http.asgi import Scope
from pylon.http.request import Request
from pylon.origins import (
    is_address,
    is_loopback_authority,
    is_loopback_name,
    is_loopback_origin,
    split_authority,
)


def has_dev_rights(request: Request, *, dev_mode: bool) -> bool:
    """Whether the caller may do what only dev mode allows: mint sessions, read policies and figures
    without a token, empty a test's database. Never over the network, whatever is set."""
    return dev_mode and request.is_local


def called_name(scope: Scope) -> str | None:
    """The name under which the app is called without a socket, as clients of tests do; None where
    there is one, since a socket's address is no name."""
    server = scope.get("server")
    name = str(server[0]).lower() if server else ""
    return None if not name or "/" in name or is_address(name) else name


class DevGate:
    """The stage. `origins` are those that the settings name beside the pages of this machine.

    With `allows_remote` other machines are let in, under the names that no foreign page can have:
    addresses, names without a dot, `.local`, `host` (what was bound) and the hosts of `origins`.
    """

    def __init__(self, origins: Sequence[str], *, allows_remote: bool = False, host: str) -> None:
        self._origins = frozenset(origins)
        self._hosts = {host.lower(), *(split_authority(o.partition("://")[2])[0] for o in origins)}
        self._allows_remote = allows_remote

    def __call__(self, request: Request) -> None:
        headers = request.scope["headers"]
        for name, value in headers:
            if name == b"host":
                authority = value.decode("latin-1").lower()
                if split_authority(authority)[0] != called_name(request.scope):
                    self._check_host(authority)
            elif name == b"origin":
                self._check_origin(value.decode("latin-1").lower())
        if not (request.is_local or self._allows_remote):
            raise PylonError(
                403,
                "DEV_REMOTE_REFUSED",
                "Dev mode serves this machine only, and this request came from another one or"
                " through a proxy",
                "Call the server directly, run it with `pylon start`, or set"
                " PYLON_DEV_ALLOW_REMOTE=1 if everybody who can reach it may be anybody.",
            )

    def _check_host(self, authority: str) -> None:
        if is_loopback_authority(authority):
            return
        host, is_whole = split_authority(authority)
        if is_whole and host and (host in self._hosts or self._is_own_name(host)):
            return
        raise PylonError(
            403,
            "DEV_HOST_REFUSED",
            f"Dev mode does not answer as '{authority[:100]}'",
            "Use localhost or 127.0.0.1; to reach it by another name, name an origin of that host"
            " in PYLON_CORS_ORIGIN.",
        )

    def _is_own_name(self, host: str) -> bool:
        """A name that this machine has in its own network, where it is let in from there. A page
        can be given none of them: names without a dot and `.local` are not for sale."""
        if not self._allows_remote:
            return False
        return is_address(host) or "." not in host or host.endswith(".local")

    def _check_origin(self, origin: str) -> None:
        if is_loopback_origin(origin) or origin in self._origins:
            return
        if self._allows_remote and origin != "null":
            scheme, _, authority = origin.partition("://")
            host, is_whole = split_authority(authority)
            if is_whole and scheme in ("http", "https") and self._is_known(host):
                return
        raise PylonError(
            403,
            "DEV_ORIGIN_REFUSED",
            f"Dev mode does not answer pages of '{origin[:100]}'",
            "Pages of this machine (localhost, any port) may always; name others in"
            " PYLON_CORS_ORIGIN.",
        )

    def _is_known(self, host: str) -> bool:
        return is_loopback_name(host) or host in self._hosts or self._is_own_name(host)
