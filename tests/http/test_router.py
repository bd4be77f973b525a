"""The routing table: precedence, methods, decoding, refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.errors import PylonError
from pylon.http.errors import HttpError
from pylon.http.request import Request
from pylon.http.response import AnyResponse, Response
from pylon.http.router import Handler, Router


def named(name: str) -> Handler:
    async def handler(_request: Request, *_params: str) -> Response:
        return Response(200)

    handler.__name__ = name
    return handler


def table(*lines: str) -> Router:
    router = Router()
    for line in lines:
        method, pattern = line.split()
        router.add(method, pattern, named(line))
    return router


ROUTER = table(
    "GET /",
    "GET /{path*}",
    "GET /api/entities/{entity}/{id*}",
    "PATCH /api/entities/{entity}/{id*}",
    "GET /api/entities/{entity}",
    "GET /api/entities/{entity}/cursor",
    "POST /api/jobs",
    "GET /api/jobs/{id}",
    "POST /api/jobs/{id}/retry",
    "GET /api/jobs/stats",
    "GET /{top}/page",
)


@pytest.mark.parametrize(
    ("method", "path", "name", "params"),
    [
        ("GET", "/", "GET /", ()),
        ("GET", "/index.html", "GET /{path*}", ("index.html",)),
        ("GET", "/css/a/b.css", "GET /{path*}", ("css/a/b.css",)),
        ("GET", "/about/page", "GET /{top}/page", ("about",)),
        ("GET", "/api/entities/A", "GET /api/entities/{entity}", ("A",)),
        ("GET", "/api/entities/A/cursor", "GET /api/entities/{entity}/cursor", ("A",)),
        ("PATCH", "/api/entities/A/cursor", "PATCH /api/entities/{entity}/{id*}", ("A", "cursor")),
        ("HEAD", "/api/entities/A/x/y", "GET /api/entities/{entity}/{id*}", ("A", "x/y")),
        ("GET", "/api/jobs/stats", "GET /api/jobs/stats", ()),
        ("GET", "/api/jobs/stats/", "GET /api/jobs/stats", ()),
        ("GET", "/api/jobs/st%61ts", "GET /api/jobs/stats", ()),
        ("GET", "/api/jobs/7", "GET /api/jobs/{id}", ("7",)),
        ("POST", "/api/jobs/7/retry", "POST /api/jobs/{id}/retry", ("7",)),
    ],
)
def test_match(method: str, path: str, name: str, params: tuple[str, ...]) -> None:
    handler, found = ROUTER.match(method, path)
    assert (handler.__name__, found) == (name, params)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/jobs", "OPTIONS, POST"),
        ("DELETE", "/api/jobs/7", "GET, HEAD, OPTIONS"),
        ("DELETE", "/api/jobs/stats", "GET, HEAD, OPTIONS"),
        ("BREW", "/api/entities/A/1", "GET, HEAD, OPTIONS, PATCH"),
    ],
)
def test_a_known_path_with_another_method_is_405(method: str, path: str, allow: str) -> None:
    with pytest.raises(HttpError) as caught:
        ROUTER.match(method, path)
    assert caught.value.status == 405
    assert caught.value.headers == ((b"allow", allow.encode()),)


@pytest.mark.parametrize("path", ["/nothing", "/api/entities//x", "/api/entities/A/", "//", ""])
def test_unknown_paths(path: str) -> None:
    router = table("GET /api/entities/{entity}/{id*}")
    with pytest.raises(PylonError) as caught:
        router.match("GET", path)
    assert caught.value.code == "NOT_FOUND"
    assert "/api/entities" in str(caught.value.hint)


@pytest.mark.parametrize(
    "lines",
    [
        ("GET /a", "GET /a"),
        ("GET /a/{x}", "GET /a/{y}"),
        ("GET /a/{x*}/b",),
        ("BREW /a",),
        ("GET a",),
    ],
)
def test_mistakes_in_the_table_are_found(lines: tuple[str, ...]) -> None:
    with pytest.raises(AssertionError):
        table(*lines)


def test_routes_are_listed_for_the_documentation() -> None:
    router = Router()
    router.add("GET", "/api/x/{a}/{b*}", named("get_x"), summary="Read an x")
    (route,) = router.routes()
    assert (route.name, route.params, route.summary) == ("get_x", ("a", "b"), "Read an x")


@pytest.mark.parametrize(
    "path",
    ["/api/entities/Todo" + "/" * 60_000, "/" * 60_000, "/" + "a/" * 30_000, "/" + "%41/" * 15_000],
)
def test_paths_of_many_segments_are_not_taken_apart(path: str) -> None:
    if path.startswith("/api") or path.strip("/") == "":
        ROUTER.match("GET", path)
        return
    with pytest.raises(PylonError) as refused:
        ROUTER.match("GET", path)
    assert refused.value.code == "NOT_FOUND"


@given(st.text(alphabet="/%ab2F.é{}*", max_size=30), st.sampled_from(["GET", "POST", "X"]))
def test_any_path_is_matched_or_refused(path: str, method: str) -> None:
    try:
        ROUTER.match(method, "/" + path)
        status = 200
    except PylonError as error:
        status = error.status
    assert status in (200, 400, 404, 405)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/api/Article", "Rows of Article are at /api/entities/Article."),
        ("/api/articles/7", "Rows of Article are at /api/entities/Article."),
        ("/entities/ARTICLE", "Rows of Article are at /api/entities/Article."),
        ("/Article", "Rows of Article are at /api/entities/Article."),
        ("/api/banana", "Routes start with: /api/entities."),
    ],
)
def test_an_unknown_path_that_names_an_entity_is_told_where_its_rows_are(
    path: str, hint: str
) -> None:
    router = Router(["Article"])
    router.add("GET", "/api/entities/{entity}/{id*}", nothing)
    with pytest.raises(PylonError) as caught:
        router.match("GET", path)
    assert (caught.value.code, caught.value.hint) == ("NOT_FOUND", hint)


def test_a_put_where_rows_are_changed_is_told_of_patch() -> None:
    router = table("PATCH /api/entities/{entity}/{id*}", "POST /api/jobs")
    with pytest.raises(HttpError) as row:
        router.match("PUT", "/api/entities/Note/7")
    assert row.value.hint == "Allowed: OPTIONS, PATCH. PATCH changes the fields that it is sent."
    with pytest.raises(HttpError) as job:
        router.match("PUT", "/api/jobs")
    assert job.value.hint == "Allowed: OPTIONS, POST."


async def nothing(_request: Request, *_params: str) -> AnyResponse:
    raise AssertionError("never called")
