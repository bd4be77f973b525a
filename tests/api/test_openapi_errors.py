"""Which errors a route may answer follows from what it does."""

from __future__ import annotations

from typing import Any

import pytest

from pylon.api.openapi.errors import codes, error_schema
from pylon.http.describe import JSON, Docs, json
from pylon.http.request import Request
from pylon.http.response import Response
from pylon.http.router import Route


async def handler(request: Request) -> Response:
    raise AssertionError


def told(method: str = "GET", *params: str, **docs: Any) -> set[str]:
    """`"404 NOT_FOUND"` and the like."""
    described = Docs(operation_id="x", tag="x", answers=json({}), **docs)
    route = Route(method=method, pattern="/x", handler=handler, name="x", summary="", params=params)
    return {f"{status} {code}" for status, some in codes(route, described).items() for code in some}


def test_the_least_of_all_routes() -> None:
    assert told(is_limited=False, takes_any_query=True) == {"500 INTERNAL"}
    assert told(is_limited=False) == {"500 INTERNAL", "400 INVALID_QUERY"}
    assert told() == {"500 INTERNAL", "429 RATE_LIMITED", "400 INVALID_QUERY"}


@pytest.mark.parametrize(
    ("method", "params", "docs", "code"),
    [
        ("POST", (), {}, "403 CSRF_REJECTED"),
        ("GET", ("id",), {}, "400 INVALID_PATH"),
        ("GET", (), {"body": {JSON: {}}}, "413 PAYLOAD_TOO_LARGE"),
        ("GET", (), {"store": "reads"}, "503 QUERY_TIMEOUT"),
        ("GET", (), {"store": "writes"}, "507 STORAGE_FULL"),
        ("GET", (), {"caller": "session"}, "401 AUTH_REQUIRED"),
        ("GET", (), {"caller": "administrator"}, "403 FORBIDDEN"),
        ("GET", (), {"errors": ("410 RESYNC_REQUIRED",)}, "410 RESYNC_REQUIRED"),
    ],
)
def test_what_a_route_does_adds_its_errors(
    method: str, params: tuple[str, ...], docs: dict[str, Any], code: str
) -> None:
    assert code in told(method, *params, **docs)
    assert code not in told()


def test_writing_includes_reading() -> None:
    assert told(store="reads") < told(store="writes")


def test_codes_of_hooks_are_not_known_beforehand() -> None:
    def code(*, is_open: bool) -> Any:
        (_, more) = error_schema(["A", "B"], is_open=is_open)["allOf"]
        return more["properties"]["error"]["properties"]["code"]

    assert code(is_open=False) == {"enum": ["A", "B"]}
    assert code(is_open=True) == {"examples": ["A", "B"]}
