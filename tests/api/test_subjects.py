"""Data-subject requests against the real program, and the reset of tests in-process."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from pylon import limits
from pylon.app import App
from pylon.codec import decode_trusted
from pylon.config import Config
from pylon.service import Service
from tests.api.bulk_app import app as bulk_app
from tests.blackbox.streams import position, until_row, websocket
from tests.server import ADMIN_TOKEN, Server, bearer, serving

Row = dict[str, Any]
SACRED = "f" * 40


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        Path(__file__).with_name("bulk_app.py"), tmp_path_factory.mktemp("subjects") / "app.db"
    ) as running:
        yield running


def user_row(user_id: str, name: str) -> Row:
    return {
        "id": user_id,
        "email": f"{name}@example.com",
        "displayName": name,
        "passwordHash": "hash",
        "createdAt": "2026-01-01T00:00:00Z",
    }


def load(admin: httpx.Client, **entities: list[Row]) -> None:
    report = admin.post("/api/import", json={"entities": entities}).json()
    assert report["failed"] == 0, report


def left(admin: httpx.Client, entity: str) -> list[Row]:
    rows: list[Row] = admin.get(f"/api/export/{entity}").json()["entities"][entity]
    return rows


def test_a_person_gets_every_row(admin: httpx.Client) -> None:
    me, other = f"{1:040x}", f"{2:040x}"
    load(
        admin,
        User=[user_row(me, "me"), user_row(other, "other")],
        Todo=[{"title": "mine", "ownerId": me, "secret": "s"}, {"title": "x", "ownerId": other}],
        Comment=[
            {"text": "written", "author_id": me},
            {"text": "reviewed", "author_id": other, "reviewer": me},
            {"text": "neither", "author_id": other},
        ],
    )
    answer = admin.post(f"/api/admin/users/{me}/export")
    assert answer.status_code == 200
    body = answer.json()
    assert (list(body), body["user_id"]) == (["user_id", "exported_at", "entities"], me)
    assert next(iter(body["entities"])) == "User"
    assert "Person" not in body["entities"]
    (user,) = body["entities"]["User"]
    assert user["displayName"] == "me"
    assert "passwordHash" not in user
    assert [row["title"] for row in body["entities"]["Todo"]] == ["mine"]
    assert "secret" not in body["entities"]["Todo"][0]
    assert {row["text"] for row in body["entities"]["Comment"]} == {"written", "reviewed"}
    nobody = admin.post("/api/admin/users/nobody/export").json()
    assert nobody["entities"] == {}


def test_a_purge_erases_them_and_nothing_else(server: Server, admin: httpx.Client) -> None:
    me, other = f"{3:040x}", f"{4:040x}"
    load(
        admin,
        User=[user_row(me, "p3"), user_row(other, "p4")],
        Todo=[{"title": "mine", "ownerId": me}, {"title": "theirs", "ownerId": other}],
        Comment=[{"text": "reviewed", "author_id": other, "reviewer": me}],
    )
    token = server.token_of(me)
    server.token_of(me)
    answer = admin.delete(f"/api/admin/users/{me}/purge")
    assert answer.status_code == 200
    body = answer.json()
    assert body.pop("purged_at").endswith("Z")
    assert body == {"user_id": me, "rows_deleted": 3, "sessions_revoked": 2, "errors": []}
    assert me not in {row["id"] for row in left(admin, "User")}
    assert other in {row["id"] for row in left(admin, "User")}
    assert "theirs" in {row["title"] for row in left(admin, "Todo")}
    with server.client(token) as client:
        assert client.get("/api/auth/me").json()["user_id"] is None
    again = admin.delete(f"/api/admin/users/{me}/purge").json()
    assert (again["rows_deleted"], again["sessions_revoked"]) == (0, 0)


def test_a_person_gets_their_sessions_without_tokens(server: Server, admin: httpx.Client) -> None:
    me = f"{5:040x}"
    tokens = [server.token_of(me), server.token_of(me)]
    server.token_of("somebody else")
    with server.client(tokens[0]) as client:
        tokens.append(client.post("/api/auth/refresh").json()["token"])
        listed = client.get("/api/auth/sessions").json()
    answer = admin.post(f"/api/admin/users/{me}/export")
    body = answer.json()
    assert list(body) == ["user_id", "exported_at", "sessions", "entities"]
    names = ("device", "created_at", "expires_at", "last_seen_at")
    key = str  # in whatever order
    assert sorted(body["sessions"], key=key) == sorted(
        [{name: each[name] for name in names} for each in listed], key=key
    )
    assert len(body["sessions"]) == 2
    assert "pylon_" not in answer.text
    admin.delete(f"/api/admin/users/{me}/purge")
    assert "sessions" not in admin.post(f"/api/admin/users/{me}/export").json()


def test_a_purge_forgets_what_pushes_left_behind(server: Server, admin: httpx.Client) -> None:
    me, other = f"{6:040x}", f"{7:040x}"
    change = {
        "entity": "Comment",
        "row_id": "_pending_1",
        "kind": "insert",
        "data": {"text": "pushed"},
        "timestamp": "2026-01-01T00:00:00Z",
        "op_id": "one",
    }
    for each in (me, other):
        with server.client(server.token_of(each)) as client:
            pushed = client.post("/api/sync/push", json={"changes": [change], "client_id": "c"})
            assert pushed.json()["applied"] == 1, pushed.text
    admin.delete(f"/api/admin/users/{me}/purge")
    with closing(sqlite3.connect(server.db)) as connection:
        for table in ("_pylon_op_ids", "_pylon_temporary_rows"):
            kept = connection.execute(f"SELECT user_id FROM {table}").fetchall()
            assert kept == [(other,)], table


def test_a_row_that_refuses_is_named_and_the_others_go(admin: httpx.Client) -> None:
    rows = [{"text": str(n), "author_id": "eve"} for n in range(5)]
    load(admin, Comment=[*rows, {"id": SACRED, "text": "sacred", "author_id": "eve"}])
    body = admin.delete("/api/admin/users/eve/purge").json()
    assert body["rows_deleted"] == 5
    assert body["errors"] == [f"Comment {SACRED}: This row stays."]
    assert [row["id"] for row in left(admin, "Comment") if row["author_id"] == "eve"] == [SACRED]


def test_a_purge_of_many_rows(admin: httpx.Client) -> None:
    count = 2 * limits.ERASE_UNIT_ROWS + 3
    load(admin, Comment=[{"text": "x", "author_id": "many"} for _ in range(count)])
    body = admin.delete("/api/admin/users/many/purge").json()
    assert (body["rows_deleted"], body["errors"]) == (count, [])


@pytest.mark.parametrize(("method", "verb"), [("POST", "export"), ("DELETE", "purge")])
def test_only_administrators(ann: httpx.Client, method: str, verb: str) -> None:
    answer = ann.request(method, f"/api/admin/users/ann/{verb}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")


async def test_readers_hear_of_purged_rows(server: Server) -> None:
    async with server.async_client(ADMIN_TOKEN) as admin:
        made = await admin.post("/api/entities/Comment", json={"text": "x", "author_id": "zoe"})
        async with websocket(
            server, server.token_of("ann"), since=await position(server)
        ) as socket:
            await admin.delete("/api/admin/users/zoe/purge")
            end = await admin.post("/api/entities/Comment", json={"text": "end"})
            events = await until_row(socket, end.json()["id"])
    assert [(event["kind"], event["row_id"]) for event in events] == [("delete", made.json()["id"])]


def test_reset_is_refused_in_production(admin: httpx.Client) -> None:
    answer = admin.post("/api/__test__/reset")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "RESET_REFUSED")


# --- reset, in dev and in memory -------------------------------------------------------------

DEV = Config(
    dev_mode=True,
    in_memory=True,
    host="127.0.0.1",
    admin_token=ADMIN_TOKEN,
    access_log=False,
    rate_limit_max=0,
)


class Listener:
    """A WebSocket of an ASGI app without a server."""

    def __init__(self, service: Service) -> None:
        self.heard: asyncio.Queue[Row] = asyncio.Queue()
        self.opened = asyncio.Event()
        self._inbox: asyncio.Queue[Row] = asyncio.Queue()
        self._inbox.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket",
            "path": "/ws",
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {ADMIN_TOKEN}".encode())],
            "client": ("127.0.0.1", 1),
            "subprotocols": [],
        }
        self.task = asyncio.create_task(service(scope, self._inbox.get, self._send))

    async def _send(self, message: Any) -> None:
        if message["type"] == "websocket.accept":
            self.opened.set()
        elif message["type"] == "websocket.send":
            for line in message["text"].splitlines():
                self.heard.put_nowait(decode_trusted(line))

    async def close(self) -> None:
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self.task


def client_of(service: Service, peer: str = "127.0.0.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(service, client=(peer, 1))
    return httpx.AsyncClient(
        transport=transport, base_url="http://test", headers=bearer(ADMIN_TOKEN)
    )


async def test_reset_deletes_every_row_and_tells_readers() -> None:
    service = bulk_app.service(DEV)
    await service.start()
    try:
        async with client_of(service) as client:
            for n in range(3):
                await client.post("/api/entities/Comment", json={"text": str(n)})
            await client.post("/api/entities/Todo", json={"title": "t"})
            listener = Listener(service)
            await asyncio.wait_for(listener.opened.wait(), 60)
            answer = await client.post("/api/__test__/reset", content=b"ignored")
            assert (answer.status_code, answer.json()) == (200, {"reset": True})
            # A stream without a cursor starts with what was written shortly before.
            events = [await asyncio.wait_for(listener.heard.get(), 60) for _ in range(8)]
            assert [event["kind"] for event in events] == ["insert"] * 4 + ["delete"] * 4
            counts = (await client.get("/api/export")).json()["counts"]
            assert set(counts.values()) == {0}
            await listener.close()
    finally:
        await service.stop()


@pytest.mark.parametrize(
    ("config", "peer"),
    [
        (replace(DEV, dev_allow_remote=True), "192.0.2.1"),
        (Config(dev_mode=False, in_memory=True), "127.0.0.1"),
    ],
)
async def test_reset_needs_all_three(config: Config, peer: str) -> None:
    empty = App("empty")
    service = empty.service(config)
    await service.start()
    try:
        async with client_of(service, peer) as client:
            answer = await client.post("/api/__test__/reset")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "RESET_REFUSED")
    finally:
        await service.stop()
