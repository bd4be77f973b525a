"""How much of a processor's time each may take with documents: a leaky bucket for each key.

Pure: times come in, waits go out. Used by `workshop.py` for work beside the server, and by
`sync/dependencies.py` for merges on the loop.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from pylon import asking, limits
from pylon.identity import Identity, caller_key

Kind: TypeAlias = Literal["session", "address", "row"]

ShareKey: TypeAlias = tuple[Kind, object]

SHARES: Final[Mapping[Kind, float]] = {
    "session": limits.DOCUMENT_SESSION_SHARE,
    "address": limits.DOCUMENT_ADDRESS_SHARE,
    "row": limits.DOCUMENT_ROW_SHARE,
}


def share_keys(identity: Identity, row: tuple[str, str]) -> list[ShareKey]:
    """Who is counted for the caller's work on a row's document: nobody for an administrator's,
    such as an import."""
    if identity.is_admin:
        return []
    keys: list[ShareKey] = [("row", row)]
    if (address := asking.address()) is not None:
        keys.append(("address", address))
    if (caller := caller_key(identity)) is not None:
        keys.append(("session", caller))
    return keys


class Shares:
    """The time that each key has taken, as the moment when it will have been worth its share."""

    def __init__(self) -> None:
        self._paid_at: OrderedDict[ShareKey, float] = OrderedDict()

    def wait(self, keys: list[ShareKey], now: float) -> float:
        """The seconds until all of them may take more; 0 when they may now."""
        wait = 0.0
        for key in keys:
            owed = self._paid_at.get(key, now) - now
            wait = max(wait, owed - limits.DOCUMENT_BURST_SECONDS / SHARES[key[0]])
        return wait

    def take(self, keys: list[ShareKey], seconds: float, now: float) -> None:
        """Count time that was taken."""
        for key in keys:
            paid_at = max(self._paid_at.get(key, now), now)
            self._paid_at[key] = paid_at + seconds / SHARES[key[0]]
            self._paid_at.move_to_end(key)
        while len(self._paid_at) > limits.DOCUMENT_KEYS_KEPT_MAX:
            self._paid_at.popitem(last=False)
