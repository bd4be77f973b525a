"""Response heads as bytes; nothing in a header becomes a header of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import codec
from pylon.http.heads import (
    CONNECTION,
    LENGTH,
    NAMES,
    PLAIN,
    error_response,
    learnt,
    response_head,
    status_line,
)


def test_a_head() -> None:
    assert response_head(404, [(b"X-A", b"1"), (b"x-b", b"")]) == (
        b"HTTP/1.1 404 Not Found\r\nx-a: 1\r\nx-b: \r\n\r\n"
    )
    assert status_line(299) == b"HTTP/1.1 299 "


def test_names_mean_something_for_the_framing() -> None:
    assert learnt(b"Content-Length") == (LENGTH, b"\r\ncontent-length: ")
    assert learnt(b"connection")[0] == CONNECTION
    assert learnt(b"x-anything")[0] == PLAIN
    assert NAMES[b"Content-Length"][0] == LENGTH


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\nb", b"\xc3\xa9"])
def test_names_that_are_no_tokens(name: bytes) -> None:
    with pytest.raises(RuntimeError, match="invalid response header name"):
        response_head(200, [(name, b"x")])


@given(st.binary(max_size=20))
def test_a_value_stays_in_its_line(value: bytes) -> None:
    try:
        head = response_head(200, [(b"x-a", value), (b"x-b", b"end")])
    except RuntimeError:
        assert set(value) & set(b"\r\n\0")
        return
    assert head.split(b"\r\n") == [b"HTTP/1.1 200 OK", b"x-a: " + value, b"x-b: end", b"", b""]


def test_names_that_are_learnt_are_bounded() -> None:
    for number in range(2_000):
        learnt(b"x-made-up-%d" % number)
    assert len(NAMES) <= 512
    assert response_head(200, [(b"x-made-up-1999", b"y")]).count(b"x-made-up-1999: y") == 1


def test_a_whole_answer_ends_the_connection() -> None:
    head, _, body = error_response(400, "BAD", "It is.", (b"x-a", b"1")).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert b"connection: close" in lines
    assert b"x-a: 1" in lines
    assert b"content-length: %d" % len(body) in lines
    assert codec.decode(body) == {"error": {"code": "BAD", "message": "It is."}}
