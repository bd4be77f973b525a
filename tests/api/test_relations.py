"""Relations over HTTP: keys that name nothing, what follows a delete, and people, who may have no
row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.blackbox.streams import position, until_row, websocket
from tests.server import ADMIN_TOKEN, Server, serving

APP = Path(__file__).with_name("relations_app.py")
ABSENT = "a" * 40


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(APP, tmp_path_factory.mktemp("relations") / "app.db") as running:
        yield running


@pytest.fixture
def ann(server: Server) -> Iterator[httpx.Client]:
    with server.client(server.token_of("ann")) as client:
        yield client


@pytest.fixture
def admin(server: Server) -> Iterator[httpx.Client]:
    with server.client(ADMIN_TOKEN) as client:
        yield client


def new(client: httpx.Client, entity: str, **data: Any) -> str:
    answer = client.post(f"/api/entities/{entity}", json=data)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def person(admin: httpx.Client, name: str) -> str:
    row = {"email": f"{name}@example.com", "displayName": name, "createdAt": "2026-01-01T00:00:00Z"}
    return new(admin, "User", **row)


def exists(admin: httpx.Client, entity: str, row_id: str) -> bool:
    return admin.get(f"/api/entities/{entity}/{row_id}").status_code == 200


def test_a_key_must_name_a_row_at_every_door(ann: httpx.Client) -> None:
    row = {"title": "t", "projectId": ABSENT}
    missing = (400, "REFERENCE_NOT_FOUND")
    assert refused(ann.post("/api/entities/Task", json=row)) == missing
    task = new(ann, "Task", title="t")
    assert refused(ann.patch(f"/api/entities/Task/{task}", json={"projectId": ABSENT})) == missing
    operation = {"op": "insert", "entity": "Task", "data": row}
    body = ann.post("/api/transact", json=[operation])
    assert (body.status_code, body.json()["results"][0]["code"]) == missing
    (line,) = ann.post("/api/batch", json={"operations": [operation]}).json()["results"]
    assert line["code"] == missing[1]
    change = {"entity": "Task", "row_id": "_pending_1", "kind": "insert", "data": row}
    (error,) = ann.post("/api/sync/push", json={"changes": [change]}).json()["errors"]
    assert error == "insert Task: Task.projectId names a row of Project that is not there."
    link = {"entity": "Task", "id": task, "relation": "project", "target_id": ABSENT}
    assert refused(ann.post("/api/link", json=link)) == (404, "NOT_FOUND")


async def test_what_follows_a_delete_is_heard(server: Server, ann: httpx.Client) -> None:
    project = new(ann, "Project", title="p")
    tasks = {new(ann, "Task", projectId=project) for _ in range(3)}
    token = server.token_of("ann")
    async with (
        websocket(server, token, since=await position(server)) as socket,
        server.async_client(token) as client,
    ):
        answer = await client.delete(f"/api/entities/Project/{project}")
        assert answer.json() == {"deleted": True}
        last = (await client.post("/api/entities/Project", json={})).json()["id"]
        events = await until_row(socket, last)
    heard = [(each["kind"], each["entity"], each["row_id"]) for each in events]
    assert set(heard) == {("delete", "Task", task) for task in tasks} | {
        ("delete", "Project", project)
    }
    assert heard[-1] == ("delete", "Project", project)


def test_a_guest_has_no_row_and_writes_nevertheless(server: Server) -> None:
    with server.client() as client:
        token = client.post("/api/auth/guest").json()["token"]
    with server.client(token) as guest:
        new(guest, "Task", title="t")
        answer = guest.post("/api/entities/Task", json={"title": "t", "reviewerId": "guest_x"})
        assert refused(answer) == (400, "REFERENCE_NOT_FOUND")


def test_rows_follow_the_row_of_a_person(admin: httpx.Client) -> None:
    eve, bob = person(admin, "eve"), person(admin, "bob")
    project = new(admin, "Project", ownerId=eve)
    hers = new(admin, "Task", ownerId=eve, projectId=project)
    his = new(admin, "Task", ownerId=bob, reviewerId=eve, projectId=project)
    answer = admin.delete(f"/api/entities/User/{eve}")
    assert refused(answer) == (409, "ROW_REFERENCED")
    assert exists(admin, "Task", hers)
    unlink = {"entity": "Task", "id": his, "relation": "reviewer"}
    assert admin.post("/api/unlink", json=unlink).json() == {"unlinked": True}
    assert admin.delete(f"/api/entities/User/{eve}").status_code == 200
    assert not exists(admin, "Task", hers)
    assert exists(admin, "Task", his)
    assert admin.get(f"/api/entities/Project/{project}").json()["ownerId"] is None


def test_the_manifest_says_it(admin: httpx.Client) -> None:
    entities = {each["name"]: each for each in admin.get("/api/manifest").json()["entities"]}
    said = {each["name"]: each.get("onDelete") for each in entities["Task"]["relations"]}
    assert said == {"project": "cascade", "owner": "cascade", "reviewer": "restrict"}
