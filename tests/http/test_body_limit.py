"""Bodies that are read as streams, and the stage that knows which may be large."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from pylon import limits
from pylon.errors import PylonError
from pylon.http.asgi import Message
from pylon.http.body_limit import BodyLimit
from pylon.http.describe import Docs
from pylon.http.errors import ClientDisconnected
from pylon.http.request import Request
from pylon.http.response import Response
from pylon.http.router import Router
from pylon.identity import ADMIN, ANONYMOUS, Identity
from tests.http.test_request import part, receiving, request


async def pieces(found: Request, bytes_max: int = 100) -> list[bytes]:
    return [piece async for piece in found.stream(bytes_max=bytes_max)]


async def test_pieces_come_as_they_arrive() -> None:
    parts = (part(b"a", more=True), part(b"", more=True), part(b"bc", more=True), part(b""))
    assert await pieces(request(receive=receiving(*parts))) == [b"a", b"bc"]
    assert await pieces(request(receive=receiving(part(b"")))) == []


async def test_the_next_piece_is_taken_when_it_is_asked_for() -> None:
    taken: list[int] = []

    async def receive() -> Message:
        taken.append(1)
        return part(b"x", more=len(taken) < 3)

    stream = request(receive=receive).stream(bytes_max=100)
    for count in (1, 2, 3):
        await anext(stream)
        assert len(taken) == count


async def test_a_body_that_was_read_is_streamed_again() -> None:
    found = request(receive=receiving(part(b"ab")))
    await found.body()
    assert await pieces(found) == [b"ab"]


async def test_a_stream_beyond_its_limit() -> None:
    long = request(receive=receiving(part(b"aaa", more=True), part(b"bbb")))
    with pytest.raises(PylonError) as refused:
        await pieces(long, 5)
    assert refused.value.status == 413
    declared = request(headers=[(b"content-length", b"6")])
    with pytest.raises(PylonError) as refused:
        await pieces(declared, 5)
    assert refused.value.status == 413


async def test_a_stream_that_breaks_off() -> None:
    gone = request(receive=receiving(part(b"a", more=True), {"type": "http.disconnect"}))
    with pytest.raises(ClientDisconnected):
        await pieces(gone)
    silent = request(receive=receiving(part(b"a", more=True)))
    with patch.object(limits, "BODY_READ_SECONDS_MAX", 0.01), pytest.raises(PylonError) as refused:
        await pieces(silent)
    assert refused.value.code == "REQUEST_TIMEOUT"


def test_some_paths_may_have_more() -> None:
    stage = BodyLimit({"/large": 2 * limits.BODY_BYTES_MAX}, anonymous=limits.BODY_BYTES_MAX)
    much = [(b"content-length", b"%d" % (limits.BODY_BYTES_MAX + 1))]
    too_much = [(b"content-length", b"%d" % (2 * limits.BODY_BYTES_MAX + 1))]
    stage(request("/other"))
    stage(request("/large", headers=much))
    stage(request("/large/", headers=much))
    for path, headers in (("/other", much), ("/large/x", much), ("/large", too_much)):
        with pytest.raises(PylonError) as refused:
            stage(request(path, headers=headers))
        assert refused.value.code == "PAYLOAD_TOO_LARGE"


GUEST = Identity(user_id="guest_1", is_guest=True)


async def most_of(identity: Identity, *, path: str = "/other", large: bool = False) -> int:
    """How large a body may be, found by sending one without saying how long it is."""
    stage = BodyLimit({"/import": 2 * limits.BODY_BYTES_MAX}, anonymous=70_000)
    found = request(path, receive=receiving(part(b"x" * (3 * limits.BODY_BYTES_MAX))))
    found.identity, found.method = identity, "POST"
    stage(found)
    if large:
        found.allow_large_body()
    with pytest.raises(PylonError) as refused:
        await found.body()
    error = refused.value
    assert (error.status, error.code) == (413, "PAYLOAD_TOO_LARGE")
    assert error.hint
    return int(error.message.split()[3])


async def test_who_may_send_how_much() -> None:
    assert await most_of(ANONYMOUS) == 70_000
    assert await most_of(ANONYMOUS, large=True) == 70_000
    assert await most_of(GUEST) == limits.BODY_BYTES_SESSION
    assert await most_of(GUEST, large=True) == limits.BODY_BYTES_MAX
    assert await most_of(ADMIN) == limits.BODY_BYTES_MAX
    assert await most_of(GUEST, path="/import") == 2 * limits.BODY_BYTES_MAX
    assert limits.BODY_BYTES_ANONYMOUS >= 65_536
    assert limits.BODY_BYTES_SESSION >= 1_048_576


@pytest.mark.parametrize("length", [b"70001", b"9" * 5_000, b"-1", b"x"])
def test_what_is_announced_is_refused_before_it_is_read(length: bytes) -> None:
    found = request(headers=[(b"content-length", length)])
    with pytest.raises(PylonError) as refused:
        BodyLimit({}, anonymous=70_000)(found)
    assert refused.value.code == "PAYLOAD_TOO_LARGE"


def test_a_session_may_announce_what_some_routes_take() -> None:
    length = [(b"content-length", b"%d" % limits.BODY_BYTES_MAX)]
    found = request(headers=length)
    found.identity = GUEST
    BodyLimit({})(found)
    assert found.body_bytes_max == limits.BODY_BYTES_SESSION


async def test_a_route_lets_bodies_be_large_by_what_it_says_of_itself() -> None:
    seen: list[int] = []

    async def look(found: Request) -> Response:
        seen.append(found.body_bytes_max)
        return Response(200, b"")

    def said(*, large: bool) -> Docs:
        return Docs(operation_id="x", tag="x", answers={}, large_body=large)

    router = Router()
    router.add("POST", "/usual", look, docs=said(large=False))
    router.add("POST", "/large", look, docs=said(large=True))
    router.replace(router.routes()[1], look)
    for path in ("/usual", "/large"):
        found = request(path)
        found.identity, found.method = GUEST, "POST"
        BodyLimit({})(found)
        handler, params = router.match("POST", path)
        await handler(found, *params)
    assert seen == [limits.BODY_BYTES_SESSION, limits.BODY_BYTES_MAX]
