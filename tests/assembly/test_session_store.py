"""Where sessions are kept: with the rows, in a file of their own, in memory."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from pylon.codec import decode, encode
from pylon.config import Config
from pylon.errors import ConfigError
from pylon.schema.parse import parse_manifest
from pylon.service import Service
from pylon.wiring import House
from tests.http.live import live
from tests.server import ADMIN_TOKEN, bearer
from tests.sync.world import NOTES

ENVIRONMENT = {
    "PYLON_DEV_MODE": "1",
    "PYLON_ADMIN_TOKEN": ADMIN_TOKEN,
    "PYLON_ACCESS_LOG": "0",
    "PYLON_PRESENCE": "all",
}


def service_of(**environment: str) -> Service:
    manifest, problems = parse_manifest(encode(NOTES))
    assert manifest is not None, problems
    return Service(manifest, Config.from_env({**ENVIRONMENT, **environment}).validate())


class Running:
    """A service and clients of it."""

    def __init__(self, house: House, url: str, ws_url: str) -> None:
        self.house, self.url, self.ws_url = house, url, ws_url

    def client(self, token: str = ADMIN_TOKEN) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url, headers=bearer(token), trust_env=False, timeout=60
        )

    async def token_of(self, user_id: str) -> str:
        async with self.client() as admin:
            answer = await admin.post("/api/auth/session", json={"user_id": user_id})
        return str(answer.json()["token"])

    async def user_of(self, token: str) -> str | None:
        async with self.client(token) as client:
            user_id: str | None = (await client.get("/api/auth/me")).json()["user_id"]
            return user_id

    @asynccontextmanager
    async def socket(self, token: str) -> AsyncIterator[ClientConnection]:
        """A socket that the hub has taken in."""
        headers = bearer(token)
        async with connect(f"{self.ws_url}/ws", additional_headers=headers, proxy=None) as socket:
            await socket.send('{"type":"presence","event":"list"}')
            await asyncio.wait_for(socket.recv(), 30)
            yield socket


@asynccontextmanager
async def running(**environment: str) -> AsyncIterator[Running]:
    service = service_of(**environment)
    async with live(service, has_lifespan=True) as server:
        assert service.house is not None
        yield Running(service.house, server.url, server.ws_url)


def stored(path: Path) -> int:
    """How many sessions a file holds."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM _pylon_sessions").fetchone()[0])


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, str]:
    return {
        "PYLON_DB_PATH": str(tmp_path / "app.db"),
        "PYLON_SESSION_DB": str(tmp_path / "apart" / "sessions.db"),
    }


APART = [{"PYLON_SESSION_IN_MEMORY": "0"}, {"PYLON_SESSION_IN_MEMORY": "1"}]


async def test_a_file_of_its_own_survives_a_restart(paths: dict[str, str]) -> None:
    async with running(**paths) as app:
        token = await app.token_of("ann")
        assert await app.user_of(token) == "ann"
        assert stored(Path(paths["PYLON_SESSION_DB"])) == 1
        assert stored(Path(paths["PYLON_DB_PATH"])) == 0
    async with running(**paths) as app:
        assert await app.user_of(token) == "ann"
        async with app.client(token) as ann:
            assert len((await ann.get("/api/auth/sessions")).json()) == 1
            await ann.delete("/api/auth/session")
    assert stored(Path(paths["PYLON_SESSION_DB"])) == 0
    async with running(**paths) as app:
        assert await app.user_of(token) is None


async def test_in_memory_a_restart_signs_everyone_out(paths: dict[str, str]) -> None:
    async with running(**paths, PYLON_SESSION_IN_MEMORY="1") as app:
        token = await app.token_of("ann")
        assert await app.user_of(token) == "ann"
    assert not Path(paths["PYLON_SESSION_DB"]).exists(), "memory wins over the path"
    assert stored(Path(paths["PYLON_DB_PATH"])) == 0
    async with running(**paths, PYLON_SESSION_IN_MEMORY="1") as app:
        assert await app.user_of(token) is None


async def test_what_was_with_the_rows_does_not_come_back(
    paths: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pylon.limits.SESSIONS_SWEPT_MAX", 2)
    with_rows = {"PYLON_DB_PATH": paths["PYLON_DB_PATH"]}
    async with running(**with_rows) as app:
        tokens = [await app.token_of("ann") for _ in range(5)]
        assert await app.user_of(tokens[0]) == "ann"
    async with running(**paths) as app:
        assert await app.user_of(tokens[0]) is None
    async with running(**with_rows) as app:
        assert {await app.user_of(token) for token in tokens} == {None}


@pytest.mark.parametrize("where", APART)
async def test_an_ended_session_closes_its_sockets(
    paths: dict[str, str], where: dict[str, str]
) -> None:
    async with running(**{**paths, **where}) as app:
        mine, other = await app.token_of("ann"), await app.token_of("bob")
        async with app.socket(mine) as socket, app.socket(other) as stays:
            async with app.client(mine) as ann:
                assert (await ann.delete("/api/auth/session")).status_code == 200
            await asyncio.wait_for(socket.wait_closed(), 30)
            assert (socket.close_code, socket.close_reason) == (1008, "session ended")
            assert await app.user_of(mine) is None
            # A fact takes no position: what is written next arrives, and with its own.
            async with app.client() as admin:
                row = await admin.post("/api/entities/Open", json={"n": 1, "shown": True})
            while True:
                event = decode(str(await asyncio.wait_for(stays.recv(), 30)))
                if event.get("row_id") == row.json()["id"]:
                    break
            assert event["seq"] == app.house.store.seq


@pytest.mark.parametrize("where", APART)
async def test_a_purge_ends_sessions_there(paths: dict[str, str], where: dict[str, str]) -> None:
    async with running(**{**paths, **where}) as app, app.client() as admin:
        token = await app.token_of("ann")
        done = (await admin.delete("/api/admin/users/ann/purge")).json()
        assert done["sessions_revoked"] == 1
        assert await app.user_of(token) is None
        assert (await admin.get("/readyz")).json()["checks"]["database"] is True


@pytest.mark.parametrize("found", ["a folder", "no database"])
async def test_a_file_that_cannot_be_opened_stops_the_start(
    paths: dict[str, str], found: str
) -> None:
    path = Path(paths["PYLON_SESSION_DB"])
    if found == "a folder":
        path.mkdir(parents=True)
    else:
        path.parent.mkdir()
        path.write_bytes(b"nothing of the kind" * 100)
    service = service_of(**paths)
    with pytest.raises(ConfigError) as refused:
        await service.start()
    assert refused.value.code == "STORE_OPEN_FAILED"
    assert "PYLON_SESSION_DB" in refused.value.message
    assert str(path) in refused.value.message
    assert service.house is None


async def test_one_server_a_file(paths: dict[str, str], tmp_path: Path) -> None:
    async with running(**paths):
        other = service_of(**{**paths, "PYLON_DB_PATH": str(tmp_path / "other.db")})
        with pytest.raises(ConfigError, match="in use by another process"):
            await other.start()


async def test_a_start_that_fails_lets_go_of_the_file(paths: dict[str, str]) -> None:
    rows = Path(paths["PYLON_DB_PATH"])
    rows.write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(ConfigError):
        await service_of(**paths).start()
    rows.unlink()
    async with running(**paths) as app:
        assert await app.user_of(await app.token_of("ann")) == "ann"


def test_it_is_not_the_file_of_the_rows(paths: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="is the file of the rows"):
        service_of(**{**paths, "PYLON_SESSION_DB": paths["PYLON_DB_PATH"]})
