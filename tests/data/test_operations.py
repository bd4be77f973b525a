"""Operations of bulk requests as they are read; what they do is `tests/api/test_bulk.py`'s."""

from __future__ import annotations

from typing import Any

import pytest

from pylon.data.operations import Operation, id_of, name_of, read_operation
from pylon.errors import PylonError


def test_what_is_missing_is_empty() -> None:
    assert read_operation({"op": "insert"}) == Operation(kind="insert", entity="", data={})
    assert read_operation({"op": "delete", "entity": "Doc", "data": 7}).id == ""
    link = {"op": "link", "entity": "Doc", "id": "a", "relation": "owner", "target_id": "b"}
    assert read_operation(link) == Operation(
        kind="link", entity="Doc", id="a", data={}, relation="owner", target_id="b"
    )


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "INVALID_OPERATION"),
        ([], "INVALID_OPERATION"),
        ({}, "INVALID_OPERATION"),
        ({"op": "upsert"}, "INVALID_OPERATION"),
        ({"op": ["insert"]}, "INVALID_OPERATION"),
        ({"op": "delete", "entity": 7}, "INVALID_OPERATION"),
        ({"op": "delete", "id": None}, "INVALID_OPERATION"),
        ({"op": "update", "entity": "Doc", "id": "a", "dat": {"title": "x"}}, "INVALID_OPERATION"),
        ({"op": "insert", "entity": "Doc", "data": None}, "INVALID_DATA"),
        ({"op": "update", "entity": "Doc", "data": []}, "INVALID_DATA"),
    ],
)
def test_what_is_no_operation(value: Any, code: str) -> None:
    with pytest.raises(PylonError) as caught:
        read_operation(value)
    assert (caught.value.status, caught.value.code) == (400, code)


@pytest.mark.parametrize(
    ("value", "name", "row_id"),
    [
        ({"op": "update", "id": "a"}, "update", "a"),
        ({"op": "insert", "id": "a"}, "insert", None),
        ({"op": "x" * 500, "id": 7}, "x" * 100, None),
        ({"op": 7}, "", None),
        ("insert", "", None),
    ],
)
def test_a_line_of_the_answer_names_it(value: Any, name: str, row_id: str | None) -> None:
    assert (name_of(value), id_of(value)) == (name, row_id)
