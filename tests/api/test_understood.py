"""What is not understood is refused, at every route: the table is the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from tests.api.test_routes_table import APP
from tests.server import ADMIN_TOKEN, Server, serving

TAKE_ANY = {"/api/auth/me", "/api/auth/session", "/api/auth/sessions"}
"""Asked with parameters of others (cache busters, what a sign-in page adds); they have none."""

SYSTEM = {"/api/manifest", "/api/openapi.json", "/health", "/readyz", "/metrics"}

OPEN_BODIES = {
    "/api/sync/push": "an offline client whose push is refused for ever loses what it holds",
    "/api/crdt/": "as a push",
    "/api/import": "files of other versions may say more of themselves",
    "/api/actions/": "spec 02 section 5.5: what is not declared is repeated in the answer",
    "/api/auth/": "sessions are made by helpers of many versions",
}
"""Bodies with keys that are passed over, and why."""


class Asked(NamedTuple):
    method: str
    path: str
    names: tuple[str, ...]
    properties: dict[str, Any] | None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(APP, tmp_path_factory.mktemp("understood") / "app.db") as running:
        yield running


@pytest.fixture(scope="module")
def admin(server: Server) -> Iterator[httpx.Client]:
    with server.client(ADMIN_TOKEN) as client:
        yield client


@pytest.fixture(scope="module")
def table(admin: httpx.Client) -> list[Asked]:
    document = admin.get("/api/openapi.json").json()
    found = []
    for pattern, operations in document["paths"].items():
        for method, operation in operations.items():
            names = tuple(
                each["name"] for each in operation.get("parameters", []) if each["in"] == "query"
            )
            path = pattern.replace("{field}", "id").replace("{", "").replace("}", "")
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema")
            found.append(Asked(method.upper(), path, names, schema))
    assert len(found) > 40
    return found


def of_one(asked: Asked) -> bool:
    """Whether the path says what is answered: what nobody knows changes nothing there."""
    return asked.path.startswith("/api/lookup/") or asked.path.endswith("/id")


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


def test_a_parameter_that_a_route_does_not_know_is_refused(
    admin: httpx.Client, table: list[Asked]
) -> None:
    asked = [
        each
        for each in table
        if each.method == "GET" and each.path not in TAKE_ANY | SYSTEM and not of_one(each)
    ]
    families = {"/".join(each.path.split("/")[:3]) for each in asked}
    assert families >= {"/api/entities", "/api/export", "/api/sync", "/events"}
    for each in asked:
        answer = admin.get(each.path, params={"fliter": "1"})
        status, code, message = refusal(answer)
        assert (status, code) == (400, "INVALID_QUERY"), each
        assert '"fliter"' in message, each


def test_a_parameter_is_given_once(admin: httpx.Client, table: list[Asked]) -> None:
    for each in table:
        for name in each.names:
            answer = admin.request(each.method, f"{each.path}?{name}=1&{name}=2")
            assert refusal(answer)[:2] == (400, "INVALID_QUERY"), (each, name)


def test_what_a_list_knows_is_refused_where_it_would_mean_nothing(
    admin: httpx.Client, table: list[Asked]
) -> None:
    for each in table:
        if (each.method != "GET" or of_one(each)) and "limit" not in each.names:
            answer = admin.request(each.method, each.path, params={"limit": 1}, json={})
            assert refusal(answer)[:2] == (400, "INVALID_QUERY"), each
            assert '"limit"' in refusal(answer)[2]


def test_cache_busters_and_headers_are_passed_over(admin: httpx.Client, table: list[Asked]) -> None:
    headers = {"x-client-version": "9", "cache-control": "no-cache"}
    for each in table:
        if each.method == "GET" and "stream" not in each.path and "events" not in each.path:
            plain = admin.get(each.path)
            busted = admin.get(each.path, params={"_": 1, "_t": 2}, headers=headers)
            assert busted.status_code == plain.status_code, each


def test_a_key_that_a_body_does_not_know_is_refused(
    admin: httpx.Client, table: list[Asked]
) -> None:
    """What else is wrong with such a body may be told first; it is never done."""
    bodies: dict[str, Any] = {
        "/api/batch": {"operations": []},
        "/api/transact": {"operations": []},
        "/api/link": {"entity": "Error", "id": "x", "relation": "session", "target_id": "y"},
        "/api/unlink": {"entity": "Error", "id": "x", "relation": "session"},
        "/api/query": {},
    }
    met = set()
    for each in table:
        if each.properties is None or any(each.path.startswith(path) for path in OPEN_BODIES):
            continue
        body = {**bodies.get(each.path, {}), "bananas": 1}
        if each.path.startswith("/api/aggregate"):
            body["count"] = "*"
        status, _, message = refusal(admin.request(each.method, each.path, json=body))
        if "/cursor" not in each.path and status != 404:
            assert status == 400, each
            assert "bananas" in message, (each, message)
            met.add(each.path.split("/")[2])
    assert met >= {"entities", "query", "aggregate", "search", "batch", "transact", "link"}


DOORS = [
    ("POST", "/api/query/Session", {"rank": {}}),
    ("POST", "/api/query", {"Session": {"where": {"rank": {}}}}),
    ("POST", "/api/aggregate/Session", {"count": "*", "where": {"rank": {}}}),
    ("POST", "/api/aggregate/Session", {"count": "*", "having": {"count": {}}}),
    ("POST", "/api/search/Session", {"where": {"rank": {}}}),
]


@pytest.mark.parametrize(("method", "path", "body"), DOORS)
def test_a_field_without_an_operator_is_refused_at_every_door(
    admin: httpx.Client, method: str, path: str, body: Any
) -> None:
    status, code, message = refusal(admin.request(method, path, json=body))
    assert (status, code) == (400, "INVALID_QUERY")
    assert '"rank"' in message or '"count"' in message
