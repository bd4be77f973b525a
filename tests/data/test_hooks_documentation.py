"""The examples of docs/hooks.md run, and do what the page says."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from pylon import App
from pylon.config import Config
from tests.server import ADMIN_TOKEN, bearer

PAGE = Path(__file__).parents[2] / "docs" / "hooks.md"


@pytest.fixture
def example() -> Iterator[ModuleType]:
    """All Python of the page as one module."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    module = ModuleType("hooks_page")
    sys.modules[module.__name__] = module  # where annotations are looked up
    exec(compile("\n".join(blocks), str(PAGE), "exec"), vars(module))
    yield module
    del sys.modules[module.__name__]


async def test_the_page_says_how_it_is(example: ModuleType) -> None:
    app: App = example.app
    service = app.service(Config(in_memory=True, dev_mode=True, admin_token=ADMIN_TOKEN))
    await service.start()
    transport = httpx.ASGITransport(service)
    orders = "/api/entities/Order"
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        client.headers["authorization"] = (
            f"Bearer {(await client.post('/api/auth/guest')).json()['token']}"
        )

        async def row(row_id: str, token: str | None = None) -> dict[str, Any]:
            headers = {} if token is None else bearer(token)
            found: dict[str, Any] = (await client.get(f"{orders}/{row_id}", headers=headers)).json()
            return found

        refused = await client.post(orders, json={"title": "a", "total": -1})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "TOTAL_NEGATIVE")
        made = await client.post(orders, json={"title": " a ", "total": 1_234})
        row_id = made.json()["id"]
        assert (await row(row_id))["title"] == "a"
        assert (await row(row_id))["total"] == 1_200
        assert (await row(row_id, ADMIN_TOKEN))["total"] == 1_234
        journal = await client.get("/api/entities/Journal", headers=bearer(ADMIN_TOKEN))
        assert [each["what"] for each in journal.json()["data"]] == ["order of 1234"]
        while (await row(row_id))["state"] != "mailed":  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        assert [title for _, title in example.sent] == ["a"]
        ann = {"user_id": "ann"}
        await client.post("/api/auth/session", json=ann, headers=bearer(ADMIN_TOKEN))
        while not example.signed_in:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        assert example.signed_in == ["ann"], "guests do not count"
        closed = await client.get(orders, headers={"x-closed": "1"})
        assert (closed.status_code, closed.json()["error"]["code"]) == (503, "CLOSED")
    await service.stop()
