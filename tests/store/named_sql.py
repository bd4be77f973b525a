"""Every named query of the program, and Postgres' words for system tables."""

from __future__ import annotations

from pathlib import Path

from pylon.store.naming import load_queries
from pylon.store.system import TableWords

PACKAGE = Path(__file__).resolve().parents[2] / "pylon"

POSTGRES = TableWords(blob="BYTEA", bigint="BIGINT", untyped="TEXT", without_rowid="")


def named_queries() -> dict[str, str]:
    """The SQL of each query, by its file and its name."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.sql")):
        inside = file.relative_to(PACKAGE.parent)
        if file.name != "tables.sql":
            package = ".".join(inside.parent.parts)
            for name, sql in load_queries(package, file.name).items():
                found[f"{inside} {name}"] = sql
    return found
