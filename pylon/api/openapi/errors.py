"""Which errors a route may answer besides those that it names itself.

They follow from what the route does: whatever passes the pipeline, whatever reads a body, whatever
asks the database. The codes are those of `docs/reference/errors.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pylon.http.describe import Docs, Schema, shape
from pylon.http.router import Route

ALWAYS: Final = ("500 INTERNAL",)
LIMITED: Final = ("429 RATE_LIMITED",)
QUERY: Final = ("400 INVALID_QUERY",)
PATH: Final = ("400 INVALID_PATH",)
CSRF: Final = ("403 CSRF_REJECTED", "403 CSRF_NO_ORIGIN")
BODY: Final = (
    *("400 INVALID_JSON", "408 REQUEST_TIMEOUT", "413 PAYLOAD_TOO_LARGE"),
    *("429 TOO_MANY_BODIES", "503 OVERLOADED"),
)
READS: Final = (
    "400 ANSWER_TOO_LARGE",
    *("500 QUERY_FAILED", "500 STORAGE_DAMAGED"),
    *("503 LOCK_FAILED", "503 OVERLOADED", "503 QUERY_TIMEOUT", "503 SCHEMA_CHANGED"),
    "503 SHUTTING_DOWN",
)
WRITES: Final = (
    *READS,
    *("500 TX_COMMIT_FAILED", "503 STORAGE_READ_ONLY", "507 STORAGE_FULL"),
)
KEY: Final = (
    *("400 IDEMPOTENCY_KEY_INVALID", "409 IDEMPOTENCY_KEY_IN_USE"),
    "422 IDEMPOTENCY_KEY_REUSED",
)
CALLERS: Final[Mapping[str, tuple[str, ...]]] = {
    "anyone": (),
    "session": ("401 AUTH_REQUIRED",),
    "administrator": ("403 FORBIDDEN",),
}

UNSAFE: Final = ("POST", "PUT", "PATCH", "DELETE")


def codes(route: Route, docs: Docs) -> dict[int, list[str]]:
    """Every code that the route may answer, by status, in order."""
    found: dict[int, list[str]] = {}
    for line in sorted(set(_lines(route, docs))):
        status, code = line.split(" ")
        found.setdefault(int(status), []).append(code)
    return found


def _lines(route: Route, docs: Docs) -> Iterator[str]:
    yield from docs.errors
    yield from ALWAYS
    yield from CALLERS[docs.caller]
    if docs.is_limited:
        yield from LIMITED
        if route.method in UNSAFE:
            yield from CSRF
    if route.params:
        yield from PATH
    if not docs.takes_any_query:
        yield from QUERY
    if docs.body is not None:
        yield from BODY
    if docs.takes_key:
        yield from KEY
    if docs.store != "unused":
        yield from READS if docs.store == "reads" else WRITES


def error_schema(known: list[str], *, is_open: bool) -> Schema:
    """The error of these codes; when `is_open`, of others too, since hooks have their own."""
    code: dict[str, Any] = {"examples": known} if is_open else {"enum": known}
    return {
        "allOf": [
            shape("Error"),
            {"type": "object", "properties": {"error": {"properties": {"code": code}}}},
        ]
    }
