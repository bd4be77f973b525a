"""A manifest of a newer SDK, served: each key keeps what it promises there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pylon import codec
from tests.schema.samples import a_field, an_app, an_entity
from tests.server import ADMIN_TOKEN, Server, serving

TRUSTED = "https://newer.example"
HOBBY = {"name": "one", "fields": ["ownerId"], "unique": True, "where": "plan = 'hobby'"}


def maybe(name: str, type_: str = "string", **keys: Any) -> dict[str, Any]:
    return {**a_field(name, type_, **keys), "optional": True}


APP = an_app(
    an_entity(
        "Shop",
        a_field("name"),
        maybe("ownerId"),
        maybe("plan"),
        maybe("cost", "int", serverOnly=True),
        maybe("slug", readonly=True),
        indexes=[HOBBY],
    ),
    an_entity("Member", maybe("roles", serverSet=True)),
    policies=[
        {"name": "shops", "entity": "Shop", "allow": "true"},
        {"name": "members", "entity": "Member", "allow": 'auth.hasRole("boss")'},
    ],
    auth={"user": "Member", "trusted_origins": [TRUSTED]},
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("newer")
    (folder / "pylon.manifest.json").write_bytes(codec.encode(APP))
    with serving(folder / "pylon.manifest.json", folder / "app.db") as running:
        yield running


@pytest.fixture
def eve(server: Server) -> Iterator[httpx.Client]:
    with server.client(server.token_of("eve")) as client:
        yield client


@pytest.fixture
def admin(server: Server) -> Iterator[httpx.Client]:
    with server.client(ADMIN_TOKEN) as client:
        yield client


def add(client: httpx.Client, **row: Any) -> httpx.Response:
    return client.post("/api/entities/Shop", json=row)


def test_server_only_is_for_the_server_and_administrators_only(
    eve: httpx.Client, admin: httpx.Client
) -> None:
    row_id = add(admin, name="a", cost=3).json()["id"]
    path = f"/api/entities/Shop/{row_id}"
    assert admin.get(path).json()["cost"] == 3
    for answer in (
        eve.get(path),
        eve.get("/api/entities/Shop"),
        eve.post("/api/query/Shop", json={}),
        eve.get("/api/sync/pull?since=0"),
        eve.get("/api/manifest"),
        eve.get("/api/openapi.json"),
    ):
        assert answer.status_code == 200
        assert "cost" not in answer.text
    for refused in (
        add(eve, name="b", cost=1),
        eve.patch(path, json={"cost": 1}),
        eve.post("/api/query/Shop", json={"cost": 3}),
    ):
        assert refused.json()["error"]["code"] == "INVALID_COLUMN"


def test_readonly_is_given_at_insert_and_then_fixed(eve: httpx.Client) -> None:
    row_id = add(eve, name="a", slug="x").json()["id"]
    path = f"/api/entities/Shop/{row_id}"
    assert eve.patch(path, json={"slug": "y"}).json()["error"]["code"] == "INVALID_COLUMN"
    assert eve.patch(path, json={"name": "b", "slug": "x"}).status_code == 200
    assert eve.get(path).json()["slug"] == "x"


def test_a_partial_index_is_unique_for_its_rows_only(eve: httpx.Client) -> None:
    assert add(eve, name="a", ownerId="o", plan="hobby").status_code == 201
    assert add(eve, name="b", ownerId="o", plan="hobby").status_code == 400
    pro = [add(eve, name="c", ownerId="o", plan="pro") for _ in range(2)]
    assert [answer.status_code for answer in pro] == [201, 201]
    path = f"/api/entities/Shop/{pro[0].json()['id']}"
    assert eve.patch(path, json={"plan": "hobby"}).json()["error"]["code"] == "UPDATE_FAILED"


def test_auth_names_the_users_and_the_origins(server: Server, admin: httpx.Client) -> None:
    chosen = "9154f696-8872-4a7b-aa2e-e22b63ec197e"
    assert admin.post("/api/entities/Member", json={"id": chosen, "roles": "boss"}).is_success
    with server.client(server.token_of(chosen)) as boss:
        assert boss.get("/api/auth/me").json()["roles"] == ["boss"]
        assert len(boss.get("/api/entities/Member").json()["data"]) == 1
    with server.client() as page:
        for origin, status in ((TRUSTED, 201), ("https://evil.example", 403)):
            answer = page.post("/api/entities/Shop", json={"name": "a"}, headers={"origin": origin})
            assert answer.status_code == status
            named = answer.headers.get("access-control-allow-origin")
            assert (named == origin) == (status == 201)


def test_a_key_that_is_not_known_is_told_and_not_served(tmp_path: Path) -> None:
    entities = [{**APP["entities"][0], "fields": [a_field("name", servrOnly=True)], "indexes": []}]
    (tmp_path / "pylon.manifest.json").write_bytes(codec.encode(an_app(*entities)))
    done = Server(tmp_path / "pylon.manifest.json", tmp_path / "app.db").fail_to_start()
    assert done.returncode == 1
    assert "MANIFEST_KEY_UNKNOWN" in done.stderr
    assert 'Did you mean "serverOnly"?' in done.stderr
