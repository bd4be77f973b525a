"""Membership and roles through the real program: what a row of another entity opens and closes,
at every door, at once and after the fact (design 4.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.blackbox.streams import SocketStream, until_row, websocket
from tests.server import ADMIN_TOKEN, Server, serving

APP = Path(__file__).with_name("membership_app.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(APP, tmp_path_factory.mktemp("membership") / "app.db") as running:
        yield running


def insert(client: httpx.Client, entity: str, **data: Any) -> str:
    answer = client.post(f"/api/entities/{entity}", json=data)
    assert answer.status_code == 201, answer.text
    row_id: str = answer.json()["id"]
    return row_id


def change(client: httpx.Client, entity: str, row_id: str, **patch: Any) -> None:
    answer = client.patch(f"/api/entities/{entity}/{row_id}", json=patch)
    assert answer.status_code == 200, answer.text


def remove(client: httpx.Client, entity: str, row_id: str) -> None:
    answer = client.delete(f"/api/entities/{entity}/{row_id}")
    assert answer.status_code == 200, answer.text


def titles(client: httpx.Client) -> set[str]:
    answer = client.get("/api/entities/Doc")
    assert answer.status_code == 200, answer.text
    return {row["title"] for row in answer.json()["data"]}


def pull(client: httpx.Client, since: int) -> tuple[int, dict[str, Any]]:
    answer = client.get("/api/sync/pull", params={"since": since})
    return answer.status_code, answer.json()


async def close_code(stream: SocketStream) -> int | None:
    with suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(stream.socket.recv(), 60)
    return stream.socket.close_code


def test_members_see_and_write_what_is_their_organisations(
    server: Server, admin: httpx.Client
) -> None:
    insert(admin, "Doc", title="plan", orgId="blue")
    doc = insert(admin, "Doc", title="map", orgId="red")
    with server.client(server.token_of("eve")) as eve:
        assert titles(eve) == set()
        assert eve.post("/api/entities/Doc", json={"title": "x", "orgId": "red"}).status_code == 403
        member = insert(admin, "OrgMember", orgId="red", userId="eve")
        assert titles(eve) == {"map"}
        insert(eve, "Doc", title="x", orgId="red")
        # Not out of the organisation, since the result must pass, too.
        moved = eve.patch(f"/api/entities/Doc/{doc}", json={"orgId": "blue"})
        assert moved.json()["error"]["code"] == "POLICY_DENIED"
        change(eve, "Doc", doc, title="chart")
        change(admin, "Doc", doc, title="map")
        counted = eve.post("/api/aggregate/Doc", json={"count": "*"})
        assert counted.status_code == 200, counted.text
        remove(admin, "OrgMember", member)
        assert titles(eve) == set()
        assert eve.get(f"/api/entities/Doc/{doc}").status_code == 404


async def test_a_changed_membership_ends_streams_and_cursors_of_those_it_names(
    server: Server, admin: httpx.Client
) -> None:
    doc = insert(admin, "Doc", title="secret", orgId="green")
    tokens = {name: server.token_of(name) for name in ("mia", "noa")}
    with server.client(tokens["mia"]) as mia, server.client(tokens["noa"]) as noa:
        _, page = pull(mia, 0)
        assert doc not in {event["row_id"] for event in page["changes"]}
        cursor = page["cursor"]["last_seq"]
        _, page = pull(noa, 0)
        others = page["cursor"]["last_seq"]
        async with (
            websocket(server, tokens["mia"], since=cursor) as concerned,
            websocket(server, tokens["noa"], since=others) as other,
        ):
            member = insert(admin, "OrgMember", orgId="green", userId="mia")
            assert await close_code(concerned) == 1013
            invitation = insert(admin, "Invitation", address="nobody")
            mine = insert(admin, "OrgMember", orgId="grey", userId="noa")
            assert await close_code(other) == 1013, "this one, too, but not before"
        status, answer = pull(mia, cursor)
        assert (status, answer["error"]["code"]) == (410, "RESYNC_REQUIRED")
        _, page = pull(mia, 0)
        assert {doc, member} <= {event["row_id"] for event in page["changes"]}
        assert not {invitation, mine} & {event["row_id"] for event in page["changes"]}
        cursor = page["cursor"]["last_seq"]
        assert pull(mia, cursor)[0] == 200
        async with websocket(server, tokens["mia"], since=cursor) as stream:
            # Live rows of the organisation come, those of others do not.
            insert(admin, "Doc", title="theirs", orgId="grey")
            last = insert(admin, "Doc", title="ours", orgId="green")
            assert await until_row(stream, last) == []
            remove(admin, "OrgMember", member)
            assert await close_code(stream) == 1013
        assert pull(mia, cursor)[0] == 410
        _, page = pull(mia, 0)
        assert "Doc" not in {event["entity"] for event in page["changes"]}


async def test_roles_and_email_come_from_the_user_row(server: Server, admin: httpx.Client) -> None:
    insert(admin, "Doc", title="audited", orgId="white")
    user = insert(admin, "User", email="kim@example.org")
    insert(admin, "Invitation", address="kim@example.org")
    token = server.token_of(user)
    with server.client(token) as kim:
        assert kim.get("/api/auth/me").json()["roles"] == []
        assert len(kim.get("/api/entities/Invitation").json()["data"]) == 1
        assert titles(kim) == set()
        refused = kim.patch(f"/api/entities/User/{user}", json={"roles": "auditor"})
        assert refused.json()["error"]["code"] == "INVALID_COLUMN"
        cursor = pull(kim, 0)[1]["cursor"]["last_seq"]
        async with websocket(server, token, since=cursor) as stream:
            change(admin, "User", user, roles='["auditor", "x"]')
            assert await close_code(stream) == 1013
        assert kim.get("/api/auth/me").json()["roles"] == ["auditor", "x"]
        assert "audited" in titles(kim)
        assert pull(kim, cursor)[0] == 410
        _, page = pull(kim, 0)
        assert "audited" in {(event["data"] or {}).get("title") for event in page["changes"]}
        change(admin, "User", user, roles="", email="k@example.org")
        assert titles(kim) == set()
        assert kim.get("/api/entities/Invitation").json()["data"] == []


def test_the_administrator_is_not_asked(server: Server) -> None:
    with server.client(ADMIN_TOKEN) as admin:
        insert(admin, "Doc", title="any", orgId="nowhere")
        assert "any" in titles(admin)
