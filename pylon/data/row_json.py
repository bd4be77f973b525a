"""A row as JSON text, made by the database: a SQL expression over the table aliased `t`."""

from __future__ import annotations

from collections.abc import Mapping

from pylon.schema.model import FieldKind
from pylon.store.naming import quote

CONCAT_ARGUMENTS_MAX = 100
"""Arguments of one `concat`; SQLite can be built with a bound of 127."""


def row_json(kinds: Mapping[str, FieldKind]) -> str:
    parts: list[str] = []
    for number, (name, kind) in enumerate(kinds.items()):
        parts.append(f"'{',' if number else '{'}\"{name}\":'")
        parts.append(_value_json(f"t.{quote(name)}", kind))
    return _concat([*parts, "'}'"])


def _concat(parts: list[str]) -> str:
    while len(parts) > 1:
        size = CONCAT_ARGUMENTS_MAX
        groups = [parts[start : start + size] for start in range(0, len(parts), size)]
        parts = [f"concat({', '.join(group)})" for group in groups]
    return parts[0]


def _value_json(column: str, kind: FieldKind) -> str:
    if kind == "bool":
        return f"CASE {column} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE 'null' END"
    return f"json_quote({column})"
