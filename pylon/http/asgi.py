"""The few ASGI shapes that the kernel speaks; the vocabulary without imports of its own.

Called by every file of this folder and by the doors that take raw scopes (`api/live`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
"""One connection's facts, as the ASGI server states them."""

Message: TypeAlias = MutableMapping[str, Any]
"""One event of the ASGI conversation, told apart by its `type`."""

Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]
"""A header's lower-case name and its value."""
