"""SQL of features is written once for every database (design 4.6): what it may not say."""

from __future__ import annotations

import re

import pytest

from pylon.store.system import with_store
from pylon.wiring import PARTS, table_steps
from tests.store.named_sql import named_queries

FORBIDDEN = {
    "a numbered parameter": r"\?\d",
    "a named parameter": r"[:@$]\w",
    "INSERT OR; write ON CONFLICT ... DO": r"\b(INSERT|UPDATE)\s+OR\b|\bREPLACE\s+INTO\b",
    "max or min of two values; write CASE": r"\b(max|min)\s*\([^()]*,",
    "a row id that nobody declared": r"\b(rowid|oid|_rowid_)\b",
    "double quotes": r'"',
    "a word of one database": r"\b(PRAGMA|GLOB|MATCH|IFNULL|sqlite_\w+|strftime|json_\w+)\b",
    "IS between two values; write IS NOT DISTINCT FROM": (
        r"\bIS\s+(NOT\s+)?(?!NULL|NOT|DISTINCT)[\w?]"
    ),
    "a name taken over in DO UPDATE; write its table": (
        r"DO UPDATE SET[^;]*\bELSE (?!excluded\.|_pylon_\w+\.)[a-z_]+\b"
    ),
}
STATEMENTS = named_queries()


@pytest.mark.parametrize("name", STATEMENTS)
def test_named_queries_are_portable(name: str) -> None:
    sql = STATEMENTS[name]
    found = [why for why, form in FORBIDDEN.items() if re.search(form, sql, re.IGNORECASE)]
    assert found == []
    for part in re.split(r"\bSELECT\b", sql):
        if re.search(r"\bLIMIT\b", part):
            assert re.search(r"\bORDER BY\b", part), "LIMIT without ORDER BY takes any rows"


def test_there_are_queries() -> None:
    assert len(STATEMENTS) > 35


@pytest.mark.parametrize("part", with_store(table_steps(PARTS)))
def test_system_tables_are_portable_but_for_their_words(part: str) -> None:
    for step in with_store(table_steps(PARTS))[part]:
        for sql in step:
            assert not re.search(r"\b(BLOB|BYTEA|INTEGER|BIGINT|ROWID|IF NOT EXISTS)\b", sql), sql
            found = [why for why, form in FORBIDDEN.items() if re.search(form, sql, re.IGNORECASE)]
            assert found == [], sql


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM t WHERE b = ?1",
        "INSERT OR IGNORE INTO t VALUES (?)",
        "UPDATE t SET a = max(a, ?)",
        'SELECT a FROM t WHERE b = "x"',
        "SELECT a FROM t WHERE b IS ?",
        "DELETE FROM t WHERE rowid = ?",
    ],
)
def test_the_judge(sql: str) -> None:
    assert any(re.search(form, sql, re.IGNORECASE) for form in FORBIDDEN.values())
