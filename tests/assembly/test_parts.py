"""A feature is a folder and a line: a part from outside of `pylon/` works by being listed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from pylon.codec import encode
from pylon.config import Config
from pylon.errors import ConfigError
from pylon.part import Part
from pylon.schema.parse import parse_manifest
from pylon.service import Service
from pylon.wiring import PARTS, House
from tests.assembly.greetings import GREETINGS, Greetings, greetings
from tests.http.live import live
from tests.server import ADMIN_TOKEN, bearer
from tests.sync.world import NOTES

ENVIRONMENT = {
    "PYLON_DEV_MODE": "1",
    "PYLON_ADMIN_TOKEN": ADMIN_TOKEN,
    "PYLON_GREETINGS_MAX": "2",
    "PYLON_ACCESS_LOG": "0",
}


class Running:
    """The service with the part, and clients of it."""

    def __init__(self, service: Service, url: str, ws_url: str) -> None:
        self.service, self.url, self.ws_url = service, url, ws_url

    @property
    def house(self) -> House:
        assert self.service.house is not None
        return self.service.house

    @property
    def feature(self) -> Greetings:
        return self.house.once(greetings)

    def client(self, token: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url, headers=bearer(token), trust_env=False, verify=False, timeout=60
        )

    async def token_of(self, user_id: str) -> str:
        async with self.client(ADMIN_TOKEN) as admin:
            answer = await admin.post("/api/auth/session", json={"user_id": user_id})
        token = answer.json()["token"]
        assert isinstance(token, str)
        return token


@asynccontextmanager
async def running(db: Path | None, **environment: str) -> AsyncIterator[Running]:
    manifest, problems = parse_manifest(encode(NOTES))
    assert manifest is not None, problems
    config = Config.from_env(
        {**ENVIRONMENT, **environment},
        more=GREETINGS.settings,
        in_memory=db is None,
        db_path=None if db is None else str(db),
    )
    service = Service(manifest, config, parts=(*PARTS, GREETINGS))
    async with live(service, has_lifespan=True) as server:
        yield Running(service, server.url, server.ws_url)


async def until(is_so: Any) -> None:
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_requests_meet_its_routes_stages_tables_and_settings() -> None:
    async with running(None) as app, app.client(await app.token_of("ann")) as ann:
        for text, status in (("one", 201), ("two", 201), ("three", 409)):
            answer = await ann.post("/api/greetings", json={"text": text})
            assert answer.status_code == status, answer.text
        assert (await ann.get("/api/greetings")).json() == [{"text": "one"}, {"text": "two"}]
        rude = await ann.get("/api/greetings", headers={"x-manners": "none"})
        assert (rude.status_code, rude.json()["error"]["code"]) == (403, "RUDE")
        assert "ann" in rude.text, "the stage knows the caller"
        large = await ann.post("/api/greetings", json={"text": "x", "more": "y" * 11_000_000})
        assert large.status_code == 409, "its bodies may be larger than others'"


async def test_sockets_meet_its_messages() -> None:
    async with running(None) as app:
        token = await app.token_of("ann")
        async with connect(f"{app.ws_url}/ws", additional_headers=bearer(token)) as socket:
            await socket.send('{"type": "greet", "text": "over the socket"}')
            await until(lambda: app.feature.count == 1)
        await until(lambda: "socket went" in app.feature.seen)
        assert app.feature.seen.index("socket came") < app.feature.seen.index("socket went")
        assert await app.feature.texts("ann") == [{"text": "over the socket"}]


async def test_commits_hooks_figures_and_readiness_reach_it() -> None:
    async with running(None) as app, app.client(ADMIN_TOKEN) as admin:
        answer = await admin.post("/api/entities/Note", json={"text": "quiet"})
        row = (await admin.get(f"/api/entities/Note/{answer.json()['id']}")).json()
        assert row["text"] == "QUIET"
        assert "commit heard" in app.feature.seen
        await until(lambda: app.feature.ticks > 0)
        ready = (await admin.get("/readyz")).json()
        assert ready["checks"]["greetings"] is True
        await app.feature.leave("ann", "counted")
        await until(lambda: app.feature.count == 1)
        figures = (await admin.get("/metrics", headers={"accept": "text/plain"})).text
        assert "pylon_greetings 1.0" in figures


async def test_a_person_is_exported_and_erased_with_it() -> None:
    async with running(None) as app, app.client(ADMIN_TOKEN) as admin:
        await app.feature.leave("ann", "hello")
        await app.feature.leave("bob", "hi")
        exported = (await admin.post("/api/admin/users/ann/export")).json()
        assert exported["greetings"] == [{"text": "hello"}]
        assert (await admin.delete("/api/admin/users/ann/purge")).status_code == 200
        assert await app.feature.texts("ann") == []
        assert await app.feature.texts("bob") == [{"text": "hi"}]
        assert (await admin.post("/api/__test__/reset")).status_code == 200
        assert await app.feature.texts("bob") == []


async def test_a_stop_drains_its_worker_and_then_stops_it(tmp_path: Path) -> None:
    async with running(tmp_path / "app.db") as app:
        feature = app.feature
        for number in range(50):
            feature.counted.put_nowait(str(number))
        await feature.leave("ann", "last")
    assert feature.count == 51, "what the worker had was finished"
    order = ["started", "drained", "worker drained", "stopped with 1"]
    assert [each for each in dict.fromkeys(feature.seen) if each in order] == order


async def test_members_of_ctx_are_made_for_the_house() -> None:
    async with running(None) as app:
        assert app.house.context()["greetings"]() is not None


async def test_its_settings_are_read_and_refused_like_all() -> None:
    assert Config().value(GREETINGS.settings[0]) == 3
    with pytest.raises(ConfigError, match="PYLON_GREETINGS_MAX"):
        Config.from_env({"PYLON_GREETINGS_MAX": "many"}, more=GREETINGS.settings)


def test_no_file_of_the_house_knows_it() -> None:
    root = Path(__file__).parents[2] / "pylon"
    knowing = [path for path in root.rglob("*.py") if "greeting" in path.read_text().lower()]
    assert [path.name for path in knowing if "templates" not in path.parts] == []


async def test_parts_have_names_of_their_own() -> None:
    manifest, _ = parse_manifest(encode(NOTES))
    assert manifest is not None
    twice: tuple[Part[House], ...] = (*PARTS, Part(name=PARTS[0].name))
    service = Service(manifest, Config(in_memory=True), parts=twice)
    with pytest.raises(AssertionError, match="listed twice"):
        await service.start()


def test_a_part_is_frozen() -> None:
    assert replace(GREETINGS, name="other").name == "other"
    with pytest.raises(AttributeError):
        GREETINGS.name = "other"  # type: ignore[misc]
