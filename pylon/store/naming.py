"""Identifiers in SQL text, and SQL kept in `.sql` files.

Values are always bound; only names that come from a checked manifest are written into SQL, and
always through `quote`.
"""

from __future__ import annotations

import re
from importlib.resources import files

_HEADING = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def quote(identifier: str) -> str:
    """The identifier in double quotes, with inner quotes doubled."""
    return '"' + identifier.replace('"', '""') + '"'


def load_queries(package: str, name: str = "queries.sql") -> dict[str, str]:
    """The named statements of a package's SQL file: `-- name: word`, then one statement."""
    text = files(package).joinpath(name).read_text("utf-8")
    parts = _HEADING.split(text)
    return {
        key: body.strip().rstrip(";").strip()
        for key, body in zip(parts[1::2], parts[2::2], strict=True)
    }
