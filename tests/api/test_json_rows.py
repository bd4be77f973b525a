"""The bound on all JSON of a row, over HTTP: it holds for the row that an update makes, too."""

from __future__ import annotations

import httpx

from pylon.limits import JSON_FIELD_BYTES_MAX
from tests.api.test_openapi import started
from tests.blackbox.holds_app import app

LARGE = [7] * (JSON_FIELD_BYTES_MAX // 2 - 1)


async def test_updates_cannot_add_up_to_more_than_one_row_may_have() -> None:
    async with started(app) as service:
        transport = httpx.ASGITransport(service)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            guest = (await client.post("/api/auth/guest")).json()["token"]
            client.headers["authorization"] = f"Bearer {guest}"
            made = await client.post("/api/entities/Bag", json={"a": LARGE})
            path = f"/api/entities/Bag/{made.json()['id']}"
            for name in "bcdefgh":
                assert (await client.patch(path, json={name: LARGE})).status_code == 200
            refused = await client.patch(path, json={"numbers": LARGE[:9_999]})
            assert refused.status_code == 400
            error = refused.json()["error"]
            assert error["code"] == "INVALID_VALUE"
            assert [(f["field"], f["code"]) for f in error["fields"]] == [("numbers", "TOO_LARGE")]
            fewer = {"b": None, "numbers": [1.5]}
            assert (await client.patch(path, json=fewer)).status_code == 200
            row = (await client.get(path)).json()
    assert (row["a"], row["b"], row["numbers"]) == (LARGE, None, [1.5])
