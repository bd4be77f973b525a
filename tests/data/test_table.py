"""One entity as the data core uses it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from pylon.data.table import Table
from pylon.errors import PylonError
from pylon.identity import Identity
from pylon.schema.model import AuthDefault, EntitySpec, FieldSpec, NowDefault

TABLE = Table(
    EntitySpec(
        name="Todo",
        fields=(
            FieldSpec(name="title", type="string"),
            FieldSpec(name="done", type="bool", default=False),
            FieldSpec(name="n", type="int", optional=True),
            FieldSpec(name="ownerId", type="string", optional=True, default=AuthDefault("userId")),
            FieldSpec(name="orgId", type="string", optional=True, default=AuthDefault("tenantId")),
            FieldSpec(name="at", type="datetime", default=NowDefault()),
            FieldSpec(name="secret", type="string", optional=True, private=True),
        ),
    )
)
STORED = ("1", "t", 1, None, "ann", None, "2026-01-01", "s")


def refusal(work: Any) -> PylonError:
    with pytest.raises(PylonError) as refused:
        work()
    assert refused.value.status == 400
    return refused.value


def test_rows_come_out_with_the_types_of_the_schema() -> None:
    row = TABLE.decode(STORED)
    assert list(row) == ["id", "title", "done", "n", "ownerId", "orgId", "at", "secret"]
    assert row["done"] is True
    assert row["n"] is None
    assert TABLE.decode((*STORED[:2], 0, *STORED[3:]))["done"] is False
    assert TABLE.decode((*STORED[:2], None, *STORED[3:]))["done"] is None


def test_private_fields_are_for_administrators() -> None:
    assert "secret" not in TABLE.decode_public(STORED)
    plain = Table(EntitySpec(name="Plain", fields=(FieldSpec(name="a", type="string"),)))
    assert plain.decode_public is plain.decode


def test_defaults_fill_what_was_left_out() -> None:
    data: dict[str, Any] = {"title": "t", "n": None}
    TABLE.fill_defaults(data, Identity(user_id="ann", tenant_id="acme"), "now")
    assert data == {
        "title": "t",
        "n": None,
        "done": False,
        "ownerId": "ann",
        "orgId": "acme",
        "at": "now",
    }
    data = {"title": "t", "ownerId": None}
    TABLE.fill_defaults(data, Identity(user_id="ann"), "now")
    assert (data["ownerId"], data["orgId"]) == (None, None)


def test_keys_and_values() -> None:
    TABLE.check_keys({"id": "x", "title": 1}, trusted=False)
    TABLE.check_keys({"secret": "x"}, trusted=True)
    assert TABLE.check_values({"id": "x", "done": 1, "n": None}) == {"done": True, "n": None}
    shapeless: tuple[object, ...] = ([], "x", None, 1)
    for value in shapeless:
        refused = refusal(partial(TABLE.check_keys, value, trusted=True))
        assert refused.code == "INVALID_DATA"
    misspelt = refusal(lambda: TABLE.check_keys({"titel": 1}, trusted=False))
    assert (misspelt.code, misspelt.hint) == ("INVALID_COLUMN", 'Did you mean "title"?')
    many = refusal(partial(TABLE.check_keys, {f"titl{n}": 1 for n in range(100_000)}, trusted=True))
    assert [fault["field"] for fault in many.extra["fields"]] == [f"titl{n}" for n in range(20)]
    assert many.message.endswith(" 99980 more fields are wrong.")
    assert many.hint == 'Did you mean "title"?'
    private = refusal(lambda: TABLE.check_keys({"secret": 1}, trusted=False))
    assert private.code == "INVALID_COLUMN"
    wrong = refusal(lambda: TABLE.check_values({"n": "x"}))
    assert (wrong.code, wrong.message) == ("INVALID_DATA", "Todo.n must be an integer.")


def test_required_fields() -> None:
    TABLE.check_required({"title": "", "done": False, "at": "now"}, "INSERT_FAILED")
    missing = refusal(lambda: TABLE.check_required({"title": None}, "UPDATE_FAILED"))
    assert missing.code == "UPDATE_FAILED"
    assert missing.message.endswith("title, done, at.")


def test_names_are_quoted_in_statements() -> None:
    table = Table(EntitySpec(name="order", fields=(FieldSpec(name="group", type="string"),)))
    assert table.update(("group",)) == 'UPDATE "order" SET "group" = ? WHERE id = ?'
    assert table.update(("group",)) is table.update(("group",))
    assert '"order"' in table.select_one
