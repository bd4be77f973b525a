"""The words of system tables, and what a database that is beyond them is told."""

from __future__ import annotations

import pytest

from pylon.errors import ConfigError
from pylon.store.system import STORE_TABLES, TableWords, load_steps, refuse_newer, with_store
from pylon.wiring import PARTS, table_steps

WORDS = TableWords(blob="B", bigint="I", untyped="", without_rowid="W")


def test_words_in_braces_are_spelled() -> None:
    assert WORDS.spell("CREATE TABLE t (x {blob}, y {untyped}) {without_rowid}") == (
        "CREATE TABLE t (x B, y ) W"
    )
    with pytest.raises(KeyError, match="text"):
        WORDS.spell("CREATE TABLE t (x {text})")


def test_steps_come_as_statements_without_their_ends() -> None:
    (step,) = load_steps("pylon.store")
    assert [statement.split()[:3] for statement in step] == [
        ["CREATE", "TABLE", "_pylon_meta"],
        ["INSERT", "INTO", "_pylon_meta"],
        ["CREATE", "TABLE", "_pylon_schema_history"],
    ]
    assert all(not statement.endswith(";") for statement in step)


def test_the_store_comes_first_and_alone_under_its_name() -> None:
    parts = table_steps(PARTS)
    assert list(with_store(parts)) == ["store", *parts]
    assert {"auth", "changes", "hooks", "crdt", "sync"} <= parts.keys()
    with pytest.raises(AssertionError, match="may not be called store"):
        with_store({"store": STORE_TABLES})


def test_only_a_known_part_can_be_newer() -> None:
    tables = {"a": (("x",), ("y",))}
    refuse_newer({"a": 2, "b": 7}, tables, "app.db")
    with pytest.raises(ConfigError, match="a have version 3, this one knows 2") as error:
        refuse_newer({"a": 3}, tables, "app.db")
    assert error.value.code == "DATABASE_NEWER"
