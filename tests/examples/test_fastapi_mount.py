"""A Pylon app below a prefix of a FastAPI app: rows, live events and the lifespan work."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from pylon import codec
from tests.examples.served import EXAMPLES


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example, freshly imported, with its data in a folder of its own."""
    monkeypatch.setenv("PYLON_DEV_MODE", "1")
    monkeypatch.setenv("PYLON_DB_PATH", str(tmp_path / "notes.db"))
    spec = importlib.util.spec_from_file_location(
        "fastapi_mount_example", EXAMPLES / "fastapi_mount" / "app.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def served(example: ModuleType) -> AsyncIterator[str]:
    """The outer app under plain uvicorn, not under our server; its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(example.api, log_level="error", ws="websockets-sansio"))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        async with asyncio.timeout(60):
            while not server.started:  # noqa: ASYNC110 (uvicorn tells nobody)
                await asyncio.sleep(0.01)
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listening.close()


async def sign_in(client: httpx.AsyncClient) -> str:
    """A guest's token, which the client sends from now on."""
    token: str = (await client.post("/live/api/auth/guest")).json()["token"]
    client.headers["Authorization"] = f"Bearer {token}"
    return token


async def test_rest_and_the_outer_routes_work_side_by_side(example: ModuleType) -> None:
    transport = httpx.ASGITransport(example.api)
    async with (
        example.api.router.lifespan_context(example.api),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        assert (await client.get("/hello")).json() == {"hello": "from FastAPI"}
        await sign_in(client)
        made = await client.post("/live/api/entities/Note", json={"text": "hi"})
        assert made.status_code == 201, made.text
        row = await client.get(f"/live/api/entities/Note/{made.json()['id']}")
        assert row.json()["text"] == "hi"
        missing = await client.get("/live/api/nothing")
        assert missing.status_code == 404
        assert missing.json()["error"]["code"] == "NOT_FOUND"


async def test_live_events_and_restarts_work_under_another_server(example: ModuleType) -> None:
    async with served(example) as address:
        async with httpx.AsyncClient(base_url=f"http://{address}") as client:
            token = await sign_in(client)
            async with connect(
                f"ws://{address}/live/ws",
                subprotocols=[Subprotocol(f"bearer.{token}")],
                proxy=None,
            ) as live:
                await client.post("/live/api/entities/Note", json={"text": "seen"})
                async with asyncio.timeout(60):
                    event = codec.decode_trusted(await live.recv())
        assert event["entity"] == "Note"
        assert event["data"]["text"] == "seen"

    async with served(example) as address, httpx.AsyncClient(base_url=f"http://{address}") as again:
        again.headers["Authorization"] = f"Bearer {token}"
        rows = (await again.get("/live/api/entities/Note")).json()["data"]
        assert [row["text"] for row in rows] == ["seen"]


async def test_a_mounted_app_starts_with_its_first_request_when_nobody_starts_it(
    example: ModuleType,
) -> None:
    transport = httpx.ASGITransport(example.api)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        await sign_in(client)
        assert (await client.get("/live/api/entities/Note")).json()["data"] == []
    async with example.pylon_app.lifespan():
        pass
