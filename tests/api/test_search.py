"""`POST /api/search/<Entity>` against the real program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.blackbox.streams import position, until, websocket
from tests.server import ADMIN_TOKEN, Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        Path(__file__).with_name("search_app.py"), tmp_path_factory.mktemp("search") / "app.db"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def ann(server: Server) -> Iterator[httpx.Client]:
    with server.client(server.token_of("ann")) as client:
        for name, brand, hidden in (
            ("Red shoe", "Acme", False),
            ("Blue shoe", "Acme", True),
            ("Red coat", "Zed", False),
        ):
            row = {"name": name, "brand": brand, "hidden": hidden}
            assert client.post("/api/entities/Product", json=row).status_code == 201
        yield client


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def names(client: httpx.Client, body: Any, path: str = "/api/search/Product") -> list[str]:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return [row["name"] for row in answer.json()["hits"]]


def test_an_answer_has_both_spellings(ann: httpx.Client) -> None:
    body = ann.post("/api/search/Product", json={"query": "shoe"}).json()
    assert list(body) == ["hits", "facet_counts", "total", "took_ms", "facetCounts", "tookMs"]
    assert body["total"] == 2
    assert body["facet_counts"] == body["facetCounts"] == {"brand": {"Acme": 2}}
    assert body["took_ms"] == body["tookMs"] >= 0


def test_everybody_gets_their_rows_and_counts(server: Server, ann: httpx.Client) -> None:
    with server.client(server.token_of("bob")) as bob, server.client(ADMIN_TOKEN) as admin:
        assert names(bob, {"query": "shoe"}) == ["Red shoe"]
        assert bob.post("/api/search/Product", json={}).json()["total"] == 2
        assert len(names(admin, {"query": "shoe"})) == 2
    assert names(ann, {"query": "re sho"}, "/api/search/Product/") == []
    assert names(ann, {"query": "red", "sort": ["price", "desc"]}) == ["Red coat", "Red shoe"]


def test_any_punctuation_is_answered(ann: httpx.Client) -> None:
    for query in ('"', "a-b", "(", "*", "red:", "NEAR(", "AND", "' OR 1=1 --", "\u0000", "{", "🚀"):
        assert ann.post("/api/search/Product", json={"query": query}).status_code == 200, query
        found = ann.post("/api/query/Product", json={"$search": query})
        assert found.status_code == 200, query


def test_refusals(server: Server, ann: httpx.Client) -> None:
    assert refused(ann.post("/api/search/", json={})) == (400, "MISSING_ENTITY")
    assert refused(ann.post("/api/search/Nope", json={})) == (404, "ENTITY_NOT_FOUND")
    assert refused(ann.post("/api/search/Plain", json={})) == (400, "SEARCH_NOT_CONFIGURED")
    assert refused(ann.post("/api/search/Product", content=b"{")) == (400, "INVALID_JSON")
    assert refused(ann.post("/api/search/Product", json={"page": -1})) == (400, "INVALID_QUERY")
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = ann.request(method, "/api/search/Product")
        assert refused(answer) == (405, "METHOD_NOT_ALLOWED")
    with server.client() as anonymous:
        code = "SEARCH_REQUIRES_ROW_INDEPENDENT_POLICY"
        assert refused(anonymous.post("/api/search/Diary", json={})) == (403, code)
        assert anonymous.post("/api/search/Product", json={}).json()["total"] == 2


async def test_a_row_is_found_once_its_event_was_seen(server: Server) -> None:
    token = server.token_of("eve")
    async with (
        websocket(server, token, since=await position(server)) as socket,
        server.async_client(token) as client,
    ):
        for number in range(10):
            row = {"name": f"fresh{number}"}
            row_id = (await client.post("/api/entities/Product", json=row)).json()["id"]
            await until(socket, lambda event, row_id=row_id: event["row_id"] == row_id)  # type: ignore[misc]
            found = await client.post("/api/search/Product", json={"query": f"fresh{number}"})
            assert found.json()["hits"][0]["id"] == row_id


def test_rows_and_index_come_back_after_a_restart(tmp_path: Path) -> None:
    with serving(Path(__file__).with_name("search_app.py"), tmp_path / "app.db") as server:
        with server.client(ADMIN_TOKEN) as admin:
            admin.post("/api/entities/Product", json={"name": "kept"})
        server.kill()
        server.start()
        with server.client(ADMIN_TOKEN) as admin:
            assert names(admin, {"query": "kept"}) == ["kept"]
