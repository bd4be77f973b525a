"""`?filter=&sort=&order=&fields=&count=` of GET lists, and their brothers in a query's body."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pylon import limits
from tests.server import ADMIN_TOKEN, Server, serving

TASKS = "/api/entities/Task"
PAGES = f"{TASKS}/cursor"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    app = Path(__file__).with_name("queries_app.py")
    with serving(app, tmp_path_factory.mktemp("lists") / "app.db") as running:
        yield running


@pytest.fixture(scope="module")
def ann(server: Server) -> Iterator[httpx.Client]:
    """She owns twelve tasks of ranks 0 to 5, of two each; Bob has one that she may not see."""
    with server.client(server.token_of("ann")) as ann, server.client(ADMIN_TOKEN) as admin:
        for n in range(12):
            rank = None if n >= 10 else n // 2
            task = {"title": f"t{n:02}", "rank": rank, "done": n % 3 == 0}
            assert ann.post(TASKS, json=task).status_code == 201
        bobs = {"title": "bob's", "rank": 1, "ownerId": "bob"}
        assert admin.post(TASKS, json=bobs).status_code == 201
        assert admin.post("/api/entities/Person", json={"name": "p", "secret": "s"}).is_success
        yield ann


def asked(client: httpx.Client, path: str = TASKS, **params: Any) -> Any:
    given = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in params.items()}
    answer = client.get(path, params=given)
    assert answer.status_code == 200, answer.text
    return answer.json()


def titles(answer: Any) -> list[str]:
    return [row["title"] for row in answer["data"]]


def refused(client: httpx.Client, path: str = TASKS, **params: Any) -> tuple[int, str, str]:
    given = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in params.items()}
    answer = client.get(path, params=given)
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


# --- filter, sort, fields --------------------------------------------------------------------


def test_a_filter_finds_as_a_query_does(ann: httpx.Client) -> None:
    for condition in (
        {"rank": {"$gte": 2}, "done": False},
        {"$or": [{"rank": None}, {"title": {"$like": "t0"}}]},
        {"$search": "t03"},
        {},
    ):
        expected = ann.post("/api/query/Task", json=condition).json()
        found = asked(ann, filter=condition)
        assert found["data"] == expected
        assert found == {"data": expected, "count": len(expected), "offset": 0, "limit": None}
        assert asked(ann, PAGES, filter=condition, limit=100)["data"] == sorted(
            expected, key=lambda row: row["id"]
        )


@pytest.mark.parametrize(
    ("params", "order"),
    [
        ({"sort": "-rank"}, {"rank": "desc"}),
        ({"sort": "rank", "order": "desc"}, {"rank": "desc"}),
        ({"sort": "done,-rank"}, {"done": "asc", "rank": "desc"}),
        ({"sort": "-done,rank", "order": "ASC"}, {"done": "desc", "rank": "asc"}),
        ({"sort": "rank,+title", "order": "desc"}, {"rank": "desc", "title": "asc"}),
        ({"order": "desc"}, {"id": "desc"}),
        ({"sort": "-id"}, {"id": "desc"}),
        ({"order": "asc"}, {"id": "asc"}),
    ],
)
def test_a_sort_orders_as_a_query_does(
    ann: httpx.Client, params: dict[str, str], order: dict[str, str]
) -> None:
    expected = ann.post("/api/query/Task", json={"$order": order}).json()
    assert asked(ann, **params)["data"] == expected
    assert asked(ann, **params, limit=3, offset=2)["data"] == expected[2:5]
    for limit in (1, 5, 12, 100):
        seen: list[Any] = []
        after = ""
        while True:
            page = asked(ann, PAGES, **params, limit=limit, after=after)
            seen += page["data"]
            if not page["has_more"]:
                break
            after = page["next_cursor"]
        assert seen == expected


def test_a_page_goes_on_behind_a_row_that_has_gone(ann: httpx.Client) -> None:
    gone = ann.post(TASKS, json={"title": "t02a", "rank": 1}).json()["id"]
    page = asked(ann, PAGES, sort="title", filter={"title": {"$lte": "t02a"}}, limit=4)
    assert titles(page)[-1] == "t02a"
    assert ann.delete(f"{TASKS}/{gone}").is_success
    rest = asked(ann, PAGES, sort="title", after=page["next_cursor"], fields="title")
    assert titles(rest)[0] == "t03"


def test_fields_are_all_that_is_answered(ann: httpx.Client) -> None:
    for path in (TASKS, PAGES):
        for row in asked(ann, path, fields="done, title", limit=3)["data"]:
            assert list(row) == ["id", "title", "done"]
            assert isinstance(row["done"], bool)
        assert all(list(row) == ["id"] for row in asked(ann, path, fields="id", limit=3)["data"])
    first = asked(ann, limit=1)["data"][0]
    for path in (f"{TASKS}/{first['id']}", f"/api/lookup/Task/title/{first['title']}"):
        assert asked(ann, path, fields="title") == {"id": first["id"], "title": first["title"]}
    body = {"rank": 2, "$fields": ["title"]}
    assert (
        ann.post("/api/query/Task", json=body).json()
        == asked(ann, filter={"rank": 2}, fields="title")["data"]
    )
    graph = {"Task": {"fields": ["rank"], "include": {"person": {}}, "limit": 1}}
    assert ann.post("/api/query", json=graph).json() == {"Task": [{"id": first["id"], "rank": 0}]}


def test_private_fields_cannot_be_selected_filtered_or_sorted(
    ann: httpx.Client, server: Server
) -> None:
    people = "/api/entities/Person"
    for path in (people, f"{people}/cursor"):
        for params in (
            {"fields": "secret"},
            {"fields": "name,secret"},
            {"sort": "-secret"},
            {"filter": {"secret": "s"}},
        ):
            assert refused(ann, path, **params)[:2] == (400, "INVALID_COLUMN")
    row = asked(ann, people)["data"][0]
    assert refused(ann, f"{people}/{row['id']}", fields="secret")[:2] == (400, "INVALID_COLUMN")
    with server.client(ADMIN_TOKEN) as admin:
        assert asked(admin, people, fields="secret")["data"][0]["secret"] == "s"


# --- counts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["exact", "estimated"])
def test_a_count_tells_all_rows_that_the_caller_may_see(ann: httpx.Client, how: str) -> None:
    def total(path: str = TASKS, **params: Any) -> tuple[int, str]:
        found = asked(ann, path, count=how, **params)
        return found["total"], found["total_relation"]

    for path in (TASKS, PAGES):
        assert total(path) == total(path, limit=1) == (12, "eq")
        assert total(path, limit=5, filter={"rank": {"$gte": 2}}) == (6, "eq")
        assert total(path, filter={"rank": 99}) == (0, "eq")
        assert total(path, filter={"$search": "t03"}, limit=1) == (1, "eq")
    assert total(limit=0) == total(offset=20) == total(limit=2, offset=2) == (12, "eq")
    page = asked(ann, PAGES, limit=5, count=how)
    assert total(PAGES, limit=5, after=page["next_cursor"]) == (12, "eq")
    assert "total" not in asked(ann)
    body = {"rank": {"$lt": 2}, "$limit": 1, "$count": how}
    counted = ann.post("/api/query/Task", json=body).json()
    assert counted["data"] == asked(ann, filter={"rank": {"$lt": 2}}, limit=1)["data"]
    assert (counted["count"], counted["total"], counted["total_relation"]) == (1, 4, "eq")


def test_an_estimated_count_stops_somewhere(tmp_path: Path) -> None:
    app = Path(__file__).with_name("queries_app.py")
    with serving(app, tmp_path / "app.db") as server, server.client(ADMIN_TOKEN) as admin:
        lines = b'{"entity":"Sealed","row":{"n":1}}\n' * (limits.COUNT_ROWS_MAX + 5)
        headers = {"content-type": "application/x-ndjson"}
        assert admin.post("/api/import", content=lines, headers=headers, timeout=60).is_success
        for how, total in (
            ("estimated", (limits.COUNT_ROWS_MAX, "gte")),
            ("exact", (limits.COUNT_ROWS_MAX + 5, "eq")),
        ):
            found = asked(admin, "/api/entities/Sealed", count=how, limit=1)
            assert (found["total"], found["total_relation"]) == total
        whole = asked(admin, "/api/entities/Sealed", count="exact", fields="id")
        assert (whole["count"], whole["limit"]) == (limits.LIST_ROWS_MAX, limits.LIST_ROWS_MAX)
        assert whole["total"] == limits.COUNT_ROWS_MAX + 5


def test_a_long_list_is_written_in_pieces_with_its_total(tmp_path: Path) -> None:
    app = Path(__file__).with_name("queries_app.py")
    with serving(app, tmp_path / "app.db") as server, server.client(ADMIN_TOKEN) as admin:
        text = "x" * 1_000_000
        for n in range(9):
            assert admin.post(TASKS, json={"title": text, "rank": n}).is_success
        found = asked(admin, sort="-rank", count="exact", filter={"rank": {"$gte": 1}})
        assert [row["rank"] for row in found.pop("data")] == list(range(8, 0, -1))
        assert found == {"count": 8, "offset": 0, "limit": None, "total": 8, "total_relation": "eq"}
        too_long = refused(admin, PAGES, sort="title", limit=2)
        assert too_long[:2] == (400, "INVALID_QUERY"), "it does not fit into a cursor"
        short = asked(admin, PAGES, sort="-rank", fields="rank")
        assert short["has_more"], "it ends before it is too large"
        rest = asked(admin, PAGES, sort="-rank", after=short["next_cursor"], fields="rank")
        ranks = [row["rank"] for row in (*short["data"], *rest["data"])]
        assert ranks == list(range(8, 8 - len(ranks), -1))


# --- what is not understood ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "code", "word"),
    [
        ({"filter": "{"}, "INVALID_QUERY", "filter"),
        ({"filter": "[]"}, "INVALID_QUERY", "filter"),
        ({"filter": "5"}, "INVALID_QUERY", "filter"),
        ({"filter": {"rank": {}}}, "INVALID_QUERY", "rank"),
        ({"filter": {"nope": 1}}, "INVALID_COLUMN", "nope"),
        ({"filter": {"$order": {"rank": "asc"}}}, "INVALID_QUERY", "$order"),
        ({"filter": {"$limit": 1}}, "INVALID_QUERY", "$limit"),
        ({"filter": {"$fields": ["id"]}}, "INVALID_QUERY", "$fields"),
        ({"sort": "nope"}, "INVALID_COLUMN", "nope"),
        ({"sort": "--rank"}, "INVALID_COLUMN", "-rank"),
        ({"sort": "rank,"}, "INVALID_COLUMN", '""'),
        ({"sort": "rank,-rank"}, "INVALID_QUERY", "sort"),
        ({"sort": "rank", "order": "up"}, "INVALID_QUERY", "order"),
        ({"order": "rank"}, "INVALID_QUERY", "order"),
        ({"order": "rank.desc"}, "INVALID_QUERY", "order"),
        ({"fields": "nope"}, "INVALID_COLUMN", "nope"),
        ({"fields": "title,"}, "INVALID_COLUMN", '""'),
        ({"count": "planned"}, "INVALID_QUERY", "count"),
        ({"count": "true"}, "INVALID_QUERY", "count"),
        ({"done": "true"}, "INVALID_QUERY", "done"),
    ],
)
@pytest.mark.parametrize("path", [TASKS, PAGES])
def test_a_mistake_is_named(
    ann: httpx.Client, path: str, params: dict[str, Any], code: str, word: str
) -> None:
    status, found, message = refused(ann, path, **params)
    assert (status, found) == (400, code)
    assert word in message


def test_a_cursor_belongs_to_its_order(ann: httpx.Client) -> None:
    by_rank = asked(ann, PAGES, sort="rank", limit=2)["next_cursor"]
    by_id = asked(ann, PAGES, limit=2)["next_cursor"]
    for params in (
        {"sort": "-rank", "after": by_rank},
        {"after": by_rank},
        {"sort": "rank", "after": by_id},
        {"sort": "rank", "after": "banana"},
        {"sort": "rank", "after": "c_banana"},
        {"sort": "rank", "after": by_rank[:-3]},
        {"after": "c_e30"},
    ):
        assert refused(ann, PAGES, **params)[:2] == (400, "INVALID_QUERY"), params


@pytest.mark.parametrize(
    "body",
    [
        {"$fields": "title"},
        {"$fields": []},
        {"$fields": [1]},
        {"$count": True},
        {"$count": "all"},
        {"$or": [{"$count": "exact"}]},
    ],
)
def test_a_query_with_a_wrong_key_is_refused(ann: httpx.Client, body: Any) -> None:
    answer = ann.post("/api/query/Task", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_QUERY")


def test_a_hopeless_list_is_refused_as_ever(ann: httpx.Client) -> None:
    assert refused(ann, "/api/entities/Sealed", count="exact")[:2] == (403, "POLICY_DENIED")
    assert refused(ann, "/api/entities/Nope", count="exact")[:2] == (400, "ENTITY_NOT_FOUND")
