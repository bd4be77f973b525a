"""The keys of times in databases that are there already: made, kept, and made again."""

from __future__ import annotations

from typing import Any

import apsw
import pytest

from pylon.moments import moment_column, moment_key
from pylon.schema.model import IndexSpec
from pylon.store.evolution.model import EvolutionError, Hints, SqlMigration, step_wire
from pylon.store.sqlite.evolution.introspect import introspect
from tests.store.sqlite.evolution.database import (
    app,
    columns_of,
    entity,
    field,
    fit,
    fresh_shape,
    insert,
    shape,
    start_with,
)

KEY = moment_column("at")
AT = field("at", "datetime", optional=True)
BY_AT = IndexSpec(name="by_at", fields=("at",))
TODO = app(entity("Todo", AT, indexes=(BY_AT,)))
UNIQUE = app(entity("Todo", field("at", "datetime", optional=True, unique=True)))
TIMES = ("2026-01-01T01:00:00+01:00", "2025-12-31", "1767225600Z", "yesterday", None)


def rows(*texts: str | None) -> list[dict[str, Any]]:
    return [{"id": f"{number}", "at": text} for number, text in enumerate(texts)]


def of_before(*texts: str | None, unique: bool = False) -> apsw.Connection:
    """A database as it was before times had keys."""
    connection = start_with(UNIQUE if unique else TODO)
    name, columns = ("Todo_at_unique", "at") if unique else ("Todo_by_at", "at, id")
    connection.execute(f"DROP INDEX {name}")
    connection.execute(f'ALTER TABLE "Todo" DROP COLUMN {KEY}')
    connection.execute(f'CREATE {"UNIQUE " * unique}INDEX {name} ON "Todo" ({columns})')
    forget_keys(connection)
    insert(connection, "Todo", *rows(*texts))
    return connection


def forget_keys(connection: apsw.Connection) -> None:
    """Leave the ledger as a program does that knows of no keys."""
    connection.execute("UPDATE _pylon_meta SET value = replace(value, ',\"moments\":true', '')")


def keys(connection: apsw.Connection) -> list[str | None]:
    return [row[KEY] for row in columns_of(connection, "Todo")]


def ops(outcome: Any) -> list[str]:
    return [step_wire(each.step)["op"] for each in outcome.plan.steps]


def test_old_rows_get_keys_and_their_index_goes_by_them() -> None:
    connection = of_before(*TIMES)
    outcome = fit(connection, TODO)
    assert ops(outcome) == ["remove_index", "add_moments", "add_index"]
    assert [row["at"] for row in columns_of(connection, "Todo")] == list(TIMES)
    assert keys(connection) == [None if text is None else moment_key(text) for text in TIMES]
    assert shape(introspect(connection)) == fresh_shape(TODO)
    assert ops(fit(connection, TODO)) == []


def test_old_columns_of_one_moment_stay_under_a_unique_index() -> None:
    one, other = "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000Z"
    connection = of_before(one, other, "2026-01-01T00:00:00.5Z", unique=True)
    fit(connection, UNIQUE)
    found = connection.execute(f'SELECT at FROM "Todo" ORDER BY {KEY}').fetchall()
    assert [text for (text,) in found] == [one, other, "2026-01-01T00:00:00.5Z"]
    assert len(set(keys(connection))) == 3
    again = SqlMigration(number=1, name="none", up="SELECT 1", checksum="")
    fit(connection, UNIQUE, allow="destructive", migrations=(again,))
    assert len(set(keys(connection))) == 3, "they are still told apart"


def test_a_new_unique_index_goes_by_the_moment() -> None:
    connection = start_with(TODO)
    insert(connection, "Todo", *rows("2026-01-01", "2026-01-01T00:00Z"))
    fit(connection, TODO, allow="destructive", migrations=(touch("SELECT 1"),))
    with pytest.raises(EvolutionError) as refused:
        fit(connection, UNIQUE)
    assert refused.value.plan is not None
    assert "shared by 2 rows" in str(refused.value.plan.refused)


def touch(sql: str) -> SqlMigration:
    return SqlMigration(number=1, name="touch", up=sql, checksum="")


def test_what_a_migration_writes_is_read_again() -> None:
    connection = start_with(TODO)
    insert(connection, "Todo", *rows("2026-01-01"))
    sql = "UPDATE Todo SET at = '2027-01-01'"
    fit(connection, TODO, allow="destructive", migrations=(touch(sql),))
    assert keys(connection) == ["2027-01-01T00:00:00"]


def test_what_a_program_without_keys_has_written_is_read_at_the_next_start() -> None:
    connection = start_with(TODO)
    forget_keys(connection)
    insert(connection, "Todo", *rows("2026-01-01"))
    assert ops(fit(connection, TODO)) == ["add_moments"]
    assert keys(connection) == ["2026-01-01T00:00:00"]


def test_the_keys_go_where_the_field_goes() -> None:
    due = app(entity("Todo", field("due", "datetime", optional=True), indexes=()))
    connection = start_with(TODO)
    insert(connection, "Todo", {"id": "1", "at": "2026-01-01", KEY: "2026-01-01T00:00:00"})
    fit(connection, due, allow="careful", hints=Hints(fields=(("Todo", "at", "due"),)))
    assert columns_of(connection, "Todo")[0] == {
        "id": "1",
        "due": "2026-01-01",
        moment_column("due"): "2026-01-01T00:00:00",
    }
    fit(connection, app(entity("Todo", field("due", optional=True))), allow="destructive")
    assert columns_of(connection, "Todo") == [{"id": "1", "due": "2026-01-01"}]
    fit(connection, due, allow="destructive")
    assert shape(introspect(connection)) == fresh_shape(due)
    assert columns_of(connection, "Todo")[0][moment_column("due")] == "2026-01-01T00:00:00"
    fit(connection, app(entity("Todo")), allow="destructive")
    assert columns_of(connection, "Todo") == [{"id": "1"}]


def test_a_default_that_fills_old_rows_has_a_key() -> None:
    connection = start_with(app(entity("Todo")), Todo=[{"id": "1"}])
    fit(connection, app(entity("Todo", field("at", "datetime", default="2026-01-01"))))
    assert keys(connection) == ["2026-01-01T00:00:00"]
    assert KEY not in str(introspect(connection).tables["Todo"].to_wire())
