"""Housekeeping of a whole service: soon after a start, and what it means for clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pylon import limits
from pylon.clock import ManualClock
from pylon.codec import encode
from pylon.config import Config
from pylon.schema.parse import parse_manifest
from pylon.service import Service
from tests.server import ADMIN_TOKEN
from tests.sync.networks import AsgiNetwork
from tests.sync.world import NOTES

DAY = 86_400


@asynccontextmanager
async def serving(path: Path, clock: ManualClock) -> AsyncIterator[AsgiNetwork]:
    manifest, problems = parse_manifest(encode(NOTES))
    assert manifest is not None, problems
    config = Config(db_path=str(path), admin_token=ADMIN_TOKEN, rate_limit_max=0, access_log=False)
    service = Service(manifest, config, clock=clock)
    await service.start()
    try:
        yield AsgiNetwork(service)
    finally:
        await service.stop()


async def ask(app: AsgiNetwork, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    answer = await app.request(method, path, token=ADMIN_TOKEN, body=body)
    return answer.status, answer.body


async def until(is_so: Callable[[Any], bool], app: AsgiNetwork) -> None:
    async with asyncio.timeout(30):
        while not is_so((await ask(app, "GET", "/api/sync/status"))[1]):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_start_drops_what_is_old_and_later_ones_know_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short a server lives; and a cursor from before is refused by those that follow."""
    path, clock = tmp_path / "app.db", ManualClock()
    async with serving(path, clock) as app:
        _, row = await ask(app, "POST", "/api/entities/Note", {"text": "a"})
        await ask(app, "DELETE", f"/api/entities/Note/{row['id']}")
        status, _ = await ask(app, "GET", "/api/sync/pull?since=1")
        assert status == 200
    clock.advance(31 * DAY)
    monkeypatch.setattr(limits, "UPKEEP_LOOK_SECONDS", 0.01)
    async with serving(path, clock) as app:
        await until(lambda status: status["log"]["oldest_seq"] == 2, app)
    monkeypatch.setattr(limits, "UPKEEP_LOOK_SECONDS", 1_000.0)
    async with serving(path, clock) as app:
        status, body = await ask(app, "GET", "/api/sync/pull?since=1")
        assert (status, body["error"]["code"]) == (410, "RESYNC_REQUIRED")
        status, page = await ask(app, "GET", "/api/sync/pull?since=0")
        assert (status, page["changes"]) == (200, [])
