"""One request and its answer, as values: what is received, and the bytes of every framing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.http.asgi import Header
from pylon.http.turn import Answer, Turn

DATE = b"\r\ndate: now"
OK = b"HTTP/1.1 200 OK"


def turn(method: str = "GET", *, version: str = "1.1", **options: Any) -> Turn:
    made = Turn({"method": method, "http_version": version}, **options)
    made.take_scope()
    return made


def written(
    one: Turn, *pieces: bytes, headers: tuple[Header, ...] = (), status: int = 200
) -> bytes:
    """The bytes of a response in these pieces of body, the last of which is its end."""
    one.start(status, headers, DATE)
    output = b""
    for number, piece in enumerate(pieces, 1):
        output += b"".join(one.piece(piece, number < len(pieces)))
    return output


def answer_of(one: Turn) -> Answer:
    return one.answer


# --- the request ---------------------------------------------------------------------------------


def test_the_body_is_received_as_it_comes() -> None:
    one = turn("POST")
    assert one.receive() is None
    assert [one.add_body(b"ab"), one.add_body(b"c")] == [2, 3]
    assert one.receive() == {"type": "http.request", "body": b"abc", "more_body": True}
    assert one.receive() is None
    one.add_body(b"d")
    one.more_body = False
    assert one.receive() == {"type": "http.request", "body": b"d", "more_body": False}
    assert one.receive() is None
    one.disconnect()
    assert one.receive() == {"type": "http.disconnect"}


def test_no_body_is_received_once() -> None:
    one = turn()
    one.more_body = False
    assert one.receive() == {"type": "http.request", "body": b"", "more_body": False}
    assert one.receive() is None
    written(one, b"x")
    assert one.receive() == {"type": "http.disconnect"}


def test_a_client_that_waits_is_told_to_go_on_once() -> None:
    one = turn("POST", expects_continue=True)
    assert one.go_ahead() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert one.go_ahead() == b""
    assert turn("POST").go_ahead() == b""
    gone = turn("POST", expects_continue=True)
    gone.disconnect()
    assert gone.go_ahead() == b""


def test_a_stop_ends_only_what_has_no_end_of_its_own() -> None:
    plain, stream = turn(), turn()
    written(plain, b"x", b"y", headers=((b"content-type", b"text/plain"),))
    stream.start(200, ((b"content-type", b"text/event-stream; charset=utf-8"),), DATE)
    for one in (plain, stream):
        one.drain()
        assert not one.keep_alive
    assert not plain.is_cut_short
    assert stream.is_cut_short
    assert stream.receive() == {"type": "http.disconnect"}


# --- framing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "pieces", "headers", "expected"),
    [
        ({}, [b"abc"], (), b"\r\ncontent-length: 3\r\n\r\nabc"),
        ({}, [b""], (), b"\r\ncontent-length: 0\r\n\r\n"),
        (
            {},
            [b"", b"ab", b"", b"c"],
            (),
            b"\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        ),
        ({}, [b"ab", b""], (), b"\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
        ({"version": "1.0"}, [b"ab", b"c"], (), b"\r\nconnection: close\r\n\r\nabc"),
        ({"keep_alive": False}, [b"a"], (), b"\r\ncontent-length: 1\r\nconnection: close\r\n\r\na"),
        (
            {"expects_continue": True},
            [b"a"],
            (),
            b"\r\ncontent-length: 1\r\nconnection: close\r\n\r\na",
        ),
        ({"method": "HEAD"}, [b"abc"], (), b"\r\ncontent-length: 3\r\n\r\n"),
        ({"method": "HEAD"}, [b"a", b"b"], (), b"\r\n\r\n"),
    ],
)
def test_framings(
    options: dict[str, Any], pieces: list[bytes], headers: tuple[Header, ...], expected: bytes
) -> None:
    assert written(turn(**options), *pieces, headers=headers) == OK + DATE + expected


def test_the_apps_own_headers_decide() -> None:
    own = ((b"Content-Length", b"3"), (b"X-A", b"b"), (b"Date", b"then"))
    expected = OK + b"\r\ncontent-length: 3\r\nx-a: b\r\ndate: then\r\n\r\nabc"
    assert written(turn(), b"a", b"bc", headers=own) == expected
    closing = turn()
    output = written(closing, b"", headers=((b"connection", b"Close"),))
    assert output == OK + DATE + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    assert not closing.keep_alive
    chunked = written(turn(), b"a", headers=((b"transfer-encoding", b"chunked"),))
    assert chunked == OK + b"\r\ntransfer-encoding: chunked" + DATE + (
        b"\r\n\r\n1\r\na\r\n0\r\n\r\n"
    )


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body(status: int) -> None:
    output = written(turn(), b"never", status=status)
    assert output.endswith(DATE + b"\r\n\r\n")


@given(st.lists(st.binary(max_size=70_000), min_size=1, max_size=5), st.booleans())
def test_pieces_are_the_whole_body(pieces: list[bytes], is_announced: bool) -> None:
    whole = b"".join(pieces)
    length = ((b"content-length", b"%d" % len(whole)),) if is_announced else ()
    head, _, body = written(turn(), *pieces, headers=length).partition(b"\r\n\r\n")
    if b"chunked" in head:
        read = b""
        while body:
            size, _, rest = body.partition(b"\r\n")
            read += rest[: int(size, 16)]
            body = rest[int(size, 16) + 2 :]
        body = read
    assert body == whole


def test_a_large_body_is_not_copied() -> None:
    one, body = turn(), b"x" * 100_000
    one.start(200, (), DATE)
    head, second = one.piece(body, False)
    assert head.endswith(b"\r\n\r\n")
    assert second is body


def test_a_whole_answer_leaves_in_one() -> None:
    one = turn()
    output = one.whole(201, b"\r\nx-a: b", b"abc", DATE)
    assert output == (
        b"HTTP/1.1 201 Created\r\nx-a: b\r\ncontent-length: 3" + DATE + b"\r\n\r\nabc"
    )
    assert answer_of(one) is Answer.COMPLETE
    assert one.whole(200, b"", b"", DATE) == b""


@pytest.mark.parametrize(
    ("options", "status", "size"),
    [
        ({"method": "HEAD"}, 200, 1),
        ({"keep_alive": False}, 200, 1),
        ({"expects_continue": True}, 200, 1),
        ({}, 204, 0),
        ({}, 200, 100_000),
    ],
)
def test_what_is_not_plain_goes_the_long_way(
    options: dict[str, Any], status: int, size: int
) -> None:
    one = turn(**options)
    assert one.whole(status, b"", b"x" * size, DATE) == b""
    assert one.answer is Answer.NONE


# --- faults of the app ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        (b"x", b"a\r\nset-cookie: b"),
        (b"x", b"a\nb"),
        (b"x", b"a\rb"),
        (b"x", b"a\0b"),
        (b"x y", b"a"),
        (b"x:", b"a"),
        (b"", b"a"),
    ],
)
def test_no_header_smuggles_in_a_line(header: Header) -> None:
    one = turn()
    with pytest.raises(RuntimeError):
        one.start(200, (header,), DATE)
    failure = one.fail()
    assert failure is not None
    assert failure.startswith(b"HTTP/1.1 500 ")


def test_the_order_of_messages_is_held() -> None:
    one = turn()
    with pytest.raises(RuntimeError, match="before the start"):
        one.piece(b"", False)
    one.start(200, (), DATE)
    with pytest.raises(RuntimeError, match="unexpected"):
        one.start(200, (), DATE)
    one.piece(b"", False)
    with pytest.raises(RuntimeError, match="after the end"):
        one.piece(b"", False)


@pytest.mark.parametrize("pieces", [[b"abcd"], [b"ab", b"cd"], [b"ab"], [b"ab", b""]])
def test_the_announced_length_is_held(pieces: list[bytes]) -> None:
    one = turn()
    with pytest.raises(RuntimeError, match="Content-Length"):
        written(one, *pieces, headers=((b"content-length", b"3"),))
    # Nothing of the bad piece has left: before the first one another answer is possible.
    assert (one.fail() is not None) is (len(pieces) == 1)
