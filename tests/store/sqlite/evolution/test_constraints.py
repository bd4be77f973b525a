"""Types and constraints that come to rows that are there already."""

from __future__ import annotations

from typing import Any

import pytest

from pylon.schema.model import JsonDefault, NowDefault
from tests.store.sqlite.evolution.database import field, fit, rows_of, start_with
from tests.store.sqlite.evolution.test_engine import ops, reasons, refusal, todo


def rows(name: str, *values: Any) -> list[dict[str, Any]]:
    return [{"id": str(number), name: value} for number, value in enumerate(values)]


def values(db: Any, name: str) -> list[Any]:
    return [row[name] for row in rows_of(db, "Todo")]


def test_a_constraint_that_all_rows_keep_is_no_more_than_told() -> None:
    db = start_with(todo(field("n", "int", optional=True)), Todo=rows("n", 1, 2, None))
    new = todo(field("n", "int", optional=True, max=2))
    assert ops(fit(db, new)) == ["constrain_field"]
    assert ops(fit(db, new)) == []
    assert ops(fit(db, todo(field("n", "int", optional=True)))) == ["constrain_field"]


@pytest.mark.parametrize(
    "said",
    [
        {"type_": "string", "choices": ("a", "b")},
        {"type_": "int", "choices": (1, 2)},
        {"type_": "int", "min": -1, "max": 2},
        {"type_": "decimal(2)", "min": "0.50"},
        {"type_": "string", "minLength": 1, "maxLength": 3, "pattern": "[a-z]*"},
        {"type_": "string", "format": "email"},
    ],
)
def test_an_app_that_stays_as_it_is_changes_nothing(said: dict[str, Any]) -> None:
    same = todo(field("f", optional=True, **said))
    db = start_with(same)
    assert ops(fit(db, same)) == []


def test_rows_that_break_a_constraint_are_counted_and_stay() -> None:
    db = start_with(todo(field("s", optional=True)), Todo=rows("s", "open", "shut", "opne"))
    new = todo(field("s", optional=True, choices=("open", "shut")))
    assert "1 row of 3 do not fit, for example 'opne'" in reasons(refusal(db, new))
    assert ops(fit(db, new, allow="careful")) == ["constrain_field"]
    assert values(db, "s") == ["open", "shut", "opne"]


def test_a_constraint_is_looked_at_after_the_conversion() -> None:
    db = start_with(todo(field("p", "float", optional=True)), Todo=rows("p", 1.5, 20.25))
    new = todo(field("p", "decimal(2)", optional=True, max="10"))
    assert "1 row of 2 do not fit" in reasons(refusal(db, new))
    fit(db, new, allow="careful")
    assert values(db, "p") == ["1.50", "20.25"]


@pytest.mark.parametrize(
    ("old", "new", "before", "after", "allow"),
    [
        ("float", "decimal(2)", [1.5, 0.1], ["1.50", "0.10"], "careful"),
        ("int", "decimal(2)", [7], ["7.00"], "careful"),
        ("string", "decimal(1)", ["2.5", "x"], ["2.5", None], "destructive"),
        ("decimal(2)", "decimal(3)", ["1.50"], ["1.500"], "careful"),
        ("decimal(2)", "decimal(1)", ["1.50", "1.25"], ["1.5", "1.2"], "destructive"),
        ("decimal(2)", "string", ["1.50"], ["1.50"], "additive"),
        ("decimal(2)", "float", ["1.50"], [1.5], "careful"),
        ("decimal(2)", "int", ["2.00", "1.50"], [2, 1], "destructive"),
        ("string", "date", ["2026-01-31"], ["2026-01-31"], "careful"),
        ("datetime", "date", ["2026-01-31T09:00:00Z"], ["2026-01-31"], "destructive"),
        ("date", "datetime", ["2026-01-31"], ["2026-01-31"], "additive"),
        (
            "string",
            "json",
            ["a", '{"b":1, "a":2}', "[x"],
            ['"a"', '{"a":2,"b":1}', '"[x"'],
            "careful",
        ),
        ("int", "json", [1], ["1"], "careful"),
        ("json", "string", ['{"a":2}'], ['{"a":2}'], "careful"),
        ("string", "list(string)", ['["a"]', "a"], ['["a"]', None], "destructive"),
        ("list(int)", "list(float)", ["[1]"], ["[1]"], "careful"),
        ("list(string)", "json", ['["a"]'], ['["a"]'], "additive"),
    ],
)
def test_values_become_what_the_new_type_holds(
    old: str, new: str, before: list[Any], after: list[Any], allow: str
) -> None:
    db = start_with(todo(field("v", old, optional=True)), Todo=rows("v", *before))
    wanted = todo(field("v", new, optional=True))
    levels = ("additive", "careful", "destructive")
    for lower in levels[: levels.index(allow)]:
        refusal(db, wanted, allow=lower)
    assert ops(fit(db, wanted, allow=allow)) == ["retype_field"]
    assert values(db, "v") == after


def test_new_required_fields_are_filled_in_their_form() -> None:
    db = start_with(todo(field("a", optional=True)), Todo=rows("a", "x"))
    new = todo(
        field("a", optional=True),
        field("p", "decimal(2)", default="1.5"),
        field("d", "date", default=NowDefault()),
        field("l", "list(string)", default=JsonDefault("[]")),
        field("j", "json", default="text"),
    )
    fit(db, new)
    (row,) = rows_of(db, "Todo")
    assert (row["p"], row["l"], row["j"]) == ("1.50", "[]", '"text"')
    assert len(row["d"]) == len("2026-01-31")
