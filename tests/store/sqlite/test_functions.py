"""What SQLite is given: whole texts are looked at, a long one only at its beginning."""

from __future__ import annotations

from typing import Any

import apsw
import pytest

from pylon.store.sqlite.functions import add_functions, beginning


@pytest.fixture
def connection() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    add_functions(connection)
    add_functions(connection)
    return connection


@pytest.mark.parametrize(
    ("text", "most", "kept"),
    [
        (None, 9, None),
        ("Red-Shoe", 9, "Red-Shoe"),
        ("Red-Shoe", 3, "Red"),
        ("a\0b", 9, "a b"),
        ("é" * 9, 4, "eeee"),
        ("日本語", 2, "日本 本"),
        ("x\0" + "🚀" * 50, 1, "x"),
    ],
)
def test_words_of_a_text(connection: apsw.Connection, text: Any, most: int, kept: Any) -> None:
    sql = f"SELECT _pylon_words({beginning('t', str(most))}, {most}) FROM (SELECT ? AS t)"
    assert connection.execute(sql, (text,)).fetchall() == [(kept,)]


def test_they_may_stand_in_triggers_of_a_database_that_is_not_trusted(
    connection: apsw.Connection,
) -> None:
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("CREATE TABLE a (x); CREATE TABLE b (x)")
    connection.execute(
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN"
        " INSERT INTO b VALUES (_pylon_words(new.x, 9)); END"
    )
    connection.execute("INSERT INTO a VALUES ('É')")
    assert connection.execute("SELECT x FROM b").fetchall() == [("e",)]
