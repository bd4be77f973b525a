"""`/readyz` asks all parts: what each says, and why."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from pylon import limits
from pylon.codec import encode
from pylon.config import Config
from pylon.part import Part
from pylon.schema.parse import parse_manifest
from pylon.service import Service
from pylon.wiring import PARTS, House
from tests.http.live import live
from tests.server import ADMIN_TOKEN, bearer
from tests.sync.world import NOTES

EVERY = {"database", "schema", "functions", "sessions", "feed"}


async def ask(*parts: Part[House]) -> tuple[httpx.Response, str]:
    """The answer of a service with these parts in addition, and its metrics."""
    manifest, _ = parse_manifest(encode(NOTES))
    assert manifest is not None
    environment = {
        "PYLON_DEV_MODE": "1",
        "PYLON_ADMIN_TOKEN": ADMIN_TOKEN,
        "PYLON_IN_MEMORY": "1",
        "PYLON_SESSION_IN_MEMORY": "1",
    }
    service = Service(manifest, Config.from_env(environment).validate(), parts=(*PARTS, *parts))
    async with (
        live(service, has_lifespan=True) as server,
        httpx.AsyncClient(base_url=server.url, headers=bearer(ADMIN_TOKEN)) as client,
    ):
        metrics = await client.get("/metrics", headers={"accept": "text/plain"})
        return await client.get("/readyz"), metrics.text


async def test_all_is_well() -> None:
    ready, metrics = await ask()
    assert ready.status_code == 200
    assert ready.json() == {"status": "ok", "checks": dict.fromkeys(EVERY, True)}
    for name in EVERY:
        assert f'pylon_ready{{check="{name}"}} 1.0' in metrics


async def test_one_that_is_not_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FEED_SECONDS_MAX", -1.0)
    ready, metrics = await ask()
    assert ready.status_code == 503
    assert ready.json() == {
        "status": "unavailable",
        "checks": {**dict.fromkeys(EVERY, True), "feed": False},
        "reasons": {"feed": "BEHIND"},
    }
    assert 'pylon_ready{check="feed"} 0.0' in metrics


async def test_a_part_says_for_itself_with_a_reason_or_without() -> None:
    mail = Part[House](name="mail", ready=lambda _: {"mail": "NO_SERVER", "queue": False})
    fine = replace(mail, name="fine", ready=lambda _: {"fine": True})
    ready, _ = await ask(mail, fine)
    body = ready.json()
    assert (ready.status_code, body["status"]) == (503, "unavailable")
    not_ready = {name for name, is_ready in body["checks"].items() if not is_ready}
    assert not_ready == {"mail", "queue"}
    assert body["checks"]["fine"] is True
    assert body["reasons"] == {"mail": "NO_SERVER"}
