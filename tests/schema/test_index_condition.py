"""Conditions of partial indexes: what is read, what is refused by name, and the SQL they become."""

from __future__ import annotations

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.limits import INDEX_CONDITION_CHARACTERS_MAX, INDEX_CONDITION_DEPTH_MAX
from pylon.schema.index_condition import (
    Compare,
    Condition,
    ConditionError,
    IsNull,
    Joined,
    Not,
    condition_sql,
    named_fields,
    problems,
    read_condition,
)
from pylon.schema.model import FieldSpec


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("plan = 'hobby'", "\"plan\" = 'hobby'"),
        ("\"plan\"=='it''s'", "\"plan\" = 'it''s'"),
        ("n != 3", '"n" <> 3'),
        ("n>=-3 and n < 2.5", '"n" >= -3 AND "n" < 2.5'),
        ("done = false", '"done" = 0'),
        ("gone is null or gone IS NOT NULL", '"gone" IS NULL OR "gone" IS NOT NULL'),
        ("a = 1 OR b = 2 AND c = 3", '"a" = 1 OR ("b" = 2 AND "c" = 3)'),
        ("(a = 1 OR b = 2) AND NOT c = 3", '("a" = 1 OR "b" = 2) AND NOT ("c" = 3)'),
        ("k IN ('a','b')", "\"k\" IN ('a', 'b')"),
        ("k NOT IN (1, 2)", 'NOT ("k" IN (1, 2))'),
        ("k IN (1)", '"k" = 1'),
    ],
)
def test_what_is_read_and_written(text: str, sql: str) -> None:
    assert condition_sql(read_condition(text)) == sql


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("lower(plan) = 'x'", "calls lower()"),
        ("plan = lower('x')", "calls lower()"),
        ("plan LIKE 'a%'", "uses LIKE"),
        ("n BETWEEN 1 AND 2", "uses BETWEEN"),
        ("EXISTS (SELECT 1)", "calls EXISTS()"),
        ("CASE WHEN n = 1 THEN 1 END", "uses CASE"),
        ("a = b", "compares with b, which is no literal"),
        ('a = "b"', 'compares with "b", which is no literal'),
        ("a = NULL", "compares with NULL"),
        ("a", "ends too early"),
        ("a = 1; DROP TABLE x", "has ; where it makes no sense"),
        ("a = 1 -- x", "has - where it makes no sense"),
        ("a = 1 b", "has b where it makes no sense"),
        ("a + 1 = 2", "has + where it makes no sense"),
        ("1 = 1", "has 1 where it makes no sense"),
        ("(a = 1", "ends too early"),
        ("a IS 1", "has 1 where it makes no sense"),
        ("a = 99999999999999999999", "does not fit 64 bits"),
        ("a = 1e999", "does not fit 64 bits"),
        ("a = 'x\0'", "has a character (NUL)"),
        ("a = 'x", "has ' where it makes no sense"),
        ("NOT " * (INDEX_CONDITION_DEPTH_MAX + 1) + "a = 1", "is nested too deeply"),
        ("a" * (INDEX_CONDITION_CHARACTERS_MAX + 1), "characters; at most"),
    ],
)
def test_other_sql_is_refused_by_name(text: str, told: str) -> None:
    with pytest.raises(ConditionError) as caught:
        read_condition(text)
    assert told in caught.value.message


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        condition = read_condition(text)
    except ConditionError:
        return
    assert read_condition(condition_sql(condition)) is not None


names = st.sampled_from(["a", "b c", 'q"t', "select"])
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)
values = st.integers(-(2**63), 2**63 - 1) | st.floats(-1e18, 1e18) | texts
leaves: st.SearchStrategy[Condition] = st.builds(
    Compare, names, st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), st.tuples(values)
) | st.builds(IsNull, names)
conditions = st.recursive(
    leaves,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(Joined, st.sampled_from(["AND", "OR"]), st.tuples(inner, inner))
    ),
    max_leaves=6,
)


@given(conditions)
def test_the_sql_says_the_same_when_it_is_read_again_and_sqlite_takes_it(
    condition: Condition,
) -> None:
    sql = condition_sql(condition)
    again = condition_sql(read_condition(sql))
    assert read_condition(again) == read_condition(sql)
    assert named_fields(read_condition(sql)) == named_fields(condition)
    connection = apsw.Connection(":memory:")
    connection.execute('CREATE TABLE t ("a", "b c", "q""t", "select")')
    connection.execute(f"CREATE INDEX i ON t (a) WHERE {sql}")


def test_fields_must_exist_and_literals_fit() -> None:
    fields = {
        "plan": FieldSpec(name="plan", type="string"),
        "done": FieldSpec(name="done", type="bool"),
        "n": FieldSpec(name="n", type="int"),
    }

    def told(text: str) -> list[str]:
        return list(problems(read_condition(text), fields))

    assert told("plan = 'x' AND done = true AND done = 1 AND n > 3") == []
    assert told("plna = 'x'") == ['looks at "plna", which is no field of the entity']
    assert told("n = '3' OR plan IN (1, 'x')") == [
        "compares n, which is of type int, with '3'",
        "compares plan, which is of type string, with 1",
    ]
    assert told("done = 2 AND n = 1.5") == [
        "compares done, which is of type bool, with 2",
        "compares n, which is of type int, with 1.5",
    ]
