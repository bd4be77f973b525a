"""Identifiers in SQL text, and SQL kept in `.sql` files.

Values are always bound; only names that come from a checked manifest are written into SQL, and
always through `quote`. Names that a statement makes up are `own`; aliases of tables may be short,
since every table of the app has one, and every column of it is written behind one.
"""

from __future__ import annotations

import re
from importlib.resources import files

_HEADING = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def quote(identifier: str) -> str:
    """The identifier in double quotes, with inner quotes doubled."""
    return '"' + identifier.replace('"', '""') + '"'


def own(word: str) -> str:
    """The name of a common table, or of a column of a subquery, that a statement makes for itself.

    A common table hides the table of the same name, in whatever case, from the whole statement:
    named like an entity it would hand a policy the rows of the question. No name of a manifest
    begins as these do (`schema/validate_names`), and no system table is called so.
    """
    return f"_pylon_{word}"


def load_queries(package: str, name: str = "queries.sql") -> dict[str, str]:
    """The named statements of a package's SQL file: `-- name: word`, then one statement."""
    text = files(package).joinpath(name).read_text("utf-8")
    parts = _HEADING.split(text)
    return {
        key: body.strip().rstrip(";").strip()
        for key, body in zip(parts[1::2], parts[2::2], strict=True)
    }
