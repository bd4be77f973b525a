"""`/api/query`, `/api/lookup` and `/api/aggregate` against the real program (spec 02 section 5)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server import Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    app = Path(__file__).with_name("queries_app.py")
    with serving(app, tmp_path_factory.mktemp("queries") / "app.db") as running:
        yield running


@pytest.fixture(scope="module")
def people(admin: httpx.Client, ann: httpx.Client, bob: httpx.Client) -> dict[str, str]:
    """Two people; Ann owns five tasks of Paul, Bob one."""
    ids = {
        name: new(admin, "Person", name=name, email=f"{name}@a b/c", secret="s")
        for name in ("paul", "pia")
    }
    for rank in range(5):
        new(ann, "Task", title=f"a {rank}", rank=rank, done=rank > 2, personId=ids["paul"])
    new(bob, "Task", title="b", rank=9, personId=ids["paul"])
    return ids


def new(client: httpx.Client, entity: str, **data: Any) -> str:
    answer = client.post(f"/api/entities/{entity}", json=data)
    assert answer.status_code == 201, answer.text
    row_id: str = answer.json()["id"]
    return row_id


def post(client: httpx.Client, path: str, body: Any) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_query_is_a_bare_list(people: dict[str, str], ann: httpx.Client) -> None:
    body = {"rank": {"$gte": 1}, "$order": {"done": "desc", "rank": "asc"}, "$limit": 3}
    found = post(ann, "/api/query/Task?x=1", body)
    assert [row["rank"] for row in found] == [3, 4, 1]
    assert found[0]["done"] is True
    assert list(found[0]) == ["id", "title", "rank", "done", "ownerId", "personId"]
    assert found[0] == ann.get(f"/api/entities/Task/{found[0]['id']}").json()


def test_scrolling_sees_every_row_once(people: dict[str, str], ann: httpx.Client) -> None:
    page = {"$limit": 2, "$order": {"rank": "desc"}}
    first = post(ann, "/api/query/Task", {**page, "$offset": 0})
    second = post(ann, "/api/query/Task", {**page, "$offset": 2})
    third = post(ann, "/api/query/Task", {**page, "$after": second[-1]})
    assert [row["rank"] for row in first + second + third] == [4, 3, 2, 1, 0]


def test_each_caller_sees_what_is_his(
    people: dict[str, str], ann: httpx.Client, bob: httpx.Client, nobody: httpx.Client
) -> None:
    assert len(post(bob, "/api/query/Task", {})) == 1
    denied = nobody.post("/api/query/Task", json={})
    assert code(denied) == (403, "POLICY_DENIED")
    assert denied.json()["error"]["hint"]
    body = {"Person": {"include": {"tasks": {"limit": 2, "order": {"rank": "desc"}}}}}
    by_name = {row["name"]: row for row in post(ann, "/api/query", body)["Person"]}
    assert [row["rank"] for row in by_name["paul"]["tasks"]] == [4, 3]
    assert by_name["pia"]["tasks"] == []
    assert "secret" not in by_name["pia"]
    by_name = {row["name"]: row for row in post(nobody, "/api/query", body)["Person"]}
    assert by_name["paul"]["tasks"] == []
    assert code(ann.post("/api/query", json={"Person": {}, "Sealed": {}}))[0] == 403


def test_lookups_decode_the_path(people: dict[str, str], nobody: httpx.Client) -> None:
    for path in ("paul@a%20b%2Fc", "paul%40a%20b/c"):
        answer = nobody.get(f"/api/lookup/Person/email/{path}")
        assert answer.status_code == 200, answer.text
        assert answer.json() == {
            "id": people["paul"], "name": "paul", "email": "paul@a b/c"
        }  # fmt: skip
    assert code(nobody.get("/api/lookup/Person/email/x")) == (404, "NOT_FOUND")
    assert code(nobody.get("/api/lookup/Person/email")) == (404, "NOT_FOUND")
    assert code(nobody.get("/api/lookup/Person/email/")) == (404, "NOT_FOUND")
    assert code(nobody.get("/api/lookup/Person/secret/s")) == (400, "INVALID_COLUMN")
    assert code(nobody.get("/api/lookup/Nope/a/b")) == (400, "ENTITY_NOT_FOUND")
    assert code(nobody.get("/api/lookup/Sealed/n/1")) == (403, "POLICY_DENIED")


def test_aggregates_count_what_the_caller_sees(people: dict[str, str], ann: httpx.Client) -> None:
    body = {"count": "*", "sum": ["rank"], "groupBy": ["done"], "order": {"sum_rank": "desc"}}
    assert post(ann, "/api/aggregate/Task", body) == {
        "rows": [
            {"done": True, "count": 2, "sum_rank": 7},
            {"done": False, "count": 3, "sum_rank": 3},
        ]
    }


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/api/query/Task", "{", (400, "INVALID_JSON")),
        ("/api/query/Task", "", (400, "INVALID_JSON")),
        ("/api/query/Task", "[]", (400, "INVALID_QUERY")),
        ("/api/query/Task", '{"where": {}}', (400, "INVALID_COLUMN")),
        ("/api/query/Task", '{"rank": {"$gth": 1}}', (400, "INVALID_QUERY")),
        ("/api/query/Person", '{"secret": "s"}', (400, "INVALID_COLUMN")),
        ("/api/query/task", "{}", (400, "ENTITY_NOT_FOUND")),
        ("/api/query/filtered", "{}", (400, "ENTITY_NOT_FOUND")),
        ("/api/query", "", (400, "INVALID_JSON")),
        ("/api/query", "[]", (400, "INVALID_QUERY")),
        ("/api/query", '{"Task": {"include": {"x": {}}}}', (400, "RELATION_NOT_FOUND")),
        ("/api/aggregate/Task", "{}", (400, "INVALID_QUERY")),
        ("/api/aggregate/Task", '{"count": "*", "where": []}', (400, "INVALID_QUERY")),
        ("/api/aggregate/Sealed", '{"count": "*"}', (403, "POLICY_DENIED")),
    ],
)
def test_mistakes_have_their_codes(
    ann: httpx.Client, path: str, body: str, expected: tuple[int, str]
) -> None:
    assert code(ann.post(path, content=body)) == expected


def test_deeply_nested_json_is_refused(ann: httpx.Client) -> None:
    for depth in (50, 500, 100_000):
        body = '{"$not":' * depth + "{}" + "}" * depth
        answer = ann.post("/api/query/Task", content=body)
        assert answer.status_code == 400, answer.text
