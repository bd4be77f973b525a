"""The points at which code outside the data core takes part in a write, a line each.

Plugins and app code add callables; `data/write.py` calls them in the order they were added. A
before-hook may change the data it is given or raise a `PylonError`; an after-hook runs once the
write is committed and cannot undo it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pylon.identity import Identity

BeforeHook: TypeAlias = Callable[[Identity, str, dict[str, Any]], Awaitable[None]]
"""`(identity, entity, data)`; awaits nothing outside the transaction."""

DeleteHook: TypeAlias = Callable[[Identity, str, str], Awaitable[None]]
"""`(identity, entity, row_id)`."""


@dataclass(slots=True)
class Hooks:
    """The hooks of one app."""

    before_insert: list[BeforeHook] = field(default_factory=list)
    before_update: list[BeforeHook] = field(default_factory=list)
    before_delete: list[DeleteHook] = field(default_factory=list)

    @property
    def are_any(self) -> bool:
        """Whether the app has one, so that errors of its own may be among the answers."""
        return bool(self.before_insert or self.before_update or self.before_delete)
