"""What handlers return, and the one rendering of an error."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pylon import codec
from pylon.errors import PylonError
from pylon.http.response import (
    Response,
    StreamResponse,
    error_response,
    json_response,
    raw_json,
)


async def nothing() -> AsyncIterator[bytes]:
    yield b""


def test_json_is_made_here_or_before() -> None:
    assert json_response({"a": None}, 201).body == raw_json(b'{"a":null}').body
    assert (json_response([]).status, json_response([], 201).status) == (200, 201)


def test_headers_of_one_response_are_its_own() -> None:
    shared = [(b"x-a", b"1")]
    one, two = Response(200, headers=shared), Response(200, headers=shared)
    one.headers.append((b"x-b", b"2"))
    assert two.headers == shared == [(b"x-a", b"1")]


def test_events_are_held_back_by_nobody() -> None:
    events = StreamResponse(200, nothing(), headers=[(b"x-a", b"1")])
    assert dict(events.headers) == {
        b"x-a": b"1",
        b"cache-control": b"no-cache",
        b"x-accel-buffering": b"no",
    }
    assert StreamResponse(200, nothing(), content_type=b"text/csv").headers == []


def test_an_error_is_an_envelope() -> None:
    response = error_response(PylonError(409, "TAKEN", "It is.", "Take another.", field="a"))
    assert response.status == 409
    assert codec.decode(response.body) == {
        "error": {"code": "TAKEN", "message": "It is.", "hint": "Take another.", "field": "a"}
    }
    assert response.headers == []


def test_when_to_come_again_stands_in_the_headers_too() -> None:
    error = PylonError(429, "RATE_LIMITED", "Slowly.", retry_after_secs=7)
    assert error_response(error).headers == [(b"retry-after", b"7")]
