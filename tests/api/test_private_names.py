"""For clients a private field is a field that does not exist: at every door, in every error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.server import ADMIN_TOKEN, Server, serving

APP = """
from pylon import App, Entity, Id, field, index, relation

app = App("quiet")


@app.entity
class Person(Entity):
    name: str
    hushKey: str | None = field(default=None, private=True, unique=True)
    hushBoss: Id["Person"] | None = field(default=None, private=True)

    class policy:
        allow = True

    class indexes:
        by_hush = index("hushKey", "name")

    class relations:
        boss = relation("Person", field="hushBoss")
        team = relation("Person", field="hushBoss", many=True)

    class search:
        text = ("name",)


@app.entity
class Sealed(Entity):
    name: str
    hushNeed: str = field(private=True)

    class policy:
        allow = True


async def fill(tx, identity, entity, before, data):
    if data.get("name") == "same":
        data["hushKey"] = "taken"
    if data.get("name") == "wrong":
        data["hushKey"] = 7
    if data.get("name") == "made up":
        data["colour"] = "red"


app.hooks.before_insert.append(fill)
"""

KNOWN, UNKNOWN = "hushKey", "hushKex"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("hushed")
    (folder / "app.py").write_text(APP)
    with serving(folder / "app.py", folder / "app.db") as running:
        yield running


@pytest.fixture(scope="module")
def person(server: Server) -> str:
    with server.client(ADMIN_TOKEN) as admin:
        made = admin.post("/api/entities/Person", json={"name": "ann", KNOWN: "taken"})
        return str(made.json()["id"])


ASKED: list[tuple[str, str, Any]] = [
    ("POST", "/api/entities/Person", {"name": "bob", "?": "x"}),
    ("PATCH", "/api/entities/Person/{id}", {"?": "x"}),
    ("POST", "/api/query/Person", {"?": "x"}),
    ("POST", "/api/query/Person", {"?": {"$gt": "a"}}),
    ("POST", "/api/query/Person", {"$order": {"?": "asc"}}),
    ("POST", "/api/query/Person", {"$or": [{"?": "x"}, {"name": "ann"}]}),
    ("POST", "/api/query", {"Person": {"where": {"?": "x"}}}),
    ("POST", "/api/query", {"Person": {"order": {"?": "asc"}}}),
    ("POST", "/api/aggregate/Person", {"groupBy": ["?"], "count": "*"}),
    ("POST", "/api/aggregate/Person", {"countDistinct": ["?"]}),
    ("POST", "/api/aggregate/Person", {"count": "*", "where": {"?": "x"}}),
    ("POST", "/api/search/Person", {"query": "ann", "where": {"?": "x"}}),
    ("POST", "/api/search/Person", {"query": "ann", "facets": ["?"]}),
    ("POST", "/api/search/Person", {"query": "ann", "filters": {"?": "x"}}),
    ("POST", "/api/search/Person", {"query": "ann", "sort": ["?", "asc"]}),
    ("GET", "/api/lookup/Person/?/taken", None),
    (
        "POST",
        "/api/transact",
        {"operations": [{"op": "insert", "entity": "Person", "data": {"name": "x", "?": "x"}}]},
    ),
    (
        "POST",
        "/api/sync/push",
        {
            "changes": [
                {
                    "op_id": "1",
                    "entity": "Person",
                    "row_id": "",
                    "kind": "insert",
                    "data": {"name": "x", "?": "x"},
                }
            ],
            "client_id": "c",
        },
    ),
]


def ask(client: httpx.Client, method: str, path: str, body: Any, name: str, row: str) -> str:
    """Status and text of the answer, with the name taken out."""
    text = "" if body is None else httpx.Request("POST", "http://x", json=body).content.decode()
    answer = client.request(
        method,
        path.replace("?", name).replace("{id}", row),
        content=text.replace("?", name),
        headers={"content-type": "application/json"},
    )
    told = re.sub(r'"took_?[mM]s":\d+', "", answer.text)
    return f"{answer.status_code} {told.replace(name, '?')}"


@pytest.mark.parametrize(("method", "path", "body"), ASKED)
def test_a_private_name_is_answered_like_a_name_that_nobody_has(
    server: Server, person: str, method: str, path: str, body: Any
) -> None:
    with server.client(server.token_of("eve")) as eve:
        private = ask(eve, method, path, body, KNOWN, person)
        assert private == ask(eve, method, path, body, UNKNOWN, person)
        assert "hush" not in private


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/entities/Person", {"name": "same"}, 400),
        ("POST", "/api/entities/Person", {"name": "wrong"}, 400),
        ("POST", "/api/entities/Person", {"nmae": "x"}, 400),
        ("POST", "/api/entities/Person", {"name": "made up"}, 400),
        ("POST", "/api/entities/Sealed", {"name": "x"}, 400),
        ("POST", "/api/query/Person", {}, 200),
        ("POST", "/api/query", {"Person": {"include": {"boss": True}}}, 400),
        ("POST", "/api/query", {"Person": {"include": {"bos": True}}}, 400),
        ("POST", "/api/query", {"Person": {"include": {"team": True}}}, 400),
        ("GET", "/api/entities/Person", None, 200),
        ("GET", "/api/manifest", None, 200),
        ("GET", "/api/openapi.json", None, 200),
        ("GET", "/api/sync/pull?since=0", None, 200),
    ],
)
def test_nothing_that_is_answered_names_them(
    server: Server, person: str, method: str, path: str, body: Any, status: int
) -> None:
    with server.client(server.token_of("eve")) as eve:
        answer = eve.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert person
    assert "hush" not in answer.text
    if method == "GET" and "openapi" in path:
        with server.client(ADMIN_TOKEN) as admin:
            assert "hushKey" in admin.get(path).text


def test_relations_by_a_private_key_are_not_there(server: Server, person: str) -> None:
    for relation in ("boss", "team", "nothing"):
        for op in ("link", "unlink"):
            operation = {
                "op": op,
                "entity": "Person",
                "id": person,
                "relation": relation,
                "target_id": person,
            }
            with server.client(server.token_of("eve")) as eve:
                answer = eve.post("/api/transact", json={"operations": [operation]})
            assert "RELATION_NOT_FOUND" in answer.text, answer.text
            assert "boss" not in answer.text.replace(f'"{relation}"', "").replace(relation, "")
