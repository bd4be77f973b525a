"""Which origins may read answers, as a table."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from pylon.config import Config
from pylon.http.cors import Cors

A, B, FOREIGN = "https://a.example", "http://b.example:8080", "https://evil.example"


def answer(origins: tuple[str, ...], origin: str | None) -> dict[str, str]:
    headers = Cors(origins).headers(None if origin is None else origin.encode())
    return {name.decode(): value.decode() for name, value in headers}


@pytest.mark.parametrize(
    ("origins", "origin", "allowed", "credentials"),
    [
        (("*",), None, "*", False),
        (("*",), FOREIGN, "*", False),
        (("*", A), A, "*", False),
        ((A,), A, A, True),
        ((A,), None, A, True),
        ((A,), FOREIGN, A, True),
        ((A, B), A, A, True),
        ((A, B), B, B, True),
        ((A, B), None, None, False),
        ((A, B), FOREIGN, None, False),
        ((A, B), "https://a.example.evil.example", None, False),
        ((), A, None, False),
    ],
)
def test_table(
    origins: tuple[str, ...], origin: str | None, allowed: str | None, credentials: bool
) -> None:
    headers = answer(origins, origin)
    assert headers.get("access-control-allow-origin") == allowed
    assert ("access-control-allow-credentials" in headers) == credentials
    if "*" not in origins:
        assert headers["vary"] == "Origin"
    if allowed is not None:
        assert headers["access-control-allow-methods"] == (
            "GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD"
        )
        assert headers["access-control-allow-headers"] == (
            "Content-Type, Authorization, X-Filename, Accept, Idempotency-Key"
        )


@pytest.mark.parametrize("origins", [(), (A,), (A, B)])
def test_in_dev_pages_of_this_machine_are_named_with_credentials(origins: tuple[str, ...]) -> None:
    cors = Cors(origins, loopback=True)
    for origin in ("http://localhost:3000", "http://127.0.0.1", "http://[::1]:8080", *origins):
        headers = dict(cors.headers(origin.encode()))
        assert headers[b"access-control-allow-origin"] == origin.encode()
        assert headers[b"access-control-allow-credentials"] == b"true"
        assert headers[b"vary"] == b"Origin"
    for other in (FOREIGN, "null", "http://localhost.evil.example", None):
        asked = None if other is None else other.encode()
        assert b"access-control-allow-origin" not in dict(cors.headers(asked))


def test_errors_carry_the_same_set(serve: Callable[[Config], httpx.Client]) -> None:
    client = serve(Config(cors_origins=(A, B), csrf_origins=(A, B)))
    for path, status in (("/api/nothing", 404), ("/metrics", 401), ("/api/who", 200)):
        response = client.get(path, headers={"origin": B})
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == B
        assert response.headers["access-control-allow-credentials"] == "true"
    refused = client.post("/api/who", headers={"origin": FOREIGN})
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers
    assert refused.headers["vary"] == "Origin"
