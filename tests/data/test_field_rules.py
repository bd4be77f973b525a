"""Fields that clients never write, or only once: at every step of a transaction."""

from __future__ import annotations

from typing import Any

import pytest

from pylon.errors import PylonError
from pylon.hooks import Row, RowTx
from pylon.identity import ADMIN, Identity
from tests.sync.world import World, field, world

ANN = Identity(user_id="ann")
RULES = {
    "manifest_version": 1,
    "name": "rules",
    "version": "1",
    "routes": [],
    "entities": [
        {
            "name": "Order",
            "fields": [
                field("title", "string"),
                field("code", "string", writeOnce=True),
                field("state", "string", serverSet=True, default="new"),
                field("count", "int", serverSet=True),
            ],
            "indexes": [],
        }
    ],
    "policies": [],
}


async def refusal(work: Any) -> str:
    with pytest.raises(PylonError) as caught:
        await work
    assert (caught.value.status, caught.value.code) == (400, "INVALID_COLUMN")
    return caught.value.message


async def inserted(app: World, data: dict[str, Any]) -> dict[str, Any]:
    return await app.rows.insert(ANN, "Order", data)


async def test_clients_never_write_a_readonly_field() -> None:
    async with world(RULES) as app:
        message = await refusal(app.rows.insert(ANN, "Order", {"title": "a", "state": "paid"}))
        assert message == '"state" of Order is set by the server only.'
        row = await inserted(app, {"title": "a"})
        assert (row["state"], row["count"]) == ("new", None)
        for patch in ({"state": "paid"}, {"title": "b", "count": 1}, {"state": None}):
            await refusal(app.rows.update(ANN, "Order", row["id"], patch))
        assert await app.rows.get(ANN, "Order", row["id"]) == row


async def test_clients_write_a_write_once_field_at_insert_only() -> None:
    async with world(RULES) as app:
        row = await inserted(app, {"title": "a", "code": "x"})
        message = await refusal(app.rows.update(ANN, "Order", row["id"], {"code": "y"}))
        assert message == '"code" of Order is given at insert and cannot be changed.'
        await refusal(app.rows.update(ANN, "Order", row["id"], {"code": None}))
        empty = await inserted(app, {"title": "b"})
        await refusal(app.rows.update(ANN, "Order", empty["id"], {"code": "y"}))


async def test_a_whole_row_sent_back_changes_what_it_may() -> None:
    async with world(RULES) as app:
        row = await inserted(app, {"title": "a", "code": "x"})
        after = await app.rows.update(ANN, "Order", row["id"], {**row, "title": "b"})
        assert after == {**row, "title": "b"}


async def test_administrators_trusted_code_and_hooks_may_write_them() -> None:
    async with world(RULES) as app:
        row = await app.rows.insert(ADMIN, "Order", {"state": "paid", "code": "x"})
        assert row["state"] == "paid"
        await app.rows.update(ADMIN, "Order", row["id"], {"code": "y"})

        async def count(
            _tx: RowTx, _who: Identity, _entity: str, _before: Row | None, patch: Row
        ) -> None:
            patch["count"] = 7

        app.rows.hooks.before_update.append(count)
        after = await app.rows.update(ANN, "Order", row["id"], {"title": "b"})
        assert (after["count"], after["code"]) == (7, "y")
        trusted = await app.rows.write(
            ANN, lambda tx: tx.update("Order", row["id"], {"state": "sent"}), trusted=True
        )
        assert trusted["state"] == "sent"
