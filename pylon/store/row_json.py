"""A row as JSON text, made by the database: a SQL expression over the table aliased `t`.

Costs a tenth of what decoding and encoding the row here would. Used by the reads of `data/` and by
the scan of the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pylon.schema.model import FieldKind
from pylon.store.dialect import Dialect
from pylon.store.naming import quote

CONCAT_ARGUMENTS_MAX: Final = 100
"""Arguments of one `concat`: what Postgres takes; SQLite can be built with a bound of 127."""


def row_json(dialect: Dialect, kinds: Mapping[str, FieldKind]) -> str:
    """The expression for these columns, in this order."""
    parts: list[str] = []
    for number, (name, kind) in enumerate(kinds.items()):
        parts.append(f"'{',' if number else '{'}\"{name}\":'")
        column = f"t.{quote(name)}"
        is_json = kind in ("json", "list")  # Stored as what it is.
        parts.append(f"coalesce({column}, 'null')" if is_json else dialect.json_text(column, kind))
    return concat([*parts, "'}'"])


def concat(parts: Sequence[str]) -> str:
    """Texts one after another; a NULL is empty."""
    parts = list(parts)
    while len(parts) > 1:
        size = CONCAT_ARGUMENTS_MAX
        groups = [parts[start : start + size] for start in range(0, len(parts), size)]
        parts = [f"concat({', '.join(group)})" for group in groups]
    return parts[0]
