"""Every route of spec 02, with what it answers to whom: one line a request, in order.

`{row}` is a row of Session that everybody sees, `{hidden}` one of somebody else's, `{error}` a row
of Error, `{page}` one of Page that ann sees since she is a member. Each line says method, path,
caller, body, status and, of a refusal, its code.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.server import ADMIN_TOKEN, Server, serving

APP = Path(__file__).parent / "contract_app.py"

ROWS, ROW, HIDDEN = "/api/entities/Session", "/api/entities/Session/{row}", "{hidden}"
ERRORS = "/api/entities/Error"
PAGES, PAGE, AGES = "/api/entities/Page", "/api/entities/Page/{page}", "/api/aggregate/Session"
BAD_QUERY = "INVALID_QUERY"
MINE = {"orgId": "acme", "title": "d"}
NONE = "f" * 40
NO_JSON = b"{"
INSERT: dict[str, Any] = {"op": "insert", "entity": "Error", "data": {"text": "x"}}
LINK: dict[str, Any] = {
    "entity": "Error",
    "id": "{error}",
    "relation": "session",
    "target_id": "{row}",
}
PAGE_LINK: dict[str, Any] = {"entity": "Page", "id": "{page}", "relation": "members"}


class Line(NamedTuple):
    method: str
    path: str
    caller: str
    body: Any
    status: int
    code: str | None = None


TABLE = [
    # 1.1 bodies, 1.2 paths
    Line("POST", ROWS, "ann", b'{"title":"\xff"}', 400, "INVALID_JSON"),
    Line("POST", ROWS, "ann", b" " * (10_485_760 + 1), 413, "PAYLOAD_TOO_LARGE"),
    Line("POST", "/api/query?x=1", "ann", {}, 200),
    Line("POST", "/api/query/", "ann", {}, 200),
    Line("GET", f"{ROWS}/a/b", "ann", None, 404, "NOT_FOUND"),
    Line("GET", f"{ROWS}/a/cursor", "ann", None, 404, "NOT_FOUND"),
    # 4.1 list, 4.2 cursor, 4.3 get
    Line("GET", ROWS, "nobody", None, 200),
    Line("GET", f"{ROWS}/", "nobody", None, 200),
    Line("GET", f"{ROWS}?limit=1&offset=1", "ann", None, 200),
    Line("GET", f"{ROWS}?limit=x", "ann", None, 400, "INVALID_QUERY"),
    Line("GET", "/api/entities/Nope", "ann", None, 400, "ENTITY_NOT_FOUND"),
    Line("GET", "/api/entities/session", "ann", None, 400, "ENTITY_NOT_FOUND"),
    Line("GET", "/api/entities/User", "nobody", None, 403, "POLICY_DENIED"),
    Line("GET", "/api/entities/User", "admin", None, 200),
    Line("GET", f"{ROWS}/cursor", "nobody", None, 200),
    Line("GET", f"{ROWS}/cursor?limit=0", "nobody", None, 200),
    Line("GET", f"{ROWS}/cursor?after={{row}}&limit=1000", "ann", None, 200),
    Line("GET", "/api/entities/User/cursor", "nobody", None, 403, "POLICY_DENIED"),
    Line("GET", "/api/entities/Nope/cursor", "ann", None, 404, "ENTITY_NOT_FOUND"),
    Line("GET", "/api/entities/Nope/x", "ann", None, 404, "ENTITY_NOT_FOUND"),
    Line("GET", ROW, "nobody", None, 200),
    Line("GET", f"{ROWS}/{HIDDEN}", "ann", None, 404, "NOT_FOUND"),
    Line("GET", f"{ROWS}/{HIDDEN}", "admin", None, 200),
    Line("GET", f"{ROWS}/{NONE}", "ann", None, 404, "NOT_FOUND"),
    Line("HEAD", ROW, "nobody", None, 200),
    # 4.4 insert, 4.5 update, 4.6 delete, 4.7 the rest
    Line("POST", ROWS, "ann", {"title": "a", "rank": 1}, 201),
    Line("POST", ROWS, "guest", {"title": "a", "rank": 1}, 201),
    Line("POST", ROWS, "admin", {"title": "a", "rank": 1, "slug": "taken"}, 201),
    Line("POST", ROWS, "admin", {"title": "a", "rank": 1, "slug": "taken"}, 400, "INSERT_FAILED"),
    Line("POST", ROWS, "ann", {"title": "a"}, 400, "INSERT_FAILED"),
    Line("POST", ROWS, "ann", {"title": 1, "rank": 1}, 400, "INVALID_DATA"),
    Line("POST", ROWS, "ann", [], 400, "INVALID_DATA"),
    Line("POST", ROWS, "ann", {"titel": "a"}, 400, "INVALID_COLUMN"),
    Line("POST", ROWS, "ann", {"secret": "a"}, 400, "INVALID_COLUMN"),
    Line("POST", ROWS, "ann", NO_JSON, 400, "INVALID_JSON"),
    Line("POST", ROWS, "ann", b"", 400, "INVALID_JSON"),
    Line("POST", ERRORS, "ann", {"id": "{error}"}, 409, "ID_TAKEN"),
    Line("POST", "/api/entities/User", "ann", {}, 403, "POLICY_DENIED"),
    Line("POST", "/api/entities/Nope", "ann", {}, 400, "ENTITY_NOT_FOUND"),
    Line("POST", ROW, "ann", {}, 405, "METHOD_NOT_ALLOWED"),
    Line("PATCH", ROW, "nobody", {"rank": 2}, 200),
    Line("PATCH", ROW, "nobody", {"rank": None}, 400, "UPDATE_FAILED"),
    Line("PATCH", ROW, "nobody", {"slug": "taken"}, 400, "UPDATE_FAILED"),
    Line("PATCH", ROW, "nobody", {"rank": "2"}, 400, "INVALID_DATA"),
    Line("PATCH", ROW, "nobody", {"nope": 2}, 400, "INVALID_COLUMN"),
    Line("PATCH", ROW, "nobody", {}, 404, "NOT_FOUND"),
    Line("PATCH", ROW, "nobody", NO_JSON, 400, "INVALID_JSON"),
    Line("PATCH", f"{ROWS}/{NONE}", "ann", {"rank": 2}, 404, "NOT_FOUND"),
    Line("PATCH", "/api/entities/Nope/x", "ann", {}, 400, "ENTITY_NOT_FOUND"),
    Line("PATCH", ROWS, "ann", {}, 405, "METHOD_NOT_ALLOWED"),
    Line("DELETE", f"{ERRORS}/{NONE}", "ann", None, 404, "NOT_FOUND"),
    Line("DELETE", "/api/entities/User/x", "ann", None, 403, "POLICY_DENIED"),
    Line("DELETE", ROWS, "ann", None, 405, "METHOD_NOT_ALLOWED"),
    Line("PUT", ROWS, "ann", {}, 405, "METHOD_NOT_ALLOWED"),
    Line("PUT", ROW, "ann", {}, 405, "METHOD_NOT_ALLOWED"),
    Line("OPTIONS", ROW, "nobody", None, 204),
    # 2.7 what rows of another entity decide
    Line("GET", PAGES, "nobody", None, 403, "POLICY_DENIED"),
    Line("GET", PAGES, "guest", None, 200),
    Line("GET", PAGE, "ann", None, 200),
    Line("GET", PAGE, "guest", None, 404, "NOT_FOUND"),
    Line("GET", PAGE, "nobody", None, 403, "POLICY_DENIED"),
    Line("POST", PAGES, "ann", {"orgId": "acme", "title": "b"}, 201),
    Line("POST", PAGES, "ann", {"orgId": "other", "title": "c"}, 403, "POLICY_DENIED"),
    Line(
        "POST", PAGES, "ann", {"orgId": "acme", "title": "d", "state": "x"}, 400, "INVALID_COLUMN"
    ),
    Line("PATCH", PAGE, "ann", {"orgId": "other"}, 403, "POLICY_DENIED"),
    Line("PATCH", PAGE, "ann", {"isPublic": True}, 200),
    Line("PATCH", PAGE, "guest", {"isPublic": False}, 403, "POLICY_DENIED"),
    Line("DELETE", PAGE, "guest", None, 403, "POLICY_DENIED"),
    # 5.1 query
    Line("POST", "/api/query/Session", "nobody", {}, 200),
    Line("POST", "/api/query/Session?x=1", "nobody", {}, 200),
    Line("POST", "/api/query/Session", "ann", {"rank": {"$gte": 1}, "$limit": 1}, 200),
    Line("POST", "/api/query/Session", "ann", {"rank": {"$in": []}}, 200),
    Line("POST", "/api/query/Session", "ann", {"rank": {"$gte": "x"}}, 400, "INVALID_QUERY"),
    Line("POST", "/api/query/Session", "ann", {"rank": {"$bad": 1}}, 400, "INVALID_QUERY"),
    Line("POST", "/api/query/Session", "ann", {"secret": "x"}, 400, "INVALID_COLUMN"),
    Line("POST", "/api/query/Session", "ann", {"$nope": 1}, 400, "INVALID_COLUMN"),
    Line("POST", "/api/query/Session", "ann", {"$order": {"nope": "asc"}}, 400, "INVALID_COLUMN"),
    Line("POST", "/api/query/Session", "ann", {"$limit": -1}, 400, "INVALID_QUERY"),
    Line("POST", "/api/query/Session", "ann", {"$search": "see", "title": "seen"}, 200),
    Line("POST", "/api/query/Session", "ann", {"$search": 'a-b "'}, 200),
    Line("POST", "/api/query/Session", "ann", [], 400, "INVALID_QUERY"),
    Line("POST", "/api/query/Page", "nobody", {}, 403, "POLICY_DENIED"),
    Line("POST", "/api/query/Session", "ann", b"", 400, "INVALID_JSON"),
    Line("POST", "/api/query/User", "nobody", {}, 403, "POLICY_DENIED"),
    Line("POST", "/api/query/Nope", "ann", {}, 400, "ENTITY_NOT_FOUND"),
    Line("GET", "/api/query/Session", "ann", None, 405, "METHOD_NOT_ALLOWED"),
    # 5.2 lookup
    Line("GET", "/api/lookup/Session/title/seen", "nobody", None, 200),
    Line("GET", "/api/lookup/Session/title/a%2Fb", "nobody", None, 404, "NOT_FOUND"),
    Line("GET", "/api/lookup/Session/title/theirs", "ann", None, 404, "NOT_FOUND"),
    Line("GET", "/api/lookup/Session/nope/x", "ann", None, 400, "INVALID_COLUMN"),
    Line("GET", "/api/lookup/Session/secret/x", "ann", None, 400, "INVALID_COLUMN"),
    Line("GET", "/api/lookup/User/id/x", "nobody", None, 403, "POLICY_DENIED"),
    Line("GET", "/api/lookup/Nope/id/x", "ann", None, 400, "ENTITY_NOT_FOUND"),
    Line("GET", "/api/lookup/Session/title", "ann", None, 404, "NOT_FOUND"),
    # 5.3 graph
    Line("POST", "/api/query", "nobody", {"Session": {"include": {"errors": {}}}}, 200),
    Line("POST", "/api/query", "nobody", {"Error": {"include": {"session": {}}}}, 200),
    Line("POST", "/api/query", "ann", {"Session": True, "Error": {"limit": 1}}, 200),
    Line("POST", "/api/query", "ann", {"Page": {"include": {"members": {}}}}, 200),
    Line("POST", "/api/query", "ann", [], 400, "INVALID_QUERY"),
    Line("POST", "/api/query", "ann", {"Session": {"where": {"x": 1}}}, 400, "INVALID_COLUMN"),
    Line("POST", "/api/query", "ann", {"Nope": {}}, 400, "ENTITY_NOT_FOUND"),
    Line("POST", "/api/query", "nobody", {"User": {}}, 403, "POLICY_DENIED"),
    Line(
        *("POST", "/api/query", "ann"),
        {"Session": {"include": {"nope": {}}}},
        *(400, "RELATION_NOT_FOUND"),
    ),
    Line("POST", "/api/query", "ann", NO_JSON, 400, "INVALID_JSON"),
    # 5.4 aggregate
    Line("POST", "/api/aggregate/Session", "nobody", {"count": "*", "sum": ["rank"]}, 200),
    Line("POST", "/api/aggregate/Session", "ann", {}, 400, "INVALID_QUERY"),
    Line("POST", "/api/aggregate/Session", "ann", [], 400, "INVALID_QUERY"),
    Line("POST", "/api/aggregate/Session", "ann", {"groupBy": ["title"]}, 200),
    Line("POST", AGES, "ann", {"groupBy": [{"field": "madeAt", "bucket": "week"}]}, 200),
    Line("POST", AGES, "ann", {"groupBy": [{"field": "madeAt", "bucket": "x"}]}, 400, BAD_QUERY),
    Line("POST", AGES, "ann", {"groupBy": [{"bucket": "day"}]}, 400, BAD_QUERY),
    Line("POST", AGES, "ann", {"count": "*", "where": []}, 400, BAD_QUERY),
    Line("POST", AGES, "ann", {"sum": ["title"]}, 400, BAD_QUERY),
    Line("POST", AGES, "ann", NO_JSON, 400, "INVALID_JSON"),
    Line("POST", "/api/aggregate/Session", "ann", {"count": "nope"}, 400, "INVALID_COLUMN"),
    Line("POST", "/api/aggregate/Session", "ann", {"sum": "rank"}, 400, "INVALID_QUERY"),
    Line("POST", "/api/aggregate/User", "nobody", {"count": "*"}, 403, "POLICY_DENIED"),
    Line("POST", "/api/aggregate/Nope", "ann", {"count": "*"}, 400, "ENTITY_NOT_FOUND"),
    # 5.5 actions
    Line("POST", "/api/actions/publish", "ann", {"title": "x", "rank": 1, "more": True}, 200),
    Line("POST", "/api/actions/publish", "nobody", {"title": "x"}, 403, "POLICY_DENIED"),
    Line("POST", "/api/actions/publish", "ann", {"title": "no"}, 403, "POLICY_DENIED"),
    Line("POST", "/api/actions/publish", "admin", {"title": "no"}, 200),
    Line("POST", "/api/actions/publish", "ann", {"title": None}, 400, "ACTION_MISSING_INPUT"),
    Line("POST", "/api/actions/publish", "ann", {"title": 1}, 400, "INVALID_ARGS"),
    Line("POST", "/api/actions/publish", "ann", NO_JSON, 400, "INVALID_JSON"),
    Line("GET", "/api/actions/publish", "ann", None, 405, "METHOD_NOT_ALLOWED"),
    Line("POST", "/api/actions/tidy", "nobody", [], 200),
    Line("POST", "/api/actions/nope", "ann", {}, 404, "ACTION_NOT_FOUND"),
    Line("GET", "/api/actions/nope", "ann", None, 405, "METHOD_NOT_ALLOWED"),
    # 6.1 link and unlink
    Line("POST", "/api/link", "ann", LINK, 200),
    Line("POST", "/api/unlink", "ann", {**LINK, "target_id": None}, 200),
    Line("POST", "/api/link", "ann", {**LINK, "id": NONE}, 404, "NOT_FOUND"),
    Line("POST", "/api/link", "ann", {**LINK, "target_id": HIDDEN}, 404, "NOT_FOUND"),
    Line("POST", "/api/link", "ann", {**LINK, "relation": "x"}, 400, "RELATION_NOT_FOUND"),
    Line("POST", "/api/link", "ann", {}, 400, "ENTITY_NOT_FOUND"),
    Line("POST", "/api/link", "nobody", LINK, 200),
    Line("POST", "/api/link", "ann", PAGE_LINK, 404, "NOT_FOUND"),
    Line("POST", "/api/unlink", "admin", PAGE_LINK, 400, "UPDATE_FAILED"),
    Line("POST", "/api/unlink", "ann", NO_JSON, 400, "INVALID_JSON"),
    # 6.2 transact, 6.3 batch
    Line("POST", "/api/transact", "ann", [INSERT], 200),
    Line("POST", "/api/transact", "ann", {"operations": [INSERT], "strict": True}, 200),
    Line("POST", "/api/transact", "ann", [INSERT, {"op": "x"}], 400),
    Line("POST", "/api/transact", "ann", [{**INSERT, "entity": "User"}], 403),
    Line("POST", "/api/transact", "ann", {}, 400, "INVALID_JSON"),
    Line("POST", "/api/transact", "ann", [INSERT] * 1_001, 413, "TOO_MANY_OPERATIONS"),
    Line("POST", "/api/batch", "ann", {"operations": [INSERT, {"op": "x"}]}, 200),
    Line("POST", "/api/batch", "ann", {}, 400, "MISSING_OPERATIONS"),
    Line("POST", "/api/batch", "ann", NO_JSON, 400, "INVALID_JSON"),
    # 6.4 export, 6.5 import
    Line("GET", "/api/export", "admin", None, 200),
    Line("GET", "/api/export?format=ndjson", "admin", None, 200),
    Line("GET", "/api/export?format=xml", "admin", None, 400, "INVALID_QUERY"),
    Line("GET", "/api/export", "ann", None, 403, "FORBIDDEN"),
    Line("GET", "/api/export/Session", "admin", None, 200),
    Line("GET", "/api/export/Nope", "admin", None, 400, "ENTITY_NOT_FOUND"),
    Line("GET", "/api/export/", "admin", None, 200),
    Line("GET", "/api/export/Session", "nobody", None, 403, "FORBIDDEN"),
    Line("POST", "/api/import", "admin", {"entities": {"Error": [{"text": "x"}]}}, 200),
    Line("POST", "/api/import", "admin", {}, 400, "MISSING_FIELD"),
    Line("POST", "/api/import", "admin", {"entities": {"Error": 1}}, 200),
    Line("POST", "/api/import", "admin", NO_JSON, 400, "INVALID_JSON"),
    Line("POST", "/api/import?mode=x", "admin", {}, 400, "INVALID_QUERY"),
    Line("POST", "/api/import", "ann", {"entities": {}}, 403, "FORBIDDEN"),
    # 6.6 a person's data, 6.7 reset
    Line("POST", "/api/admin/users/zoe/export", "admin", None, 200),
    Line("POST", "/api/admin/users/zoe/export", "ann", None, 403, "FORBIDDEN"),
    Line("GET", "/api/admin/users/zoe/export", "admin", None, 405, "METHOD_NOT_ALLOWED"),
    Line("DELETE", "/api/admin/users/zoe/purge", "admin", None, 200),
    Line("DELETE", "/api/admin/users/zoe/purge", "ann", None, 403, "FORBIDDEN"),
    Line("POST", "/api/__test__/reset", "admin", None, 403, "RESET_REFUSED"),
    # 7.1 search
    Line("POST", "/api/search/Session", "nobody", {}, 200),
    Line("POST", "/api/search/Session/", "nobody", {"query": "seen", "page_size": 5}, 200),
    Line("POST", "/api/search/Session", "ann", {"page": -1}, 400, "INVALID_QUERY"),
    Line("POST", "/api/search/Session", "ann", {"filters": "x"}, 400, "INVALID_QUERY"),
    Line("POST", "/api/search/Session", "ann", {"sort": ["nope", "asc"]}, 200),
    Line("POST", "/api/search/Session", "ann", {"filters": {"nope": 1}, "facets": ["no"]}, 200),
    Line("POST", "/api/search/Session", "ann", {"query": 'a-b "('}, 200),
    Line("POST", "/api/search/Page", "ann", {}, 200),
    Line(
        *("POST", "/api/search/Page", "nobody", {}, 403),
        "SEARCH_REQUIRES_ROW_INDEPENDENT_POLICY",
    ),
    Line("POST", "/api/search/Session", "ann", NO_JSON, 400, "INVALID_JSON"),
    Line("POST", "/api/search/Error", "ann", {}, 400, "SEARCH_NOT_CONFIGURED"),
    Line("POST", "/api/search/Nope", "ann", {}, 404, "ENTITY_NOT_FOUND"),
    Line("POST", "/api/search/", "ann", {}, 400, "MISSING_ENTITY"),
    Line("GET", "/api/search/Session", "ann", None, 405, "METHOD_NOT_ALLOWED"),
    # 2.5 the routes that other files of the spec describe: sync, documents, the server itself
    Line("GET", "/api/sync/pull?since=0", "nobody", None, 200),
    Line("POST", "/api/sync/push", "ann", {"changes": []}, 200),
    Line("POST", "/api/sync/push", "guest", {"changes": []}, 200),
    Line("POST", "/api/sync/push", "nobody", {"changes": []}, 403, "FORBIDDEN"),
    Line("POST", "/api/sync/push", "ann", {}, 400, "INVALID_JSON"),
    Line("POST", "/api/crdt/Session/{row}", "nobody", {}, 401, "AUTH_REQUIRED"),
    Line("POST", "/api/crdt/Session/{row}", "ann", {}, 400, "MISSING_UPDATE"),
    Line("POST", "/api/crdt/Session/{row}", "ann", {"update": "zz"}, 400, "INVALID_HEX"),
    Line("POST", "/api/crdt/Session/{row}", "ann", {"update": "00"}, 400, "CRDT_DECODE_FAILED"),
    Line("POST", "/api/crdt/Error/{error}", "ann", {"update": "00"}, 400, "NOT_SUPPORTED"),
    Line("POST", "/api/crdt/Nope/x", "ann", {"update": "00"}, 404, "ENTITY_NOT_FOUND"),
    Line("POST", "/api/crdt/Session", "ann", {}, 400, "BAD_PATH"),
    Line("GET", "/api/manifest", "nobody", None, 200),
    Line("GET", "/api/openapi.json", "nobody", None, 200),
    Line("GET", "/health", "nobody", None, 200),
    # 1.3 the fallback
    Line("GET", "/api/nowhere", "ann", None, 404, "NOT_FOUND"),
    Line("GET", "/api/entities/%FF/x", "ann", None, 400, "INVALID_PATH"),
    # last, since they change what the others look at
    Line("DELETE", f"{ERRORS}/{{error}}", "ann", None, 200),
    Line("DELETE", f"{ERRORS}/{{error}}", "ann", None, 404, "NOT_FOUND"),
]

NOT_YET = ("/api/actions", "/api/files")
"""Routes of spec 02 that later releases bring; an unknown path until then."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(APP, tmp_path_factory.mktemp("routes") / "app.db") as running:
        yield running


@pytest.fixture(scope="module")
def callers(server: Server) -> Iterator[dict[str, httpx.Client]]:
    tokens = {"nobody": None, "ann": server.token_of("ann"), "admin": ADMIN_TOKEN}
    with server.client() as client:
        tokens["guest"] = client.post("/api/auth/guest").json()["token"]
    clients = {name: server.client(token) for name, token in tokens.items()}
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture(scope="module")
def ids(callers: dict[str, httpx.Client]) -> dict[str, str]:
    """What the words in braces stand for."""
    made = {
        "row": ("Session", {"title": "seen", "rank": 1, "ownerId": None}),
        "hidden": ("Session", {"title": "theirs", "rank": 1, "ownerId": "zed"}),
        "error": ("Error", {"text": "x"}),
        "page": ("Page", {"orgId": "acme", "title": "x"}),
    }
    callers["admin"].post("/api/entities/Member", json={"orgId": "acme", "userId": "ann"})
    return {
        name: callers["admin"].post(f"/api/entities/{entity}", json=data).json()["id"]
        for name, (entity, data) in made.items()
    }


def filled(value: Any, ids: dict[str, str]) -> Any:
    """The value with ids in place of words in braces."""
    if isinstance(value, str):
        for name, row_id in ids.items():
            value = value.replace(f"{{{name}}}", row_id)
        return value
    if isinstance(value, dict):
        return {key: filled(inner, ids) for key, inner in value.items()}
    return [filled(inner, ids) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("line", TABLE, ids=lambda line: f"{line.method} {line.path} {line.status}")
def test_a_route_answers_as_specified(
    line: Line, callers: dict[str, httpx.Client], ids: dict[str, str]
) -> None:
    body = filled(line.body, ids)
    sent: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {}
    if body is not None and not sent:
        sent = {"json": body}
    answer = callers[line.caller].request(line.method, filled(line.path, ids), **sent)
    assert answer.status_code == line.status, answer.text
    if line.code is not None:
        assert answer.json()["error"]["code"] == line.code


def test_the_table_lists_every_documented_route(callers: dict[str, httpx.Client]) -> None:
    """What the server documents of the data plane stands in the table with a success."""
    families = ("entities", "query", "lookup", "aggregate", "search", "link", "unlink", "transact")
    more = ("batch", "export", "import", "admin")
    document = callers["admin"].get("/api/openapi.json").json()
    wanted = {
        (method.upper(), path.split("/")[2], path.count("/") > 3)
        for path, methods in document["paths"].items()
        for method in methods
        if path.split("/")[2:3] and path.split("/")[2] in (*families, *more)
    }
    listed = {
        (line.method, path.split("/")[2], path.rstrip("/").count("/") > 3)
        for line in TABLE
        if line.status < 300
        for path in [line.path.partition("?")[0]]
        if path.count("/") > 1
    }
    assert wanted <= listed, wanted - listed


@pytest.mark.parametrize("path", NOT_YET)
def test_routes_of_later_releases_are_unknown(path: str, callers: dict[str, httpx.Client]) -> None:
    assert callers["ann"].post(f"{path}/x", json={}).status_code == 404
