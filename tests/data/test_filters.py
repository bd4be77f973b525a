"""The filter grammar: what it refuses and how, and SQL text that depends on the shape only."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.data.conditions import EVERYTHING, NOTHING, All, Finds, Search, compile_condition
from pylon.data.filters import META_KEYS, Columns, parse, parse_condition
from pylon.data.operators import OPERATORS
from pylon.errors import PylonError
from pylon.store.base import Value
from pylon.store.search_query import Phrase, Piece, Words
from pylon.store.sqlite.dialect import SQLITE
from tests.policy.worlds import effort

COLUMNS = Columns(
    "Todo",
    {
        "id": "string",
        "title": "string",
        "rank": "int",
        "score": "float",
        "done": "bool",
        "dueAt": "datetime",
    },
    ("title", "note"),
)


def refused(body: object) -> PylonError:
    with pytest.raises(PylonError) as caught:
        parse(body, COLUMNS)
    assert caught.value.status == 400
    return caught.value


def sql(body: object) -> tuple[str | None, list[Value]]:
    params: list[Value] = []
    return compile_condition(parse_condition(body, COLUMNS), SQLITE, params), params


@pytest.mark.parametrize(
    ("body", "code", "hint"),
    [
        ({"titel": 1}, "INVALID_COLUMN", "title"),
        ({"$lmit": 1}, "INVALID_COLUMN", "$limit"),
        ({"$gt": 1}, "INVALID_COLUMN", '{"field": {"$gt": ..}}'),
        ({"$order": {"titel": "asc"}}, "INVALID_COLUMN", "title"),
        ({"$after": {"titel": 1}}, "INVALID_COLUMN", "title"),
        ({"title": {"$lik": "x"}}, "INVALID_QUERY", "$like"),
        ({"title": ["a"]}, "INVALID_QUERY", "$in"),
        ({"title": {"$foo": "x"}}, "INVALID_QUERY", "Known: $eq"),
        ({"zzz": 1}, "INVALID_COLUMN", "Known: "),
        ({"where": {}}, "INVALID_COLUMN", "the filter itself"),
        ({"limit": 1}, "INVALID_COLUMN", '"$limit"'),
        ({"$order": "title"}, "INVALID_QUERY", "asc"),
        ({"title": {}}, "INVALID_QUERY", '"title"'),
        ({"title": {"$not": {}}}, "INVALID_QUERY", '"title"'),
        ({"$not": {"title": {}}}, "INVALID_QUERY", '"title"'),
        ({"$or": [{"title": {}}]}, "INVALID_QUERY", '"title"'),
    ],
)
def test_a_mistake_is_named_with_what_was_likely_meant(body: object, code: str, hint: str) -> None:
    error = refused(body)
    assert error.code == code
    assert error.hint is not None
    assert hint in error.hint


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "x",
        {"title": 1},
        {"title": True},
        {"rank": "1"},
        {"rank": True},
        {"score": "1"},
        {"done": "true"},
        {"done": 2},
        {"dueAt": 5},
        {"done": {"$gt": False}},
        {"rank": {"$gt": None}},
        {"rank": {"$like": "1"}},
        {"title": {"$like": 1}},
        {"title": {"$like": "x" * (limits.QUERY_PATTERN_CHARACTERS_MAX + 1)}},
        {"title": {"$contains": "x" * (limits.QUERY_PATTERN_CHARACTERS_MAX + 1)}},
        {"title": {"$like": "x" * limits.QUERY_LIKE_CHARACTERS_MAX + "_"}},
        {"title": {"$startsWith": None}},
        {"title": {"$in": "a"}},
        {"title": {"$in": [1]}},
        {"title": {"$in": ["x"] * (limits.QUERY_VALUES_MAX + 1)}},
        {"title": {"$exists": 1}},
        {"title": {"$eq": {"a": 1}}},
        {"title": {"title": "x"}},
        {"$and": {"title": "x"}},
        {"$or": ["x"]},
        {"$not": []},
        {"$or": [{"$limit": 1}]},
        {"$or": [{"$search": "x"}]},
        {"$order": "title"},
        {"$order": ["title"]},
        {"$order": {"title": "up"}},
        {"$order": {"title": ["asc"]}},
        {"$limit": -1},
        {"$limit": 1.0},
        {"$limit": True},
        {"$limit": "1"},
        {"$limit": 2**63},
        {"$offset": None},
        {"$search": 1},
        {"$after": "x"},
        {"$and": [{"title": "x"}] * (limits.QUERY_TERMS_MAX + 1)},
    ],
)
def test_what_is_not_understood_is_refused(body: object) -> None:
    assert refused(body).code == "INVALID_QUERY"


def test_nesting_is_bounded() -> None:
    deep: Any = {"title": "x"}
    for _ in range(limits.QUERY_DEPTH_MAX):
        deep = {"$not": deep}
    parse(deep, COLUMNS)
    assert "nested" in refused({"$not": deep}).message
    inner: Any = {"$eq": "x"}
    for _ in range(limits.QUERY_DEPTH_MAX + 1):
        inner = {"$not": inner}
    assert "nested" in refused({"title": inner}).message


def test_filters_that_ask_for_nothing_are_bounded_too() -> None:
    """Each stands in the statement, and SQLite refuses too many."""
    parse({"$or": [{}] * (limits.QUERY_TERMS_MAX - 1)}, COLUMNS)
    empty: list[dict[str, Any]] = [{}]
    for many in ({"$and": empty * 10_000}, {"$or": [{"$or": empty * 100}] * 100}):
        assert "conditions" in refused(many).message


def test_equal_shapes_give_equal_text_whatever_the_values() -> None:
    one = {"title": "a", "rank": {"$in": [1, 2], "$gt": 1}, "$or": [{"title": {"$like": "x"}}]}
    two = {"title": "b", "rank": {"$in": [7], "$gt": 2.5}, "$or": [{"title": {"$like": "%"}}]}
    assert sql(one)[0] == sql(two)[0]
    assert "'a'" not in str(sql(one)[0])


def patterns(operator: str, text: str, count: int) -> object:
    return {"$or": [{"title": {operator: text}}] * count}


def test_what_one_filter_looks_for_is_bounded_in_all() -> None:
    wild = "x_" * (limits.QUERY_LIKE_CHARACTERS_MAX // 2)
    fit = limits.QUERY_LIKES_CHARACTERS_MAX // len(wild)
    text, _ = sql(patterns("$like", wild, fit))
    assert str(text).count("LIKE") == fit
    assert refused(patterns("$like", wild, fit + 1)).code == "INVALID_QUERY"
    # Without a wildcard there is another way, which takes more.
    plain = "X" * limits.QUERY_LIKE_CHARACTERS_MAX
    text, params = sql(patterns("$like", plain, fit + 1))
    assert str(text).count("LIKE") == fit
    assert params[-1] == plain.lower()
    contained = "x" * limits.QUERY_PATTERN_CHARACTERS_MAX
    fit = limits.QUERY_PATTERNS_CHARACTERS_MAX // len(contained)
    sql(patterns("$contains", contained, fit))
    assert refused(patterns("$contains", contained, fit + 1)).code == "INVALID_QUERY"
    assert refused({"$not": patterns("$like", contained, fit + 1)}).code == "INVALID_QUERY"


def test_a_long_list_is_one_bound_value() -> None:
    text, params = sql({"rank": {"$in": list(range(limits.QUERY_VALUES_MAX))}})
    assert text == 't."rank" IN (SELECT value FROM json_each(?))'
    assert len(params) == 1


def like(pattern: str) -> tuple[str, list[Value]]:
    """The condition on the title that matches a pattern."""
    text, values = SQLITE.like('t."title"', pattern)
    return text, list(values)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (None, [])),
        ({"title": None}, ('t."title" IS NULL', [])),
        ({"title": {"$not": None}}, ('t."title" IS NOT NULL', [])),
        ({"title": {"$in": []}}, ("1 = 0", [])),
        ({"title": {"$nin": []}}, (None, [])),
        ({"$or": []}, ("1 = 0", [])),
        ({"$and": []}, (None, [])),
        ({"done": 1}, ('t."done" = ?', [True])),
        ({"score": 3}, ('t."score" = ?', [3.0])),
        ({"rank": 3.0}, ('t."rank" = ?', [3])),
        ({"rank": {"$lt": 2**70}}, ('t."rank" IS NOT NULL', [])),
        ({"rank": {"$gte": 2**70}}, ("1 = 0", [])),
        ({"rank": {"$gte": -(2**70)}}, ('t."rank" IS NOT NULL', [])),
        ({"rank": {"$ne": 2.5}}, ('t."rank" IS NOT NULL', [])),
        ({"rank": 2.5}, ("1 = 0", [])),
        ({"rank": {"$in": [2.5, 3.0, 1e300]}}, (
            't."rank" IN (SELECT value FROM json_each(?))', ["[3]"])),
        ({"rank": {"$gt": -2.5}}, ('t."rank" > ?', [-3])),
        ({"rank": {"$gte": 2.5}}, ('t."rank" >= ?', [3])),
        ({"rank": {"$lt": 2.5}}, ('t."rank" < ?', [3])),
        ({"rank": {"$lte": -2.5}}, ('t."rank" <= ?', [-3])),
        ({"title": {"$like": r"5\% \_ \\ \x %"}}, like(r"%5\% \_ \\ \\x %%")),
        ({"title": {"$like": "\\"}}, like(r"%\\%")),
        ({"title": {"$like": r"É\%A" * 40}}, (
            'instr(lower(t."title"), ?) > 0', ["É%a" * 40])),
        ({"title": {"$startsWith": "ab"}}, ('(t."title" >= ? AND t."title" < ?)', ["ab", "ac"])),
        ({"title": {"$startsWith": "a\ud7ff"}}, (
            '(t."title" >= ? AND t."title" < ?)', ["a\ud7ff", "a\ue000"])),
        ({"title": {"$startsWith": "\U0010ffff"}}, ('t."title" >= ?', ["\U0010ffff"])),
    ],
)  # fmt: skip
def test_conditions_become_sql(body: object, expected: tuple[str | None, list[Value]]) -> None:
    assert sql(body) == expected


def test_a_search_without_an_index_looks_into_every_text() -> None:
    query = parse({"$search": 'milk "50% off"'}, COLUMNS)
    indexed = parse(
        {"$search": 'milk "50% off"'}, msgspec.structs.replace(COLUMNS, is_indexed=True)
    )
    assert indexed.search is not None
    assert query.condition == All((Finds(indexed.search.query, COLUMNS.texts, COLUMNS.texts),))
    params: list[Value] = []
    found = compile_condition(query.condition, SQLITE, params)
    assert found is not None
    assert all(f't."{name}"' in found for name in COLUMNS.texts)
    assert len(params) == 1
    assert query.search is None
    assert parse({"$search": "  "}, COLUMNS).condition == EVERYTHING


def test_a_search_asks_the_index_that_covers_the_texts() -> None:
    columns = msgspec.structs.replace(COLUMNS, is_indexed=True)
    query = parse({"$search": "red mil"}, columns)
    assert query.condition == EVERYTHING
    assert query.search == Search(
        "Todo", Words((Phrase((Piece("red"),)), Phrase((Piece("mil", is_prefix=True),))))
    )
    params: list[Value] = []
    found = compile_condition(query.search, SQLITE, params)
    assert found is not None
    assert found.startswith("t.id IN (SELECT")
    assert params == ['"red" "mil" *']
    assert parse({"$search": "!?"}, columns).condition == NOTHING


@pytest.mark.parametrize("body", [{"$search": 1}, {"$search": "x", "$after": {"id": "a"}}])
def test_searches_that_mean_nothing(body: object) -> None:
    with pytest.raises(PylonError) as caught:
        parse(body, COLUMNS)
    assert caught.value.code == "INVALID_QUERY"


# --- anything that JSON can say --------------------------------------------------------------

_KEYS = st.sampled_from([*COLUMNS.kinds, *META_KEYS, *OPERATORS, "$and", "$or", "$where", ""])
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=4)
    | st.sampled_from(["asc", "desc", "x"])
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_KEYS | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=25,
)


@effort(500)
@given(body=st.dictionaries(_KEYS, _JSON, max_size=5) | _JSON)
def test_no_json_gets_through_but_as_a_filter_or_an_error_of_400(body: object) -> None:
    try:
        query = parse(body, COLUMNS)
        params: list[Value] = []
        compile_condition(query.condition, SQLITE, params)
    except PylonError as error:
        assert error.status == 400  # noqa: PT017 - both ways are fine
        assert error.code in ("INVALID_QUERY", "INVALID_COLUMN")  # noqa: PT017
    else:
        assert all(isinstance(value, str | int | float | None) for value in params)
