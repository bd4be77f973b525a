"""Words that only one database understands stand in its room (design 4.1), and nowhere else.

What has to differ goes through `store.dialect`; what need not is SQL that every store takes.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "pylon"

ROOMS = ("store/sqlite/", "store/postgres/", "testing/")
"""Where they belong; a double speaks the words of what it stands for."""

WORDS = re.compile(
    "|".join(
        (
            *(r"\bapsw\b", r"\bsqlite3\b", r"\bsqlite_", r"\bPRAGMA\b", r"(?i:\bfts[345]\b)"),
            *(
                r"\b_?(?:rowid|ROWID)_?\b",
                r"\bWITHOUT ROWID\b",
                r"\bINSERT OR\b",
                r"\bREPLACE INTO\b",
            ),
            *(
                r"\bjson_(?:each|quote|extract|group_array|group_object|tree)\b",
                r"\bgroup_concat\b",
            ),
            *(r"(?<!\.)\bstrftime\(", r"\bunixepoch\b", r"\bjulianday\b", r"\bGLOB\b"),
            *(r"\binstr\(", r"\biif\(", r"\bifnull\(", r"\bprintf\('"),
            *(r"\bIS (?:NOT )?\?", r"\bIS NOT 1\b", r"\bCROSS JOIN\b", r"\bAS (?:BLOB|REAL)\b"),
            *(r"\bTEXT\[\]", r"::(?:text|jsonb?|int8?|bigint)\b", r"\btsvector\b", r"\basyncpg\b"),
            *(r"\bjsonb?_build_object\b", r"\bILIKE\b", r"\bFOR UPDATE SKIP LOCKED\b"),
        )
    )
)

SAID_OTHERWISE = {
    # Names that tables of users must not have, whatever the store.
    "schema/validate_names.py": 3,
}


def lines_with_words(folder: Path) -> Counter[str]:
    """How many lines of each file have such a word."""
    found: Counter[str] = Counter()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix not in (".py", ".sql") or name.startswith(ROOMS):
            continue
        for line in path.read_text("utf-8").splitlines():
            found[name] += WORDS.search(line) is not None
    return +found


def test_dialect_stays_in_its_room() -> None:
    allowed = Counter(SAID_OTHERWISE)
    too_many = lines_with_words(PACKAGE) - allowed
    assert not too_many, f"use store.dialect, or SQL that every store takes: {dict(too_many)}"


@pytest.mark.parametrize(
    "line",
    [
        "import apsw",
        'f"{name} IS NOT ?"',
        "CREATE TABLE a (b TEXT) WITHOUT ROWID",
        "INSERT OR IGNORE INTO a VALUES (1)",
        "strftime('%Y', t.at)",
        "SELECT iif({column}, 1, 0)",
        "CAST(x AS REAL)",
        "SELECT * FROM sqlite_schema",
        "x::jsonb",
    ],
)
def test_words_that_are_found(line: str) -> None:
    assert WORDS.search(line)


@pytest.mark.parametrize(
    "line",
    [
        "now.strftime('%Y')",
        "from pylon.store.sqlite.store import SqliteStore",
        "x IS NOT DISTINCT FROM ?",
        "CAST(x AS DOUBLE PRECISION)",
        "self._total()",
        "row_id",
    ],
)
def test_words_that_are_no_dialect(line: str) -> None:
    assert not WORDS.search(line)
