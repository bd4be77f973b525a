"""Which expression of a policy speaks for which operation (spec 05 section 5.5)."""

from __future__ import annotations

from typing import Final
from typing import Literal as OneOf

from pylon.schema.model import PolicySpec

Slot = OneOf["read", "insert", "update", "delete", "action"]

ENTITY_SLOTS: Final[tuple[Slot, ...]] = ("read", "insert", "update", "delete")

_KEYS: Final[dict[Slot, tuple[str, ...]]] = {
    "read": ("allowRead", "allow"),
    "insert": ("allowInsert", "allowWrite", "allow"),
    "update": ("allowUpdate", "allowWrite", "allow"),
    "delete": ("allowDelete", "allowWrite", "allow"),
    "action": ("allow",),
}


def expression(policy: PolicySpec, slot: Slot) -> tuple[str, str] | None:
    """The manifest key and text that apply to `slot`; None where the policy says nothing.

    An empty text counts as unset; one of blanks only does not, and denies.
    """
    texts = policy.expressions()
    return next(((key, texts[key]) for key in _KEYS[slot] if key in texts), None)
