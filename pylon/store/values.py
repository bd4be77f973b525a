"""What goes into statements and comes out of them; said again by `base`, where others take it."""

from __future__ import annotations

from typing import Any, TypeAlias

Value: TypeAlias = str | int | float | bytes | bool | None
"""What a column holds. A bool is bound as 1 or 0 and read back as an int."""

Row: TypeAlias = tuple[Any, ...]
