"""`GET /api/auth/session`: who asks, and their row of the users as its owner may see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from pylon.clock import ManualClock
from pylon.codec import encode
from pylon.config import Config
from pylon.schema.parse import parse_manifest
from pylon.service import Service
from tests.server import ADMIN_TOKEN, bearer

OWN = "data.id == auth.userId"


def manifest(user: str = "User", *, read: str = OWN) -> dict[str, Any]:
    fields = [
        {"name": "email", "type": "string", "optional": False, "unique": True},
        {"name": "secret", "type": "string", "optional": True, "unique": False, "private": True},
        {"name": "passwordHash", "type": "string", "optional": True, "unique": False},
    ]
    found: dict[str, Any] = {
        "manifest_version": 1,
        "name": "people",
        "version": "1",
        "routes": [],
        "queries": [],
        "actions": [],
        "entities": [{"name": user, "fields": fields, "indexes": [], "relations": []}],
        "policies": [{"name": "own", "entity": user, "allowRead": read, "allowInsert": "false"}],
    }
    return found if user == "User" else {**found, "auth": {"user": user}}


@asynccontextmanager
async def client(shape: dict[str, Any]) -> AsyncIterator[httpx.AsyncClient]:
    parsed, problems = parse_manifest(encode(shape))
    assert parsed is not None, problems
    config = Config(in_memory=True, admin_token=ADMIN_TOKEN, access_log=False)
    service = Service(parsed, config, clock=ManualClock())
    await service.start()
    try:
        transport = httpx.ASGITransport(service)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as made:
            yield made
    finally:
        await service.stop()


async def session_of(client: httpx.AsyncClient, token: str | None) -> dict[str, Any]:
    answer = await client.get("/api/auth/session", headers=bearer(token))
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def mint(client: httpx.AsyncClient, user_id: str) -> str:
    answer = await client.post(
        "/api/auth/session", json={"user_id": user_id}, headers=bearer(ADMIN_TOKEN)
    )
    token: str = answer.json()["token"]
    return token


@pytest.mark.parametrize("entity", ["User", "Account"])
async def test_the_row_of_the_user_without_what_is_private(entity: str) -> None:
    async with client(manifest(entity)) as http:
        row = {"email": "ann@example.com", "secret": "s", "passwordHash": "h"}
        made = await http.post(f"/api/entities/{entity}", json=row, headers=bearer(ADMIN_TOKEN))
        user_id = made.json()["id"]
        token = await mint(http, user_id)
        found = await session_of(http, token)
        assert found["user"] == {"id": user_id, "email": "ann@example.com"}
        assert found["session"] == {"user_id": user_id, "is_admin": False, "roles": []}
        await http.delete(f"/api/entities/{entity}/{user_id}", headers=bearer(ADMIN_TOKEN))
        assert (await session_of(http, token))["user"] is None


async def test_nobody_else_has_one() -> None:
    async with client(manifest()) as http:
        guest = (await http.post("/api/auth/guest")).json()["token"]
        for token in (None, "nonsense", guest, ADMIN_TOKEN, await mint(http, "nobody")):
            assert (await session_of(http, token))["user"] is None


async def test_a_row_that_its_owner_may_not_read_stays_hidden() -> None:
    async with client(manifest(read="false")) as http:
        made = await http.post(
            "/api/entities/User", json={"email": "a@b.c"}, headers=bearer(ADMIN_TOKEN)
        )
        assert (await session_of(http, await mint(http, made.json()["id"])))["user"] is None
